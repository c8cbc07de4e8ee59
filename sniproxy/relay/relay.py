"""The relay: moves bytes between two connected sockets until both directions have ended.

The contract, for every implementation (``copy``, ``splice``, ``kernel``; the same tests run for all):

* Bytes arrive unchanged, in order and without delay. Bytes read before the relay started go first.
* Half-close: when one side ends (FIN), the other side receives the end behind all bytes, and the opposite direction
  continues. A half-closed tunnel ends after C{half_closed} seconds without a byte.
* Backpressure: a side is not read while the other side is full. At most one read is held.
* A reset is passed on as a reset. After C{idle} seconds without a byte in either direction both sides are ended in
  order.
* At the end both sockets are closed, and the relay leaves nothing in the reactor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import WAIT, how_broken, pending_error
from sniproxy.net.sockopts import is_over
from sniproxy.relay.direction import Direction, DirectionFactory, Side
from sniproxy.relay.idlesweep import SWEEP_INTERVAL_S, idle_sweep_of
from sniproxy.relay.poller import Poller, poller_of
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import TICK_S, Deadline, timer_wheel_of

ROUNDS = 4
"""Maximum reads of one direction before the reactor serves other sockets."""

IDLE_CHECK_INTERVAL_S = 15.0
"""Seconds between checks of a tunnel with a blocked direction, if the poller does not report resets by itself."""

IDLE_CHECKS = 8
"""Idle checks per timeout. A tunnel may outlive its timeout by one interval."""


@attrs.frozen
class Ending:
    """How a relay ended: C{ok}, C{reset}, C{idle_timeout}, or the result given to L{Relay.end}, and why."""

    result: Result
    reason: str = ""


class RelayDirection(Protocol):
    """What L{BaseRelay} reads of a direction."""

    @property
    def moved(self) -> int:
        """Bytes written to the destination."""

    @property
    def ended(self) -> bool:
        """Whether the end of the source was passed on."""


class BaseRelay:
    """What the user-space relay and the kernel relay share: byte counts, the callback at the end, the idle timeout."""

    __slots__ = ("_done", "_down", "_half_closed", "_idle", "_up")

    _up: RelayDirection
    _down: RelayDirection

    def __init__(self, idle: float, half_closed: float) -> None:
        self._idle = idle
        self._half_closed = half_closed
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
        """Whether one side has ended."""
        return self._up.ended or self._down.ended

    def run(self) -> Deferred[Ending]:
        """L{start}. @return: fires when both sockets are closed or being closed in order."""
        done: Deferred[Ending] = Deferred(lambda _: self.end(Ending(Result.SHUTDOWN, "cancelled")))
        self.start(done.callback)
        return done

    def start(self, done: Callable[[Ending], object]) -> None:
        """Start moving bytes. @param done: called once, when both sockets are closed or being closed in order."""
        raise NotImplementedError

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind what was written to it."""
        raise NotImplementedError

    def _allowed_silence(self) -> float:
        """Seconds without a byte after which the tunnel ends."""
        return min(self._half_closed, self._idle or self._half_closed) if self.half_closed else self._idle

    def _end_idle(self, allowed: float) -> None:
        what = f"no bytes for {allowed:g} s"
        if self.half_closed:
            what += f" after the {'client' if self._up.ended else 'target'} closed its side"
        self.end(Ending(Result.IDLE_TIMEOUT, what))

    def _end_unwatched(self, error: OSError) -> None:
        """The sockets cannot be watched: no memory, or too many are watched (epoll_ctl(2))."""
        self.end(Ending(Result.LIMIT, f"cannot watch its sockets: {error.strerror}"))

    def _finish(self, ending: Ending) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(ending)


