"""A budget for tunnels that the proxy inspects, so that they do not slow other tunnels down.

In one round of the reactor, all these tunnels together get L{ROUND_S} seconds and L{ROUND_BYTES} bytes. A tunnel that
needs more waits for a later round, in a queue. Until then its sockets are not read, and TCP slows its peers down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.net.descriptor import end_failed
from sniproxy.relay.direction import Direction
from sniproxy.util.buffered import BufferAccount, Share
from sniproxy.util.perreactor import PerReactor

log = Logger()

ROUND_S = 0.001
"""Seconds per reactor round for all inspected tunnels together."""

ROUND_BYTES = 1 << 19
"""Bytes per reactor round that these tunnels may pass on."""

SLICE_BYTES = 2048
"""Maximum bytes shown to a tap at once. A round may exceed its budget by the time for one slice."""


class Tap(Protocol):
    """Inspects one tunnel. A tap that raises an exception is detached."""

    def client(self, data: bytes) -> None:
        """Bytes from the client."""

    def target(self, data: bytes) -> None:
        """Bytes from the target."""

    def end(self) -> None:
        """The tunnel has ended, and the tap has seen all its bytes."""


class Pace:
    """The budget of one reactor. @param clock: seconds, with the highest precision available."""

    def __init__(self, reactor: IReactorTime, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._reactor = reactor
        self._seconds = 0.0
        self._bytes = 0
        self._waiting: dict[Paced, None] = {}
        self._called = False

    def spent(self) -> bool:
        """Whether the budget of this round is exhausted."""
        return self._seconds >= ROUND_S or self._bytes >= ROUND_BYTES

    def charge(self, seconds: float = 0.0, count: int = 0) -> None:
        """Charge seconds and bytes to this round."""
        self._seconds += seconds
        self._bytes += count
        self._call()

    def wait(self, paced: Paced) -> None:
        """Queue a tunnel for the next round with budget left."""
        self._waiting[paced] = None
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._reactor.callLater(0, self._round)

    def _round(self) -> None:
        self._called = False
        self._seconds, self._bytes = 0.0, 0
        while self._waiting and not self.spent():
            paced = next(iter(self._waiting))
            del self._waiting[paced]
            paced.turn()
        if self._waiting:
            self._call()


class Paced:
    """Shows a tap the bytes of one tunnel, in order and within the budget. Bytes not yet shown are buffered and
    counted.

    @param tap: None: bytes are charged to the budget and not shown. @param account: counts the buffered bytes.
    @ivar first: called with the client's bytes at once, before the tap and outside its queue. None: no such function.
    """

    def __init__(self, pace: Pace, tap: Tap | None, account: BufferAccount) -> None:
        self.pace = pace
        self.first: Callable[[bytes], None] | None = None
        self._tap = tap
        self._held: deque[tuple[Callable[[bytes], None], bytes]] = deque()
        self._at = 0  # bytes of the first entry that were shown
        self._share = Share(account)
        self._stopped: dict[Direction, None] = {}
        self._ended = False

    def client(self, data: bytes) -> None:
        """The client's bytes were passed on."""
        if self.first is not None:
            began = self.pace.clock()
            self.first(data)
            self.pace.charge(self.pace.clock() - began)
        if self._tap is not None:
            self._show(self._tap.client, data)

    def target(self, data: bytes) -> None:
        """The target's bytes were passed on."""
        if self._tap is not None:
            self._show(self._tap.target, data)

    def end(self) -> None:
        """The tunnel has ended. The tap is notified once it has seen the buffered bytes."""
        self._ended = True
        if not self._held:
            self._tell_end()

    def may_read(self, direction: Direction) -> bool:
        """Whether a direction may read now. False: the relay pumps it in its turn."""
        if not self._held and not self.pace.spent():
            return True
        self._stopped[direction] = None
        self.pace.wait(self)
        return False

    def forget(self, direction: Direction) -> None:
        """A direction has ended: it gets no turn."""
        self._stopped.pop(direction, None)

    def turn(self) -> None:
        """Show one slice of the buffered bytes. When all are shown, resume the directions that wait."""
        if self._held:
            self._step()
            self._count()
            if not self._held and self._ended:
                self._tell_end()
        if not self._held:
            # If one of them ends the tunnel, the other has no source any more.
            sides = [direction.source for direction in self._stopped]
            self._stopped = {}
            for side in sides:
                try:
                    side.relay.pump(side.inbound)
                except Exception:
                    end_failed(side)
        if self._held or self._stopped:
            self.pace.wait(self)

    def _show(self, look: Callable[[bytes], None], data: bytes) -> None:
        self._held.append((look, data))
        while self._held and not self.pace.spent():
            self._step()
        if self._held:
            self._count()
            self.pace.wait(self)

    def _step(self) -> None:
        look, data = self._held[0]
        part, self._at = data[self._at : self._at + SLICE_BYTES], self._at + SLICE_BYTES
        if self._at >= len(data):
            self._held.popleft()
            self._at = 0
        began = self.pace.clock()
        try:
            look(part)
        except Exception:
            log.failure("tap failed and is detached; its tunnel continues")
            self._tap, self._at = None, 0
            self._held.clear()
        self.pace.charge(self.pace.clock() - began)

    def _count(self) -> None:
        self._share.holds(sum(len(data) for _, data in self._held) - self._at)

    def _tell_end(self) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.end()


pace_of = PerReactor(Pace)
"""The budget of a reactor."""
