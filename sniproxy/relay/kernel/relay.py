"""The kernel relay of one tunnel: the kernel redirects its bytes, and the process does the rest.

The contract and the tests are those of L{sniproxy.relay.relay}. The process is woken for a direction only when its
window is used up, when the kernel has passed bytes, and when a side ends. It then waits until the other socket has
accepted all redirected bytes, sends what was passed, and opens the next window:

* Order: the kernel redirects nothing until the process has sent on all passed bytes, and the process sends nothing
  until the socket has accepted all redirected bytes: TCP reports acknowledged bytes and queued bytes.
* Bounded memory: a window is limited by the room in the other socket's send buffer. Without room the direction is an
  ordinary copy, with its backpressure.
* A FIN is passed on behind all bytes: when all passed bytes were read, and the other socket has accepted all of them.
* An open socket is never removed from the kernel's map, because its unread bytes would be lost.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import WAIT, how_broken
from sniproxy.relay.kernel.flow import Flow, KernelSide
from sniproxy.relay.kernel.sockmap import SocketMap, SocketPair
from sniproxy.relay.kernel.watch import ReadyWatch
from sniproxy.relay.relay import BaseRelay, Ending
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

ROUNDS = 4
"""Reads of one direction before the reactor serves others."""

RETRY_DELAYS_S = (0.0,) * 4 + (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Seconds between checks whether the kernel has written redirected bytes, or delivered passed ones. The last value
repeats. The first check usually succeeds."""

IDLE_CHECKS = 10
"""Idle checks per timeout: a tunnel may outlive its timeout by a tenth of it."""


