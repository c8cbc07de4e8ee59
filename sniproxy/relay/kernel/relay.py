"""The relay whose bytes the kernel forwards by itself, from one socket of a tunnel into the other.

The contract and the tests are those of L{sniproxy.relay.relay}. Our process is woken for a direction only when its
window is used up, when the kernel had to pass something, and when a side ends. It then waits until the
other socket has I{written} all that was redirected, sends what was passed, and opens the next window:

* Order: while anything that was passed is not sent on, the kernel redirects nothing; and we send nothing before the
  socket has written what was redirected. What a socket has written is what TCP says: acknowledged, plus what waits.
* Bounded memory: a window is what the other socket's send buffer has room for. Without room there is none, and the
  direction is an ordinary copy, with its backpressure, until there is.
* An end is passed on behind all: when what was read is what the kernel passed, and all is written.
* A socket is never taken out of the kernel's map while it lives, for bytes that wait in it would be lost.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import WAIT, how_broken
from sniproxy.relay.kernel.flow import Flow, KernelSide
from sniproxy.relay.kernel.gate import Gate, Pair
from sniproxy.relay.kernel.watch import ReadyWatch
from sniproxy.relay.relay import Ending
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

ROUNDS = 4
"""Reads of one direction before the reactor serves others."""

DELAYS_S = (0.0,) * 4 + (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Seconds until we look again whether the kernel has written what it redirected, or handed over what it passed. Mostly
it is there at once; the last goes on."""

IDLE_CHECKS = 10
"""How often in the idle time somebody looks whether bytes have passed: so an end may come a tenth late, never early."""


