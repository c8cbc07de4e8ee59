"""Access log lines of tunnels that are open: one when a tunnel opens, and again at an interval."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sniproxy.events import Connection

BATCH = 200
"""Lines written in one round of the reactor."""

TICK_S = 1.0
"""Seconds between two looks at tunnels whose next line is due."""

MIN_DROP = 1000
"""Tunnels in the queue before ended ones are dropped from it; then, twice as many as are left."""


class OpenTunnel(Protocol):
    """A connection whose tunnel is open, or was."""

    @property
    def record(self) -> Connection: ...
    @property
    def bytes_up(self) -> int: ...
    @property
    def bytes_down(self) -> int: ...
    @property
    def ended(self) -> bool: ...
    def elapsed(self) -> float:
        """Seconds since it was accepted."""


class OpenTunnels:
    """Writes the lines.

    @param write: writes a record as an open connection.
    @ivar repeat: seconds until the next line of a tunnel. 0: there is none.
    """

    def __init__(self, reactor: IReactorTime, write: Callable[[Connection], None], repeat: float) -> None:
        self.repeat = repeat
        self._reactor = reactor
        self._write = write
        self._due: deque[tuple[float, OpenTunnel]] = deque()  # in the order of their times
        self._drop_at = MIN_DROP
        self._timer: IDelayedCall | None = None

    def __call__(self, tunnel: OpenTunnel) -> None:
        """The tunnel is open."""
        self._write_line(tunnel)
        self.follow(tunnel)

    def follow(self, tunnel: OpenTunnel) -> None:
        """The tunnel is open, and its first line was written: repeat that."""
        if self.repeat:
            if len(self._due) >= self._drop_at:
                self._drop_ended()
            self._due.append((self._reactor.seconds() + self.repeat, tunnel))
            if self._timer is None:
                self._timer = self._reactor.callLater(TICK_S, self._tick)

    def close(self) -> None:
        """Stop writing lines."""
        self.repeat = 0.0
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop_ended(self) -> None:
        """Forget tunnels that have ended: with many short tunnels and a long interval they would fill the memory."""
        self._due = deque(due for due in self._due if not due[1].ended)
        self._drop_at = max(MIN_DROP, 2 * len(self._due))

    def _tick(self) -> None:
        now = self._reactor.seconds()
        for _ in range(BATCH):
            if not self._due or self._due[0][0] > now:
                break
            _, tunnel = self._due.popleft()
            if not tunnel.ended:
                self._write_line(tunnel)
                self._due.append((now + self.repeat, tunnel))
        more = self._due and self._due[0][0] <= now
        self._timer = self._reactor.callLater(0 if more else TICK_S, self._tick) if self._due else None

    def _write_line(self, tunnel: OpenTunnel) -> None:
        self._write(
            attrs.evolve(
                tunnel.record, bytes_up=tunnel.bytes_up, bytes_down=tunnel.bytes_down, total_s=tunnel.elapsed()
            )
        )
