"""Looks at new tunnels once a second, so that one that ends before needs no deadline of its own."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.util.perreactor import PerReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

log = Logger()

SWEEP_INTERVAL_S = 1.0
"""Seconds between two sweeps; a tunnel waits at most this long for its look."""


class Idle(Protocol):
    """A tunnel with an idle timeout."""

    def check_idle(self) -> None:
        """Compare its byte counts, and set its next deadline."""


class IdleSweep:
    """All tunnels of a reactor that wait for a look; see L{idle_sweep_of}."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._wheel = timer_wheel_of(reactor)
        self._waiting: dict[Idle, None] = {}
        self._deadline: Deadline | None = None

    def add(self, tunnel: Idle) -> None:
        """Look at a tunnel within L{SWEEP_INTERVAL_S}. Does nothing if it waits already."""
        self._waiting[tunnel] = None
        if self._deadline is None:
            self._deadline = self._wheel.after(SWEEP_INTERVAL_S, self._sweep)

    def discard(self, tunnel: Idle) -> None:
        """The tunnel has ended. Does nothing if it does not wait."""
        self._waiting.pop(tunnel, None)
        if not self._waiting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _sweep(self) -> None:
        self._deadline = None
        for tunnel in list(self._waiting):
            if tunnel not in self._waiting:  # the end of another tunnel has ended it
                continue
            del self._waiting[tunnel]
            try:
                tunnel.check_idle()
            except Exception:  # others must be looked at
                log.failure("internal error in an idle check")


idle_sweep_of = PerReactor(IdleSweep)
"""The sweep of a reactor or a clock."""
