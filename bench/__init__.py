"""Benchmarks: ``make bench``. No other code imports this package, and no test asserts a speed.

Common parts: ``measure`` reads CPU time and memory, and summarises repeated runs; ``table`` writes tables into
documents; ``childprocess`` runs a function in a process of its own.

``inspector`` and ``bridge`` are one benchmark each: ``traffic`` makes the bytes, ``load`` sends and receives them,
``proxy`` is the measured proxy, and ``exchange`` replaces ``load`` where the broker speaks TLS.

``datapath`` compares the proxy with others: ``peers`` has their configurations and ``ours`` our own, ``running`` starts
them, ``clients`` and ``targets`` are the two ends, ``cases`` lists what is measured, ``results`` stores figures.
``pythons`` finds the Python for our proxy, ``before`` an older revision, and ``relays`` reads which relay serves.
``instructions`` counts with callgrind, ``headers`` compares listeners with and without PROXY protocol headers,
``meanwhile`` measures an echo beside other work, some of which is in ``busy``; ``choice`` measures what needs no
sockets. ``report`` writes RESULTS.md and the manual's summary from the results, with ``goals`` and ``plots``.
``upgrade`` replaces running proxies: ``upgradeways`` knows how; ``upgradeload`` has the tunnels, in two processes
(``upgradeprocesses``), with their ends in ``upgradeends`` and ``upgradetls``; ``upgradedemo`` shows it.
``pulsar`` measures the same with real brokers and clients from ``tests/peers``.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The checkout."""
