"""The signals of the program: each handler only hands over to the reactor, and then calls the handler before it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from sniproxy.util.reactor import IReactor

Handler = Callable[[int, FrameType | None], object]


class Signalled(Protocol):
    """The proxy, or the supervisor of workers."""

    def reopen_logs(self) -> None: ...
    def end_now(self) -> None: ...


class ProgramSignals:
    """Handles signals.

    @param reload: called at HUP. @param upgrade: handles USR2. None: this is a worker, whose supervisor decides about
        upgrades and about a second TERM.
    @ivar stopping: a signal has stopped the program, or it stops by itself.
    """

    def __init__(
        self, reactor: IReactor, proxy: Signalled, reload: Callable[[], object], upgrade: Handler | None
    ) -> None:
        self.stopping = False
        self._reactor = reactor
        self._proxy = proxy
        self._reload = reload
        self._upgrade = upgrade
        self._previous: dict[int, Any] = {}

    def prepare(self) -> None:
        """Handle the signals whose default actions would end the process, and which Twisted does not handle."""
        signal.signal(signal.SIGHUP, lambda number, frame: self._reactor.callFromThread(self._reload))
        if self._upgrade is not None:  # a worker writes its stacks
            signal.signal(signal.SIGUSR2, self._upgrade)

    def start(self) -> None:
        """Handle the others. Call this when Twisted has installed its own handlers, which these call."""
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGUSR1: self._reopen}
        for number, handler in handlers.items():
            self._previous[number] = signal.getsignal(number)  # before ours: the signal may arrive at once
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The first signal drains, the second stops at once."""
        if self.stopping:
            if self._upgrade is not None:
                self._reactor.callFromThread(self._proxy.end_now)
        else:
            self.stopping = True
            self._pass_on(number, frame)

    def _reopen(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._proxy.reopen_logs)
        self._pass_on(number, frame)  # twistd rotates its log on this signal

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, frame)