class KernelRelay(BaseRelay):
    """One tunnel's bytes. It owns both sockets from L{run} on. The parameters are those of
    L{sniproxy.relay.relay.Relay}, and:

    @param pair: what C{sockets} returned for the two sockets.
    """

    __slots__ = (
        "_client", "_closer", "_closing", "_moved", "_moved_at", "_reactor", "_sockets", "_timer", "_upstream",
        "_watch", "_wheel", "pair",
    )  # fmt: skip

    _up: Flow
    _down: Flow

    def __init__(
        self,
        reactor: IReactorTime,
        sockets: SocketMap,
        watch: ReadyWatch,
        pair: SocketPair,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
    ) -> None:
        super().__init__(idle, half_closed)
        self._reactor = reactor
        self._wheel = timer_wheel_of(reactor)
        self._sockets = sockets
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
        self._moved_at = 0.0
        self._moved = 0
        self._timer: Deadline | None = None
        self._closing = False

    def start(self, done: Callable[[Ending], object]) -> None:
        """Move bytes. @param done: called once, when both sockets are closed, or handed to the closer."""
        self._done = done
        self._moved_at = self._reactor.seconds()
        try:
            for side in (self._client, self._upstream):
                self._watch.add(side)
        except OSError as error:
            self._end_unwatched(error)
            return
        if self._idle:
            self._set_timer(self._idle / IDLE_CHECKS)
        for flow in (self._up, self._down):
            self.pump(flow)

    def _cancel(self) -> None:
        self._end(Ending(Result.SHUTDOWN, "cancelled"), len(RETRY_DELAYS_S))

    def end(self, ending: Ending) -> None:
        """End both sides: each gets a FIN behind the bytes that were written to it. It may take 0.1 s."""
        self._end(ending, 0)

    def pump(self, flow: Flow) -> None:
        """Move what the process has to move now: passed bytes, or a FIN."""
        if self._done is None or self._closing or flow.ended or flow.retry_timer is not None:
            return
        for _ in range(ROUNDS):
            if not flow.held and not flow.eof and not self._read(flow):
                return
            if not self._write(flow):
                return
            if flow.eof:
                self._end_flow(flow)
                return
        self._update_watch(flow)  # there may be more bytes; the reactor calls again

    def lost(self, side: KernelSide, error: OSError) -> None:
        """The connection of one side is broken."""
        if self._done is None or self._closing:
            return
        self._detach()
        ending = Ending(Result.RESET, how_broken(side.name, error))
        self._when_written((side.inbound,), 0, lambda: self._abort(side, ending))

    def _read(self, flow: Flow) -> bool:
        """@return: whether bytes or a FIN were read."""
        try:
            count = flow.fill()
        except OSError as error:
            if error.errno not in WAIT:
                self.lost(flow.source, error)
            elif flow.open_window() and not flow.has_unread:
                self._wait_for_notification(flow)
            else:
                self._update_watch(flow)
            return False
        if not count:
            if flow.has_unread:
                self._retry_later(flow)
                return False
            flow.eof = True
        return True

    def _write(self, flow: Flow) -> bool:
        """@return: whether all bytes are written, including redirected ones."""
        try:
            if not flow.all_written():
                self._retry_later(flow)
                return False
            flow.retries = 0
            if flow.held:
                flow.flush()
        except OSError as error:
            if error.errno not in WAIT:
                self.lost(flow.target, error)
                return False
        blocked = bool(flow.held)
        if flow.blocked is not blocked:
            flow.blocked = blocked
            self._update_watch(flow)
        return not blocked

    def _retry_later(self, flow: Flow) -> None:
        """Call L{pump} again when the kernel has had time to write or deliver bytes."""
        flow.retry_timer = self._reactor.callLater(
            RETRY_DELAYS_S[min(flow.retries, len(RETRY_DELAYS_S) - 1)], self._retry, flow
        )
        flow.retries += 1
        self._update_watch(flow)

    def _retry(self, flow: Flow) -> None:
        flow.retry_timer = None
        self._update_watch(flow)
        self.pump(flow)

    def _update_watch(self, flow: Flow) -> None:
        """Watch the sockets for what this direction waits for."""
        self._watch.watch_read(flow.source, not (flow.eof or flow.blocked or flow.retry_timer is not None))
        self._watch.watch_write(flow.target, flow.blocked and flow.retry_timer is None)

    def _wait_for_notification(self, flow: Flow) -> None:
        """All bytes are read, and a window is open: wait for a notification or a FIN only."""
        flow.row.acknowledge()
        self._watch.watch_end(flow.source)
        if flow.has_unread:  # passed before the acknowledgement, so without a notification
            self._update_watch(flow)

    def _end_flow(self, flow: Flow) -> None:
        flow.freeze()
        try:
            flow.target.sock.shutdown(socket.SHUT_WR)
        except OSError:  # reset meanwhile: the next read reports it, unless that side has ended already
            pass
        flow.ended = True
        self._moved_at = self._reactor.seconds()  # a FIN counts as activity: C{half_closed} starts now
        self._update_watch(flow)
        if self._up.ended and self._down.ended:
            self._detach()
            for side in (self._client, self._upstream):
                self._closer.close(side.sock)
            self._finish(Ending(Result.OK))
        elif not self._idle or self._half_closed < self._idle:
            self._set_timer(self._half_closed / IDLE_CHECKS)

    def _end(self, ending: Ending, tries: int) -> None:
        if self._done is None or self._closing:
            return
        self._detach()
        flows = (self._up, self._down)
        for flow in flows:
            self._flush_rest(flow, read=False)
        self._when_written(flows, tries, lambda: self._close(ending))

    def _when_written(self, flows: tuple[Flow, ...], tries: int, then: Callable[[], None]) -> None:
        """Call C{then} when the kernel has written all redirected bytes, or after the last try: a peer may not read."""
        try:
            calm = all(flow.ended or flow.all_written() for flow in flows)
        except OSError:
            calm = True
        if calm or tries >= len(RETRY_DELAYS_S):
            then()
        else:
            self._reactor.callLater(RETRY_DELAYS_S[tries], self._when_written, flows, tries + 1, then)

    def _close(self, ending: Ending) -> None:
        for flow in (self._up, self._down):
            flow.freeze()
        for side in (self._client, self._upstream):
            self._closer(side.sock)
        self._finish(ending)

    def _abort(self, side: KernelSide, ending: Ending) -> None:
        self._flush_rest(side.inbound, read=True)
        for flow in (self._up, self._down):
            flow.freeze()
        self._closer.abort(side.sock)
        other = side.inbound.target.sock
        if side.inbound.ended:
            # All bytes and the FIN of this side were passed on. A reset could discard those that are still queued.
            self._closer(other)
        else:
            self._closer.abort(other)
        self._finish(ending)

    @staticmethod
    def _flush_rest(flow: Flow, read: bool) -> None:
        """Send held bytes, with C{read} also what the source sent before it broke, often a TLS alert. Does not wait."""
        try:
            for _ in range(ROUNDS):
                if flow.ended or not flow.all_written():
                    return
                if flow.held:
                    flow.flush()
                if flow.held or not read or not flow.fill():
                    return
        except OSError:
            return

    def _check_idle(self) -> None:
        now, moved, allowed = self._reactor.seconds(), self._up.moved + self._down.moved, self._allowed_silence()
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        left = self._moved_at + allowed - now
        if left > 0:
            self._set_timer(min(left, allowed / IDLE_CHECKS))
            return
        self._end_idle(allowed)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._wheel.after(seconds, self._check_idle)

    def _detach(self) -> None:
        """Cancel all timers and watches, and close both windows."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for flow in (self._up, self._down):
            if flow.retry_timer is not None and flow.retry_timer.active():
                flow.retry_timer.cancel()
        for side in (self._client, self._upstream):
            self._watch.remove(side)
        for flow in (self._up, self._down):
            flow.row.open_window(0)

    def _finish(self, ending: Ending) -> None:
        for flow in (self._up, self._down):
            flow.freeze()
        self._sockets.remove(self.pair)
        super()._finish(ending)