class Relay(BaseRelay):
    """The bytes of one tunnel. It owns both sockets from L{run} on.

    @param head: bytes already read from the client; the upstream gets them first.
    @param directions: makes the two directions.
    @param closer: closes sockets in order.
    @param idle: timeout in seconds. 0: none.
    @param half_closed: timeout in seconds for a half-closed tunnel.
    @param account: counts the bytes that wait for a slow reader.
    @param poller: None: the best for this system.
    """

    __slots__ = (
        "_client", "_closer", "_look", "_moved", "_moved_at", "_poller", "_reactor", "_sweep", "_timer", "_upstream",
        "_wheel", "account",
    )  # fmt: skip

    _up: Direction
    _down: Direction

    def __init__(
        self,
        reactor: IReactor,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        directions: DirectionFactory,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
        account: BufferAccount,
        poller: Poller | None = None,
    ) -> None:
        super().__init__(idle, half_closed)
        self.account = account
        self._reactor = reactor
        self._poller = poller or poller_of(reactor)
        self._wheel = timer_wheel_of(reactor)
        self._sweep = idle_sweep_of(reactor)
        self._client = Side(client, "client", self)
        self._upstream = Side(upstream, "target", self)
        self._up = self._client.inbound = self._upstream.outbound = directions(self._client, self._upstream, head)
        self._down = self._upstream.inbound = self._client.outbound = directions(self._upstream, self._client, b"")
        self._closer = closer
        self._moved, self._moved_at = -1, 0.0
        self._timer: Deadline | None = None
        self._look: Deadline | None = None

    def start(self, done: Callable[[Ending], object]) -> None:
        """Start moving bytes. @param done: called once, when both sockets are closed or being closed in order."""
        self._done = done
        try:
            for side in (self._client, self._upstream):
                self._poller.watch(side)
        except OSError as error:
            self._end_unwatched(error)
            return
        for direction in (self._up, self._down):
            direction.dry = direction.source.tls is None  # TLS may hold bytes; for others the poller reports them
            if direction.holds() or not direction.dry:
                self.pump(direction)
        if self._idle and self._done is not None:
            self._begin_idle()

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind the bytes written to it."""
        if self._done is not None:
            for direction in (self._up, self._down):
                direction.flush_once()
        if self._stop():
            for side in (self._client, self._upstream):
                self._closer(side.sock)
            self._part(ending)

    def pump(self, direction: Direction) -> None:
        """Move the bytes that can be moved now: the source is readable, or the destination is writable."""
        if self._done is None or direction.ended:
            return
        for _ in range(ROUNDS):
            if not direction.holds():
                if not direction.eof and not self._read(direction):
                    return
                if direction.eof and not direction.holds():
                    break
            if not self._write(direction):
                return
            if direction.dry and not direction.eof and not direction.source.ends:
                return
        if not direction.eof:
            self._poller.again(direction.source)
        elif not direction.holds():
            self._end_direction(direction)

    def lost(self, side: Side, error: OSError) -> None:
        """The connection of one side is broken."""
        if not self._stop():
            return
        other = self._upstream if side is self._client else self._client
        self._closer.abort(side.sock)
        # If all bytes and the end of this side were passed on, a reset could discard those still in transit.
        (self._closer if side.inbound.ended else self._closer.abort)(other.sock)
        self._part(Ending(Result.RESET, how_broken(side.name, error)))

    def _read(self, direction: Direction) -> bool:
        """@return: bytes or the end were read."""
        try:
            count = direction.fill()
        except OSError as error:
            self.read_failed(direction, error)
            return False
        direction.eof |= not count  # fill may set it, too
        return True

    def _write(self, direction: Direction) -> bool:
        """@return: all held bytes were written, and the source may be read again."""
        try:
            while True:  # until it would block: an edge-triggered poller reports room only after that
                direction.moved += direction.flush()
                if not direction.holds():
                    break
        except OSError as error:
            self.write_failed(direction, error)
            return False
        if direction.blocked:
            direction.unblock()
            self._poller.has_room(direction.target)
            if not direction.eof:
                self._poller.resume(direction.source)
        return True

    def read_failed(self, direction: Direction, error: OSError) -> None:
        if error.errno not in WAIT:
            self.lost(direction.source, error)

    def write_failed(self, direction: Direction, error: OSError) -> None:
        if error.errno not in WAIT:
            direction.target.inbound.pass_last_bytes(ROUNDS)
            self.lost(direction.target, error)
        elif not direction.blocked:
            self._block(direction)

    def _block(self, direction: Direction) -> None:
        direction.block()
        direction.dry = False  # arriving bytes are reported but not read
        if self._look is None and not self._poller.tells_all:
            self._look = self._wheel.after(IDLE_CHECK_INTERVAL_S, self._look_at_blocked)
        self._poller.pause(direction.source)
        self._poller.want_room(direction.target)

    def _end_direction(self, direction: Direction) -> None:
        self._poller.pause(direction.source)
        if not direction.end_sent:
            direction.end_sent = True
            if direction.target.tls is not None or not direction.target.inbound.ended:  # otherwise the close ends it
                try:
                    direction.finish()
                except OSError:  # it was reset; its reader reports that, if it is still needed
                    pass
            if direction.target.tls is not None and direction.holds():  # close_notify: the next flush sends it
                direction.blocked = True
                self._poller.want_room(direction.target)
                return
        direction.ended = True
        direction.release()
        self._poller.has_room(direction.target)
        if self._up.ended and self._down.ended:
            if self._stop():
                self._closer.close(self._client.sock)
                self._closer.close(self._upstream.sock)
                self._part(Ending(Result.OK))
        elif not self._idle or self._half_closed < self._idle:
            self._begin_idle()  # an end counts as activity: the timeout restarts

    def _part(self, ending: Ending) -> None:
        """Finish, and leave no reference cycle to the collector."""
        del self._up.source, self._up.target, self._down.source, self._down.target, self._client, self._upstream
        self._finish(ending)

    def _look_at_blocked(self) -> None:
        """Detect the reset of a side that is not read because the other is full, and so is not in the reactor."""
        self._look = None
        if not (self._up.blocked or self._down.blocked):
            return
        for side in (self._client, self._upstream):
            if is_over(side.sock):
                self.lost(side, pending_error(side.sock))
                return
        self._look = self._wheel.after(IDLE_CHECK_INTERVAL_S, self._look_at_blocked)

    def _begin_idle(self) -> None:
        self._moved, self._moved_at = self._up.moved + self._down.moved, self._reactor.seconds()
        if self._allowed_silence() >= IDLE_CHECKS * SWEEP_INTERVAL_S:
            self._sweep.add(self)
        else:
            self._sweep.discard(self)
            self.check_idle()

    def check_idle(self) -> None:
        """Compare byte counts since the last check, so that a message costs nothing for the timeout."""
        now, moved, allowed = self._reactor.seconds(), self._up.moved + self._down.moved, self._allowed_silence()
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        left = self._moved_at + allowed - now
        if left > 0:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._wheel.after(min(left, max(allowed / IDLE_CHECKS, TICK_S)), self.check_idle)
            return
        self._end_idle(allowed)

    def _stop(self) -> bool:
        """Remove the relay from the reactor. @return: False: this was done before."""
        if self._done is None:
            return False
        self._sweep.discard(self)
        for deadline in filter(None, (self._timer, self._look)):
            deadline.cancel()
        self._poller.unwatch(self._client)
        self._poller.unwatch(self._upstream)
        for direction in (self._up, self._down):
            if not direction.ended:  # otherwise it is already released
                direction.release()
        return True
