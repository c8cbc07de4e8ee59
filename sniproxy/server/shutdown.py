"""Ends the connections of a proxy that stops.

A client reconnects as soon as its tunnel ends. Tunnels are ended one after the other over the drain time, the silent
ones first, so that their clients do not reconnect all at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Result
from sniproxy.relay.relay import Ending
from sniproxy.server.silentfirst import SilentFirst
from sniproxy.util.text import counted

log = Logger()

ROUND_S = 0.5
"""Seconds between two rounds in which tunnels are ended."""

_AT_ONCE = Ending(Result.SHUTDOWN, "the proxy stopped without a drain")


class Shutdown:
    """Ends connections that are not tunnels at once, and tunnels over the drain time.

    @param live: the connections that have not ended.
    """

    def __init__(self, reactor: IReactorTime, live: Collection[Lifecycle]) -> None:
        self._reactor = reactor
        self._live = live
        self._seconds = 0.0
        self._at_once = False
        self._no_more = False
        self._timer: Any = None
        self._done: Deferred[None] | None = None
        self._deadline = 0.0
        self._most = 0
        self._silent_first = SilentFirst()

    def begin(self, seconds: float) -> Deferred[None]:
        """Begin to stop. @param seconds: the drain time of tunnels; 0: none.

        @return: fires when all connections have ended, but not before L{listeners_closed}.
        """
        self._seconds = seconds
        self._done = Deferred()
        self._end()
        return self._done

    def listeners_closed(self) -> None:
        """No more connections are accepted; those that were accepted since L{begin} drain, too."""
        self._no_more = True
        self._end()
        self.check()

    def end_now(self) -> None:
        """End all connections now, and do not drain."""
        self._at_once = True
        self._end_all(_AT_ONCE)

    def check(self) -> None:
        """A connection has ended: it may have been the last one."""
        if self._done is not None and self._no_more and not self._live and not self._done.called:
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            self._done.callback(None)

    def _end(self) -> None:
        for conn in list(self._live):
            if not conn.tunnelling:
                conn.end(Ending(Result.SHUTDOWN, "the proxy is stopping"))
        seconds = 0.0 if self._at_once else self._seconds
        if self._live and not seconds:
            self._end_all(_AT_ONCE)
        elif self._live and (self._timer is None or not self._timer.active()):
            tunnels = counted(len(self._live), "tunnel")
            log.info("draining over {seconds:g} s: {tunnels}", tunnels=tunnels, seconds=seconds)
            self._deadline = self._reactor.seconds() + seconds
            self._silent_first = SilentFirst(self._live)
            self._timer = self._reactor.callLater(min(ROUND_S, seconds), self._end_some)

    def _end_some(self) -> None:
        """End as many tunnels as the time that has passed demands: those first that moved the fewest bytes in it."""
        left_s, seconds = self._deadline - self._reactor.seconds(), self._seconds
        if left_s <= 0:
            self._end_all(Ending(Result.DRAINED, f"still open after the drain timeout of {seconds:g} s"))
            return
        tunnels = self._silent_first.order(self._live)
        self._most = max(self._most, len(tunnels))
        surplus = len(tunnels) - math.ceil(self._most * left_s / seconds)
        if surplus > 0:
            passed = seconds - left_s
            ending = Ending(
                Result.DRAINED, f"ended {passed:g} s after the stop began, of a drain timeout of {seconds:g} s"
            )
            for conn in tunnels[:surplus]:
                conn.end(ending)
        if self._live:
            self._timer = self._reactor.callLater(min(ROUND_S, left_s), self._end_some)

    def _end_all(self, ending: Ending) -> None:
        for conn in list(self._live):
            conn.end(ending)
