"""Tests for resolver plugins, and an embedded Pulsar cluster for tests of clients.

Importing this package loads nothing else: its names are imported on use.

=============  ===============================================================================================
``resolvers``  the contract of resolver plugins, as a mixin for trial. Its names are also names of this package
``pulsar``     a Pulsar cluster in the test's process, without Java
``fixtures``   the same as a fixture of pytest
=============  ===============================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sniproxy.testing.resolvers import (
        MANY as MANY,
    )
    from sniproxy.testing.resolvers import (
        ROUNDS as ROUNDS,
    )
    from sniproxy.testing.resolvers import (
        ResolverContract as ResolverContract,
    )
    from sniproxy.testing.resolvers import (
        question as question,
    )

_NAMES = ("MANY", "ROUNDS", "ResolverContract", "question")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.resolvers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
