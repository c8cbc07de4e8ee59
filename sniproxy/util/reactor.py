"""The type of the reactor, and the global reactor for programs."""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorProcess,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)


class IReactor(
    IReactorCore,
    IReactorTime,
    IReactorFDSet,
    IReactorThreads,
    IReactorTCP,
    IReactorSSL,
    IReactorSocket,
    IReactorProcess,
    IReactorPluggableNameResolver,
):
    """What the proxy uses of a reactor.

    It is for type checks only. Twisted's reactors provide the interfaces above, but do not declare this one. A function
    that needs only a clock takes C{IReactorTime}.
    """


def global_reactor() -> IReactor:
    """Twisted's global reactor. The first call installs Twisted's default reactor if none is installed."""
    # Imported here, because importing a module must not install a reactor.
    from twisted.internet import reactor

    return cast(IReactor, reactor)