class KernelRelay:
    """One tunnel's bytes. It owns both sockets from L{run} on. Parameters: as those of L{sniproxy.relay.relay.Relay}.

    @param pair: both sockets, as the gate has let them in.
    """

    __slots__ = (
        "_client", "_closer", "_closing", "_done", "_down", "_gate", "_half_closed", "_idle", "_reactor", "_seen",
        "_timer", "_touched", "_up", "_upstream", "_watch", "_wheel", "pair",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Any,
        gate: Gate,
        watch: ReadyWatch,
        pair: Pair,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
    ) -> None:
        self._reactor = reactor
        self._wheel = timer_wheel_of(reactor)
        self._gate = gate
        self._watch = watch
        self.pair = pair
        self._client = KernelSide(client, "client", self)
        self._upstream = KernelSide(upstream, "target", self)
        self._up = self._client.inbound = self._upstream.outbound = Flow(
            self._client, self._upstream, pair.client, head
        )
        self._down = self._upstream.inbound = self._client.outbound = Flow(
            self._upstream, self._client, pair.target, b""
        )
        self._closer = closer
        self._idle = idle
        self._half_closed = half_closed
        self._touched = 0.0
        self._seen = 0
        self._timer: Deadline | None = None
        self._closing = False
        self._done: Callable[[Ending], object] | None = None

    @property
    def bytes_up(self) -> int:
        """Bytes written to the upstream."""
        return self._up.moved

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client."""
        return self._down.moved

    @property
    def half_closed(self) -> bool:
        """Whether one side has ended its half."""
        return self._up.ended or self._down.ended

    def run(self) -> Deferred[Ending]:
        """L{start}. @return: fires when both sockets are closed or being closed in order."""
        done: Deferred[Ending] = Deferred(lambda _: self._end(Ending(Result.SHUTDOWN, "cancelled"), len(DELAYS_S)))
        self.start(done.callback)
        return done

    def start(self, done: Callable[[Ending], object]) -> None:
        """Move bytes. @param done: called once, when both sockets are closed or being closed in order."""
        self._done = done
        self._touched = self._reactor.seconds()
        try:
            for side in (self._client, self._upstream):
                self._watch.add(side)
        except OSError as error:  # no memory, or too many are watched (epoll_ctl(2))
            self.end(Ending(Result.LIMIT, f"cannot watch its sockets: {error.strerror}"))
            return
        if self._idle:
            self._set_timer(self._idle / IDLE_CHECKS)
        for flow in (self._up, self._down):
            self.pump(flow)

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind what was written to it. It may take 0.1 s."""
        self._end(ending, 0)

    def pump(self, flow: Flow) -> None:
        """Move what is ours to move now: what was passed, or an end."""
        if self._done is None or self._closing or flow.ended or flow.timer is not None:
            return
        for _ in range(ROUNDS):
            if not flow.held and not flow.eof and not self._read(flow):
                return
            if not self._write(flow):
                return
            if flow.eof:
                self._end_flow(flow)
                return
        self._tell(flow)  # there may be more

    def lost(self, side: KernelSide, error: OSError) -> None:
        """One side's connection is broken."""
        if self._done is None or self._closing:
            return
        self._retire()
        ending = Ending(Result.RESET, how_broken(side.name, error))
        self._calm((side.inbound,), 0, lambda: self._abort(side, ending))

    def _read(self, flow: Flow) -> bool:
        """@return: something was read, or the end."""
        try:
            count = flow.fill()
        except OSError as error:
            if error.errno not in WAIT:
                self.lost(flow.source, error)
            elif flow.open() and not flow.missing:
                self._rest(flow)
            else:
                self._tell(flow)
            return False
        if not count:
            if flow.missing:
                self._wait(flow)
                return False
            flow.eof = True
        return True

    def _write(self, flow: Flow) -> bool:
        """@return: all is written, what was redirected, too."""
        try:
            if not flow.settle():
                self._wait(flow)
                return False
            flow.waits = 0
            if flow.held:
                flow.flush()
        except OSError as error:
            if error.errno not in WAIT:
                self.lost(flow.target, error)
                return False
        blocked = bool(flow.held)
        if flow.blocked is not blocked:
            flow.blocked = blocked
            self._tell(flow)
        return not blocked

    def _wait(self, flow: Flow) -> None:
        """For the kernel, which is at it."""
        flow.timer = self._reactor.callLater(DELAYS_S[min(flow.waits, len(DELAYS_S) - 1)], self._again, flow)
        flow.waits += 1
        self._tell(flow)

    def _again(self, flow: Flow) -> None:
        flow.timer = None
        self._tell(flow)
        self.pump(flow)

    def _tell(self, flow: Flow) -> None:
        """Say what this direction waits for."""
        self._watch.reads(flow.source, not (flow.eof or flow.blocked or flow.timer is not None))
        self._watch.writes(flow.target, flow.blocked and flow.timer is None)

    def _rest(self, flow: Flow) -> None:
        """All is read, and the kernel forwards: wait for its ring, and for the end."""
        flow.row.hear()
        self._watch.rest(flow.source)
        if flow.missing:  # passed just before, when we had heard nothing yet: it does not ring again for that
            self._tell(flow)

    def _end_flow(self, flow: Flow) -> None:
        flow.count()
        try:
            flow.target.sock.shutdown(socket.SHUT_WR)
        except OSError:  # reset in between: reading from it says so, unless it had ended before and all is said
            pass
        flow.ended = True
        self._touched = self._reactor.seconds()  # an end is news as bytes are: the time for the answer begins now
        self._tell(flow)
        if self._up.ended and self._down.ended:
            self._retire()
            for side in (self._client, self._upstream):
                self._closer.close(side.sock)
            self._finish(Ending(Result.OK))
        elif not self._idle or self._half_closed < self._idle:
            self._set_timer(self._half_closed / IDLE_CHECKS)

    def _end(self, ending: Ending, tries: int) -> None:
        if self._done is None or self._closing:
            return
        self._retire()
        flows = (self._up, self._down)
        for flow in flows:
            self._last_words(flow, read=False)
        self._calm(flows, tries, lambda: self._close(ending))

    def _calm(self, flows: tuple[Flow, ...], tries: int, then: Callable[[], None]) -> None:
        """Wait until the kernel has written what it redirected, but not long: the destination may take no more."""
        try:
            calm = all(flow.ended or flow.settle() for flow in flows)
        except OSError:
            calm = True
        if calm or tries >= len(DELAYS_S):
            then()
        else:
            self._reactor.callLater(DELAYS_S[tries], self._calm, flows, tries + 1, then)

    def _close(self, ending: Ending) -> None:
        for flow in (self._up, self._down):
            flow.count()
        for side in (self._client, self._upstream):
            self._closer(side.sock)
        self._finish(ending)

    def _abort(self, side: KernelSide, ending: Ending) -> None:
        self._last_words(side.inbound, read=True)
        for flow in (self._up, self._down):
            flow.count()
        self._closer.abort(side.sock)
        other = side.inbound.target.sock
        if side.inbound.ended:
            # All that this side sent, its end too, has been passed on: a reset could take the rest of it back.
            self._closer(other)
        else:
            self._closer.abort(other)
        self._finish(ending)

    @staticmethod
    def _last_words(flow: Flow, read: bool) -> None:
        """What is held, and what a broken source still has for us, a TLS alert often, as far as there is room."""
        try:
            for _ in range(ROUNDS):
                if flow.ended or not flow.settle():
                    return
                if flow.held:
                    flow.flush()
                if flow.held or not read or not flow.fill():
                    return
        except OSError:
            return

    def _check_idle(self) -> None:
        now, moved = self._reactor.seconds(), self._up.moved + self._down.moved
        if moved != self._seen:
            self._seen, self._touched = moved, now
        half = self.half_closed
        allowed = min(self._half_closed, self._idle or self._half_closed) if half else self._idle
        left = self._touched + allowed - now
        if left > 0:
            self._set_timer(min(left, allowed / IDLE_CHECKS))
            return
        what = f"no bytes for {allowed:g} s"
        if half:
            ended = self._client if self._up.ended else self._upstream
            what += f" after the {ended.name} closed its side"
        self.end(Ending(Result.IDLE_TIMEOUT, what))

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._wheel.after(seconds, self._check_idle)

    def _retire(self) -> None:
        """Wait for nothing more, and let the kernel redirect nothing more."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for flow in (self._up, self._down):
            if flow.timer is not None and flow.timer.active():
                flow.timer.cancel()
        for side in (self._client, self._upstream):
            self._watch.remove(side)
        for flow in (self._up, self._down):
            flow.row.open(0)

    def _finish(self, ending: Ending) -> None:
        for flow in (self._up, self._down):
            flow.count()
        self._gate.leave(self.pair)
        done, self._done = self._done, None
        if done is not None:
            done(ending)
