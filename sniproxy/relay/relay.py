"""The relay: moves bytes between two connected sockets until both directions have ended.

The contract, for this relay and for L{sniproxy.relay.engine} (the same tests run for both):

* Bytes arrive unchanged, in order and without delay. Bytes read before the relay started go first.
* Half-close: when one side ends (FIN), the other side receives the end behind all bytes, and the opposite direction
  continues. A half-closed tunnel ends after C{half_closed} seconds without a byte.
* Backpressure: a side is not read while the other side is full. At most one read is held.
* A reset is passed on as a reset. After C{idle} seconds without a byte in either direction both sides are ended in
  order.
* At the end both sockets are closed, and the relay leaves nothing in the reactor.
* A plain tunnel can be given back, and another relay can resume it (L{sniproxy.relay.state}). No byte, end, count or
  second of silence is lost.

This relay copies, in Python and on the reactor. It serves inspected and bridged tunnels and those whose TLS the proxy
terminates, and all tunnels if there is no engine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import attrs
from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import WAIT, how_broken
from sniproxy.relay.direction import Direction, DirectionFactory, Side
from sniproxy.relay.leaving import end_watch_of
from sniproxy.relay.state import CLIENT, NOBODY, SIDE_NAMES, TARGET, TunnelState
from sniproxy.relay.vanished import end_time_limit
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import TICK_S, Deadline, timer_wheel_of

ROUNDS = 4
"""Maximum reads of one direction before the reactor serves other sockets."""

IDLE_CHECKS = 8
"""Idle checks per timeout. A tunnel may outlive its timeout by one interval."""


@attrs.frozen
class Ending:
    """How a relay ended: C{ok}, C{reset}, C{idle_timeout}, or the result given to L{Relay.end}, and why."""

    result: Result
    reason: str = ""


FIRST_ENDED = {side: Ending(Result.OK, f"the {side} ended first") for side in SIDE_NAMES.values()}
"""The endings of tunnels whose two sides have ended, by the side that was first."""


class Relay:
    """The bytes of one tunnel. It owns both sockets from L{start} on.

    @param head: bytes already read from the client; the upstream gets them first.
    @param closer: closes sockets in order.
    @param idle: timeout in seconds. 0: none.
    @param half_closed: timeout in seconds for a half-closed tunnel.
    @param account: counts the bytes that wait for a slow reader.
    @param directions: makes the two directions.
    @ivar answer: the first and the seventh byte of the first read from the target: what a TLS alert in the clear shows.
        0 for a seventh that is missing. Empty: nothing came, or the proxy decrypts it.
    """

    __slots__ = (
        "_client", "_closer", "_done", "_down", "_ends", "_first_end", "_half_closed", "_idle", "_moved", "_moved_at",
        "_reactor", "_timer", "_up", "_upstream", "_wheel", "account", "answer",
    )  # fmt: skip

    def __init__(
        self,
        reactor: IReactor,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
        account: BufferAccount,
        directions: DirectionFactory = Direction,
    ) -> None:
        self.account = account
        self._reactor = reactor
        self._ends = end_watch_of(reactor)
        self._wheel = timer_wheel_of(reactor)
        self._closer = closer
        self._idle = idle
        self._half_closed = half_closed
        self._client = Side(client, "client", self)
        self._upstream = Side(upstream, "target", self)
        self._up = self._client.inbound = self._upstream.outbound = directions(self._client, self._upstream, head)
        self._down = self._upstream.inbound = self._client.outbound = directions(self._upstream, self._client, b"")
        self.answer = b""
        self._first_end = ""
        self._moved, self._moved_at = -1, 0.0
        self._timer: Deadline | None = None
        self._done: Callable[[Ending], object] | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The client's and the target's. Empty: the relay has ended or has not started."""
        return () if self._done is None else (self._client.sock, self._upstream.sock)

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
        """Whether one side has ended."""
        return bool(self._first_end)

    def blocked(self, direction: Literal["up", "down"]) -> bool:
        """Whether a source is not read because its destination is full. @param direction: up: to the upstream."""
        return (self._up if direction == "up" else self._down).blocked

    @property
    def movable(self) -> bool:
        """See L{sniproxy.relay.protocols.Tunnel}. Only tunnels whose bytes are copied and nothing else can move."""
        return self._done is not None and all(
            type(direction) is Direction and direction.source.tls is None for direction in (self._up, self._down)
        )

    def give_back(self, take: Callable[[TunnelState], object]) -> None:
        """Stop moving bytes. Does nothing at the end. @param take: called at once, in place of what L{start} got."""
        if self._done is None:
            return
        # The byte counts are compared only now and then: bytes since the last time may have come just now.
        silent = self._moved == self._up.moved + self._down.moved
        state = TunnelState(
            self._client.sock,
            self._upstream.sock,
            self._up.held(),
            self._down.held(),
            (CLIENT if self._up.eof else NOBODY) | (TARGET if self._down.eof else NOBODY),
            next((side for side, name in SIDE_NAMES.items() if name == self._first_end), NOBODY),
            self._up.moved,
            self._down.moved,
            self.answer,
            self._reactor.seconds() - self._moved_at if silent else 0.0,
        )
        self._stop()
        self._let_go()
        for sock in (state.client, state.target):
            end_time_limit(sock)
        take(state)

    def restore(self, state: TunnelState) -> None:
        """Continue a tunnel that was given back. Call this before L{start}; the constructor got the sockets."""
        self._up.restore(state.held_up, state.bytes_up, bool(state.ended & CLIENT))
        self._down.restore(state.held_down, state.bytes_down, bool(state.ended & TARGET))
        self.answer = state.answer
        self._first_end = SIDE_NAMES.get(state.first, "")
        self._moved, self._moved_at = state.bytes_up + state.bytes_down, self._reactor.seconds() - state.quiet_s

    def run(self) -> Deferred[Ending]:
        """L{start}. @return: fires when both sockets are closed or being closed in order."""
        done: Deferred[Ending] = Deferred(lambda _: self.end(Ending(Result.SHUTDOWN, "cancelled")))
        self.start(done.callback)
        return done

    def start(self, done: Callable[[Ending], object]) -> None:
        """Start moving bytes. @param done: called once, when both sockets are closed or being closed in order."""
        self._done = done
        if not all(self._watch(self._reactor.addReader, side) for side in (self._client, self._upstream)):
            return
        for direction in (self._up, self._down):
            if self._done is None:  # the other direction has found a broken connection
                return
            direction.dry = direction.source.tls is None  # TLS may hold bytes; for others the reactor reports them
            if direction.holds() or direction.eof or not direction.dry:
                self.pump(direction)
        if (self._idle or self._first_end) and self._done is not None:
            self._check_idle()

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind the bytes written to it."""
        if self._done is not None:
            for direction in (self._up, self._down):
                direction.flush_once()
        if done := self._stop():
            for side in (self._client, self._upstream):
                self._closer(side.sock)
            self._part(done, ending)

    def pump(self, direction: Direction) -> None:
        """Move the bytes that can be moved now: the source is readable, or the destination is writable."""
        if self._done is None or direction.ended:
            return
        for _ in range(ROUNDS):
            if not (direction.holds() or direction.blocked):
                if not direction.eof and not self._read(direction):
                    return
                if direction.eof and not direction.holds():
                    break
            if not self._write(direction):
                return
            if direction.dry and not direction.eof:
                return
        if direction.eof and not direction.holds():  # otherwise the reactor reports the source again
            self._end_direction(direction)

    def add(self, direction: Direction, data: bytes) -> None:
        """Send bytes that no source has sent, behind those that a direction holds."""
        direction.restore(direction.held() + data, direction.moved, direction.eof)
        self.pump(direction)

    def lost(self, side: Side, error: OSError) -> None:
        """The connection of one side is broken."""
        if done := self._stop():
            other = self._upstream if side is self._client else self._client
            self._closer.abort(side.sock)
            # If all bytes and the end of this side were passed on, a reset could discard those still in transit.
            (self._closer if side.inbound.ended else self._closer.abort)(other.sock)
            self._part(done, Ending(Result.RESET, how_broken(side.name, error)))

    def _read(self, direction: Direction) -> bool:
        """@return: bytes or the end were read."""
        try:
            count = direction.fill()
        except OSError as error:
            if error.errno not in WAIT:
                self.lost(direction.source, error)
            return False
        direction.eof |= not count  # fill may set it, too
        if not self.answer and count and direction is self._down and direction.source.tls is None:
            self.answer = direction.answer()
        return True

    def _write(self, direction: Direction) -> bool:
        """@return: all held bytes were written, and the source may be read again."""
        try:
            while True:
                direction.moved += direction.flush()
                if not direction.holds():
                    break
        except OSError as error:
            if error.errno not in WAIT:
                direction.target.inbound.pass_last_bytes(ROUNDS)
                self.lost(direction.target, error)
            elif not direction.blocked:
                self._block(direction)
            return False
        if direction.blocked:
            direction.unblock()
            self._reactor.removeWriter(direction.target)
            return direction.eof or self._watch(self._reactor.addReader, direction.source)
        return True

    def _block(self, direction: Direction) -> None:
        direction.block()
        self._pause(direction.source)
        self._watch(self._reactor.addWriter, direction.target)

    def _watch(self, add: Callable[[Side], object], side: Side) -> bool:
        """Add a side to the reactor. @return: False: the system has no room for it, and the tunnel has ended."""
        try:
            add(side)
        except OSError as error:  # epoll_ctl(2): no memory, or too many are watched
            self.end(Ending(Result.LIMIT, f"cannot watch its sockets: {error.strerror}"))
            return False
        return True

    def _pause(self, side: Side) -> None:
        """Stop reading. The loss of the connection is still reported."""
        self._reactor.removeReader(side)
        self._ends.watch(side)

    def _end_direction(self, direction: Direction) -> None:
        opposite = direction.target.inbound
        self._reactor.removeReader(direction.source)
        if not direction.end_sent:
            direction.end_sent = True
            if direction.target.tls is not None or not opposite.ended:  # otherwise the close ends it
                with suppress(OSError):  # it was reset; its reader reports that, if it is still needed
                    direction.finish()
            if direction.target.tls is not None and direction.holds():  # close_notify: the next flush sends it
                direction.blocked = True
                self._pause(direction.source)
                self._watch(self._reactor.addWriter, direction.target)
                return
        direction.ended = True
        direction.release()
        if not opposite.ended:
            self._pause(direction.source)
            if not self._first_end:
                self._first_end = direction.source.name
                self._moved = -1  # an end counts as activity: the timeout restarts
                if not self._idle or self._half_closed < self._idle:
                    self._check_idle()
        elif done := self._stop():
            self._closer.close(self._client.sock)
            self._closer.close(self._upstream.sock)
            self._part(done, FIRST_ENDED.get(self._first_end, Ending(Result.OK)))

    def _check_idle(self) -> None:
        """Compare byte counts since the last check, so that a message costs nothing for the timeout."""
        now, moved, allowed = self._reactor.seconds(), self._up.moved + self._down.moved, self._idle
        if self._first_end:
            allowed = min(self._half_closed, self._idle or self._half_closed)
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        left = self._moved_at + allowed - now
        if left > 0:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._wheel.after(min(left, max(allowed / IDLE_CHECKS, TICK_S)), self._check_idle)
            return
        after = f" after the {self._first_end} closed its side" if self._first_end else ""
        self.end(Ending(Result.IDLE_TIMEOUT, f"no bytes for {allowed:g} s{after}"))

    def _stop(self) -> Callable[[Ending], object] | None:
        """Remove the relay from the reactor. @return: reports the ending. None: this was done before."""
        done, self._done = self._done, None
        if done is None:
            return None
        if self._timer is not None:
            self._timer.cancel()
        for direction in (self._up, self._down):
            self._reactor.removeReader(direction.source)
            self._ends.unwatch(direction.source)
            if direction.blocked:
                self._reactor.removeWriter(direction.target)
            if not direction.ended:  # otherwise it is already released
                direction.release()
        return done

    def _part(self, done: Callable[[Ending], object], ending: Ending) -> None:
        self._let_go()
        done(ending)

    def _let_go(self) -> None:
        """Leave no reference cycle to the garbage collector."""
        del self._up.source, self._up.target, self._down.source, self._down.target, self._client, self._upstream
