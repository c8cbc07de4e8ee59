"""The relay: two connected sockets and the bytes already read; bytes go both ways until both directions have ended.

The contract, whichever way the bytes are moved (``copying``, ``splicing``; one set of tests runs over all):

* Bytes arrive unchanged, in order, and as soon as they can; what was read before the relay goes first.
* Half-close: when one side ends (FIN), the other is told so once it has all bytes; the other direction goes on. A pair
  of which one direction has ended is given up after C{half_closed} seconds without a byte.
* Backpressure: a side is not read while the other cannot take more; what is held is bounded by one read.
* A reset passes on as a reset. After C{idle} seconds without a byte in either direction both sides are ended in order.
* When it is over both sockets are closed, and nothing of it stays in the reactor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import WAIT, how_broken, pending_error
from sniproxy.net.sockopts import is_over
from sniproxy.relay.direction import Direction, DirectionFactory, Side
from sniproxy.relay.poller import Poller, poller_of
from sniproxy.util.timerwheel import TICK_S, Deadline, wheel_of

ROUNDS = 4
"""Reads of one direction before the reactor serves others."""

IDLE_CHECK_INTERVAL_S = 15.0
"""Seconds between looks at the connections of a pair of which a direction stands still, where nobody tells of them."""

IDLE_CHECKS = 8
"""How often within a time limit it is looked whether bytes have moved: it may be exceeded by such a part."""


@attrs.frozen
class Ending:
    """How a relay ended: C{ok}, C{reset}, C{idle_timeout}, or what it was told to end with; and why, in words."""

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
        """Whether one side has ended its half."""
        return self._up.ended or self._down.ended

    def run(self) -> Deferred[Ending]:
        """L{start}. @return: fires when both sockets are closed or being closed in order."""
        done: Deferred[Ending] = Deferred(lambda _: self._cancel())
        self.start(done.callback)
        return done

    def start(self, done: Callable[[Ending], object]) -> None:
        """Move bytes. @param done: called once, when both sockets are closed or being closed in order."""
        raise NotImplementedError

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind what was written to it."""
        raise NotImplementedError

    def _cancel(self) -> None:
        self.end(Ending(Result.SHUTDOWN, "cancelled"))

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
    """One tunnel's bytes. It owns both sockets from L{run} on.

    @param head: bytes from the client that were read already; the first the upstream gets.
    @param closer: closes sockets in order.
    @param idle: seconds; 0: for ever.
    @param half_closed: seconds.
    @param poller: unless given, the best for this system.
    """

    __slots__ = (
        "_client",
        "_closer",
        "_look",
        "_moved",
        "_moved_at",
        "_poller",
        "_reactor",
        "_timer",
        "_upstream",
        "_wheel",
    )

    _up: Direction
    _down: Direction

    def __init__(
        self,
        reactor: Any,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        way: DirectionFactory,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
        poller: Poller | None = None,
    ) -> None:
        super().__init__(idle, half_closed)
        self._reactor = reactor
        self._poller = poller or poller_of(reactor)
        self._wheel = wheel_of(reactor)
        self._client = Side(client, "client", self)
        self._upstream = Side(upstream, "target", self)
        self._up = self._client.inbound = self._upstream.outbound = way(self._client, self._upstream, head)
        self._down = self._upstream.inbound = self._client.outbound = way(self._upstream, self._client, b"")
        self._closer = closer
        self._moved, self._moved_at = -1, 0.0
        self._timer: Deadline | None = None
        self._look: Deadline | None = None

    def start(self, done: Callable[[Ending], object]) -> None:
        """Move bytes. @param done: called once, when both sockets are closed or being closed in order."""
        self._done = done
        try:
            for side in (self._client, self._upstream):
                self._poller.watch(side)
        except OSError as error:
            self._end_unwatched(error)
            return
        for direction in (self._up, self._down):
            direction.dry = direction.source.tls is None  # TLS may hold bytes already; of others the poller tells
            if direction.holds() or not direction.dry:
                self.pump(direction)
        if self._idle and self._done is not None:
            self._check_idle()

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind what was written to it."""
        if self._done is not None:
            for direction in (self._up, self._down):
                direction.flush_once()
        if self._stop():
            for side in (self._client, self._upstream):
                self._closer(side.sock)
            self._finish(ending)

    def pump(self, direction: Direction) -> None:
        """Move what can be moved now: its source has bytes, or its destination has room."""
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
        """One side's connection is broken."""
        other = self._upstream if side is self._client else self._client
        if not self._stop():
            return
        self._closer.abort(side.sock)
        # If all that this side sent, its end too, has been passed on, a reset could take the rest of it back.
        (self._closer if side.inbound.ended else self._closer.abort)(other.sock)
        self._finish(Ending(Result.RESET, how_broken(side.name, error)))

    def _read(self, direction: Direction) -> bool:
        """@return: something was read, or the end."""
        try:
            count = direction.fill()
        except OSError as error:
            self.read_failed(direction, error)
            return False
        direction.eof |= not count  # it may have said so itself
        return True

    def _write(self, direction: Direction) -> bool:
        """@return: all that was held is written, and the source may be read on."""
        try:
            while True:  # until the system says that there is no room: only then does it tell when there is
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
        direction.dry = False  # what comes meanwhile is told, but not read
        if self._look is None and not self._poller.tells_all:
            self._look = self._wheel.after(IDLE_CHECK_INTERVAL_S, self._look_at_blocked)
        self._poller.pause(direction.source)
        self._poller.want_room(direction.target)

    def _end_direction(self, direction: Direction) -> None:
        self._poller.pause(direction.source)
        if not direction.told:
            direction.told = True
            if direction.target.tls is not None or not direction.target.inbound.ended:  # else the close says so
                try:
                    direction.finish()
                except OSError:  # reset in between: reading from it says so, unless all is said already
                    pass
            if direction.target.tls is not None and direction.holds():  # its last word: the next flush has it
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
                self._finish(Ending(Result.OK))
        elif not self._idle or self._half_closed < self._idle:
            self._moved = -1  # an end is news as bytes are: the time for the answer begins now
            self._check_idle()

    def _look_at_blocked(self) -> None:
        """A side that is not read while the other takes nothing is out of the reactor, which so misses its reset."""
        self._look = None
        if not (self._up.blocked or self._down.blocked):
            return
        for side in (self._client, self._upstream):
            if is_over(side.sock):
                self.lost(side, pending_error(side.sock))
                return
        self._look = self._wheel.after(IDLE_CHECK_INTERVAL_S, self._look_at_blocked)

    def _check_idle(self) -> None:
        """Look whether bytes have moved since the last look: so a message costs nothing for its tunnel's time limit."""
        now, moved, allowed = self._reactor.seconds(), self._up.moved + self._down.moved, self._allowed_silence()
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        left = self._moved_at + allowed - now
        if left > 0:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._wheel.after(min(left, max(allowed / IDLE_CHECKS, TICK_S)), self._check_idle)
            return
        self._end_idle(allowed)

    def _stop(self) -> bool:
        """Take everything out of the reactor. @return: it was not done before."""
        if self._done is None:
            return False
        for deadline in (self._timer, self._look):
            if deadline is not None:
                deadline.cancel()
        self._poller.unwatch(self._client)
        self._poller.unwatch(self._upstream)
        for direction in (self._up, self._down):
            if not direction.ended:  # else it is released
                direction.release()
        return True
