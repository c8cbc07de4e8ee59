"""The global reactor, and fake reactors with the type of a real one."""

from __future__ import annotations

from typing import cast

from sniproxy.util.reactor import IReactor, global_reactor

reactor = global_reactor()


def as_reactor(substitute: object) -> IReactor:
    """A clock, or a fake with the methods that a test needs, with the type of a reactor."""
    return cast(IReactor, substitute)
