"""How fast it is: ``make bench``. Nothing imports this, and no test asserts a speed.

``measure`` reads CPU time and memory, and says what repeated runs came to; ``table`` writes tables into documents;
``apart`` does a piece of work in a process of its own.

``inspector`` and ``bridge`` are a bench each: ``traffic`` makes the bytes, ``load`` sends and takes them, ``proxy`` is
the proxy that is measured. ``exchange`` is what ``load`` is, where the broker speaks TLS.

``datapath`` puts us beside other proxies: ``peers`` has their configurations, ``running`` starts them, ``clients`` and
``targets`` are on both sides of them, ``cases`` says what is done, ``results`` keeps what that came to. ``choice`` is
what can be told without sockets. ``report`` makes RESULTS.md and the manual's page of it, with ``goals`` and ``plots``.
``pulsar`` does the same with real brokers and clients, those of ``tests/peers``.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The checkout."""
