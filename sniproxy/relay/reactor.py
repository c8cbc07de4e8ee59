"""A reactor for which relays come first: Twisted's own for epoll, with the relays' set around its set.

L{sniproxy.relay.poller.EdgePoller} is one reader of any reactor; then a message takes Twisted's work for a reader,
and a system call for each of two sets. Here it is the other way round: the reactor waits for the set of the relays, in
which its own set is one more descriptor, so that a message takes one system call and none of that work. All else in the
reactor, and all that uses it, is as it was, but for its clock.
"""

from __future__ import annotations

import select
import sys
from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor

from sniproxy.relay import poller
from sniproxy.relay.poller import BATCH, EdgePoller


class OuterSet(EdgePoller):
    """The set of all relays, and in it the reactor's own."""

    def __init__(self, reactor: Any, inner: select.epoll) -> None:
        super().__init__(reactor)
        self._inner = inner.fileno()

    @property
    def is_open(self) -> bool:
        """Whether there is something to wait for."""
        return self._set is not None

    def wait(self, seconds: float | None) -> bool:
        """Wait for at most so long (None: for ever), and serve relays. @return: the reactor's own set is ready.

        A message that was passed on has given the reactor nothing to do, so the next one is waited for at once: the
        reactor's round is as long as all that a relay does for a message.
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

    def _enter(self) -> None:
        self._set.register(self._inner, poller.IN)

    def _leave(self) -> None:
        """The close does it."""

    def _come_back(self) -> None:
        """The next wait takes no time."""


class RelayReactor(EPollReactor):
    """Twisted's for epoll, which waits for relays and for all else at once.

    Its clock is one that nobody sets: by Twisted's, the time of day, deadlines would not come for an hour when that is
    set back by one, and would all come at once when it is set forward.
    """

    seconds = staticmethod(monotonic)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._relays = OuterSet(self, self._poller)
        poller.set_edge_poller(self, self._relays)

    def doPoll(self, timeout: float | None) -> None:
        if not self._relays.is_open:
            super().doPoll(timeout)  # type: ignore[no-untyped-call]
        elif self._relays.wait(timeout):
            super().doPoll(0)  # type: ignore[no-untyped-call]

    doIteration = doPoll

    def removeAll(self) -> list[Any]:
        others: list[Any] = super().removeAll()  # type: ignore[no-untyped-call]
        return [*others, self._relays] if self._relays.is_open else others


def set_steady_clock(reactor: Any) -> bool:
    """Let another reactor's deadlines follow a clock that is never set, as L{RelayReactor}'s do.

    Call it before the reactor has deadlines: those that it has would follow the old clock.

    @return: it is done. False: the reactor is not built upon Twisted's base, which asks C{seconds} for all of them.
    """
    if not isinstance(reactor, ReactorBase):
        return False
    reactor.seconds = monotonic
    return True


def install() -> None:
    """Make one the reactor of this process, unless somebody has chosen one."""
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet.main import installReactor

        installReactor(RelayReactor())
