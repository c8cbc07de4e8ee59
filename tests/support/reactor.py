"""The global reactor and stand-ins for a reactor, typed."""

from __future__ import annotations

from typing import cast

from sniproxy.util.reactor import IReactor, global_reactor

reactor = global_reactor()


def as_reactor(substitute: object) -> IReactor:
    """The type of a reactor for a clock or a fake that has the methods of a reactor that the test needs."""
    return cast(IReactor, substitute)
