"""The relay of a tunnel with faults: as L{sniproxy.relay.relay}, and each direction passes a L{Gate}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sniproxy.events import Result
from sniproxy.faults.gate import CUT, HALF_CLOSE, RESET, Gate
from sniproxy.faults.tunnel import TunnelFaults
from sniproxy.relay.direction import Direction
from sniproxy.relay.relay import Ending, Relay
from sniproxy.util.buffered import Share

log = Logger()


class FaultRelay(Relay):
    """Moves the bytes of one tunnel through its gates. Such a tunnel does not move to another process.

    @param faults: of this tunnel.
    """

    __slots__ = ("_faults", "_finished", "_gates", "_lost", "_share", "_timers", "_wakes")

    def __init__(self, *arguments: Any, faults: TunnelFaults, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._faults = faults
        self._gates = {id(self._up): faults.up, id(self._down): faults.down}
        self._finished: set[int] = set()  # directions whose source has ended
        self._wakes: dict[int, tuple[float, IDelayedCall]] = {}  # each with its time
        self._timers: list[IDelayedCall] = []
        self._share = Share(self.account)
        self._lost = False

    @property
    def movable(self) -> bool:
        return False

    def start(self, done: Callable[[Ending], object]) -> None:
        for after, gate, decide in self._faults.timed:
            self._timers.append(self._reactor.callLater(after, self._act, gate, decide))
        for direction in (self._up, self._down):
            # The bytes that were read before pass the gate, too.
            gate = self._gates[id(direction)]
            passed = gate.take(direction.held(), self._reactor.seconds())
            direction.restore(passed, direction.moved, False)
            if gate.ends or gate.closed:
                self._wake_later(direction, 0.0)
        super().start(done)

    def pump(self, direction: Direction) -> None:
        waits = self._done is not None and not (direction.ended or direction.eof or direction.holds())
        if waits and self._closed(direction):
            self._hold(direction)
            return
        super().pump(direction)

    def add(self, direction: Direction, data: bytes) -> None:
        self._gates[id(direction)].append(data)
        self._wake_later(direction, 0.0)

    def _read(self, direction: Direction) -> bool:
        gate = self._gates[id(direction)]
        if self._closed(direction):
            self._hold(direction)
            return False
        now = self._reactor.seconds()
        if gate.ready:
            passed = gate.run(now)
        elif id(direction) in self._finished:
            passed = gate.rest()
        elif super()._read(direction):
            if direction.eof:
                self._finished.add(id(direction))
            passed = gate.take(direction.held(), now)
        else:
            return False
        return self._pass(direction, gate, passed)

    def _write(self, direction: Direction) -> bool:
        written = super()._write(direction)
        if written and self._done is not None:
            self._follow(direction)
        return written

    def _pass(self, direction: Direction, gate: Gate, passed: bytes) -> bool:
        """Give a direction what has passed its gate. @return: the tunnel has not ended."""
        if gate.ends == HALF_CLOSE:
            eof = not gate.limited
        else:
            eof = id(direction) in self._finished and gate.drained
            if eof:
                passed += gate.rest()
        direction.restore(passed, direction.moved, eof)
        self._share.holds(sum(one.held for one in self._gates.values()))
        if gate.lost and not self._lost:
            self._lost = True
            log.warn("a tunnel with faults does not speak Pulsar: {why}; commands are not read", why=gate.lost)
        if gate.ends in (RESET, CUT) and not gate.limited:
            self._break(direction, gate.ends)
            return False
        return True

    def _break(self, direction: Direction, how: str) -> None:
        """End the tunnel as a fault asks."""
        side = "client" if direction is self._up else "target"
        reason = f"a fault on purpose: {how} in the bytes of the {side}"
        if how == CUT:
            self.end(Ending(Result.OK, reason))
            return
        for one in (self._up, self._down):
            one.flush_once()
        if done := self._stop():
            for sock in (self._client.sock, self._upstream.sock):
                self._closer.abort(sock)
            self._part(done, Ending(Result.RESET, reason))

    def _closed(self, direction: Direction) -> bool:
        other = self._down if direction is self._up else self._up
        return self._gates[id(direction)].closed or (self._gates[id(other)].full and not other.ended)

    def _hold(self, direction: Direction) -> None:
        """Do not read a source until its gate opens. The loss of the connection is still noticed."""
        direction.blocked = True
        self._pause(direction.source)
        self._follow(direction)

    def _follow(self, direction: Direction) -> None:
        """See when the gates have more to give, also of the opposite direction, into which a frame may be inserted."""
        now = self._reactor.seconds()
        for one in (direction, self._down if direction is self._up else self._up):
            gate = self._gates[id(one)]
            if gate.ready or (gate.ends and not gate.limited):
                self._wake_later(one, 0.0)
            elif gate.wake_at is not None:
                self._wake_later(one, max(0.0, gate.wake_at - now))
            elif one.blocked and not one.ended and not one.holds() and not self._closed(one):
                self._wake_later(one, 0.0)

    def _wake_later(self, direction: Direction, seconds: float) -> None:
        due = self._reactor.seconds() + seconds
        pending = self._wakes.get(id(direction))
        if pending is not None and pending[1].active():
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._wakes[id(direction)] = due, self._reactor.callLater(seconds, self._wake, direction)

    def _wake(self, direction: Direction) -> None:
        """Give out what the gate has now, and read again if it is open."""
        if self._done is None or direction.ended:
            return
        gate = self._gates[id(direction)]
        if direction.holds():  # that is written first, unless the tunnel ends
            if gate.ends in (RESET, CUT):
                self._break(direction, gate.ends)
            return
        if not self._pass(direction, gate, gate.run(self._reactor.seconds())):
            return
        if direction.blocked and not self._closed(direction):
            direction.unblock()
            reads = not direction.eof and id(direction) not in self._finished
            if reads and not self._watch(self._reactor.addReader, direction.source):
                return
        self._follow(direction)
        self.pump(direction)

    def _act(self, gate: Gate, decide: Callable[[], Any]) -> None:
        """A fault's time has come."""
        verdict = decide()
        if verdict is None or self._done is None:
            return
        direction = self._up if gate is self._faults.up else self._down
        gate.act(verdict, self._reactor.seconds())
        self._wake_later(direction, 0.0)

    def _stop(self) -> Callable[[Ending], object] | None:
        done = super()._stop()
        if done is not None:
            for call in (*(call for _, call in self._wakes.values()), *self._timers):
                if call.active():
                    call.cancel()
            self._share.holds(0)
        return done
