"""Twisted's epoll reactor, changed to wait for the relays' epoll set.

With another reactor, L{sniproxy.relay.poller.EdgePoller} is one of its readers: a message costs Twisted's work for a
reader, and a system call for each of the two sets. Here the reactor waits for the relays' set, and its own set is one
descriptor in it: a message costs one system call and none of that work. Everything else is Twisted's, except the clock.
"""

from __future__ import annotations

import select
import sys
from time import monotonic
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor

from sniproxy.relay import poller
from sniproxy.relay.poller import BATCH, EdgePoller
from sniproxy.util.reactor import IReactor


class OuterSet(EdgePoller):
    """The relays' set, which includes the reactor's own set."""

    def __init__(self, reactor: IReactor, inner: select.epoll) -> None:
        super().__init__(reactor)
        self._inner = inner.fileno()

    @property
    def is_open(self) -> bool:
        """Whether there are sockets to wait for."""
        return self._set is not None

    def wait(self, seconds: float | None) -> bool:
        """Wait and serve relays. @param seconds: None: no limit. @return: the reactor's own set is ready.

        Passing on a message creates no work for the reactor, so the next wait begins at once: a round of the reactor
        costs as much as relaying a message.
        """
        until = None if seconds is None else monotonic() + seconds
        while True:
            events = self._set.poll(0 if self._again else seconds, BATCH)
            if not self._serve(events):
                return any(fd == self._inner for fd, _ in events)
            if until is not None:
                seconds = until - monotonic()
                if seconds <= 0:
                    return False

    def _add_to_reactor(self) -> None:
        self._set.register(self._inner, poller.IN)

    def _remove_from_reactor(self) -> None:
        """Closing the set is enough."""

    def _schedule_round(self) -> None:
        """The next wait returns at once."""


class RelayReactor(EPollReactor):
    """Waits for relays and all other descriptors at once.

    Its clock is monotonic. With Twisted's clock, the time of day, setting the clock back by an hour would delay all
    deadlines by an hour, and setting it forward would fire them all at once.
    """

    seconds = staticmethod(monotonic)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._relays = OuterSet(cast(IReactor, self), self._poller)
        poller.edge_poller_of.set(self, self._relays)

    def doPoll(self, timeout: float | None) -> None:
        if not self._relays.is_open:
            super().doPoll(timeout)  # type: ignore[no-untyped-call]
        elif self._relays.wait(timeout):
            super().doPoll(0)  # type: ignore[no-untyped-call]

    doIteration = doPoll

    def removeAll(self) -> list[Any]:
        others: list[Any] = super().removeAll()  # type: ignore[no-untyped-call]
        return [*others, self._relays] if self._relays.is_open else others


def set_steady_clock(reactor: object) -> bool:
    """Give another reactor a monotonic clock, as L{RelayReactor} has.

    Call it before the reactor has deadlines, which would follow the old clock.

    @return: False: the reactor is not based on Twisted's base class, which asks C{seconds} for all deadlines.
    """
    if not isinstance(reactor, ReactorBase):
        return False
    reactor.seconds = monotonic
    return True


def install() -> None:
    """Install this reactor in the process, unless another one is installed."""
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet.main import installReactor

        installReactor(RelayReactor())
