"""A simulated kernel: TCP connections with bounded buffers, descriptors, listening sockets.

It follows Linux where the proxy could notice a difference: what C{recv} returns behind a reset, which error C{send}
raises, which events C{epoll_wait} reports, when a close becomes a reset. Descriptors are the lowest free numbers, so
that one that is closed too early is soon another's.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.simulation.faults import Faults

FIRST_DESCRIPTOR = 1 << 20
"""Far above real descriptors: a call that reaches the real kernel with one of these fails."""

RETRANSMIT_TIMEOUT_S = 924.0
"""Linux gives up a connection whose data is not acknowledged (tcp_retries2 = 15)."""

KEEPALIVE_TIMEOUT_S = 120.0
"""Of the options that the proxy sets: 60 s of silence, then four probes, 15 s apart."""

SYN_RETRY_S = 1.0
MAX_SYNS = 6

Address = tuple[str, int]
Schedule = Callable[[float, Callable[[], None]], object]


def error(number: int) -> OSError:
    """An C{OSError} as the system raises it, of the subclass of its number."""
    return OSError(number, os.strerror(number))


class Pollable(Protocol):
    """What has a descriptor."""

    def events(self) -> int:
        """Of epoll(7), level-triggered."""

    def close(self) -> None:
        """The descriptor is closed."""


class Link:
    """One direction of a connection. @ivar sent: bytes on the way. @ivar arrived: bytes that wait for the reader."""

    __slots__ = ("arrived", "fin_arrived", "fin_sent", "moving", "room", "sent")

    def __init__(self, room: int) -> None:
        self.sent = bytearray()
        self.arrived = bytearray()
        self.fin_sent = False
        self.fin_arrived = False
        self.moving = False
        self.room = room

    @property
    def unacknowledged(self) -> bool:
        """Whether the sender's system waits for an acknowledgement."""
        return bool(self.sent) or (self.fin_sent and not self.fin_arrived)


class End:
    """One end of a connection. The peers of the proxy call it directly, the proxy through a C{SimulatedSocket}.

    @ivar changed: called after each change that its owner could notice. @ivar broken_by: the fault that broke it.
    @ivar copies: descriptors of it in the proxy, beside the first.
    """

    def __init__(self, kernel: Kernel, name: str, address: Address, peer_address: Address, rng: Random) -> None:
        self.kernel = kernel
        self.name = name
        self.address = address
        self.peer_address = peer_address
        self.rng = rng
        self.peer: End = self
        self.out = Link(rng.choice((500, 4000, 16_384, 65_536, 262_144)))
        self.established = False
        self.error = 0
        self.dead = False
        self.closed = False
        self.vanished = False
        self.linger_reset = False
        self.copies = 0
        self.broken_by = ""
        self.user_timeout_ms = 0
        self.keepalive = False
        self.unacknowledged_since: float | None = None
        self.silent_since = 0.0
        self.changed: Callable[[], None] = lambda: None
        self.watchers: dict[int, Any] = {}

    @property
    def inn(self) -> Link:
        """The direction that this end reads."""
        return self.peer.out

    def send(self, data: bytes | memoryview, most: int | None = None) -> int:
        """Send bytes. @param most: at most. @raise OSError: as send(2)."""
        if self.error:
            raise self._take_error()
        if self.dead or self.out.fin_sent:
            raise error(errno.EPIPE)
        count = min(len(data), self.out.room - len(self.out.sent), len(data) if most is None else most)
        if count <= 0 and len(data):
            raise error(errno.EAGAIN)
        self.out.sent += data[:count]
        self.kernel.move(self)
        return count

    def recv(self, size: int, peek: bool = False) -> bytes:
        """Receive bytes. @raise OSError: as recv(2)."""
        inn = self.inn
        if inn.arrived:
            data = bytes(inn.arrived[:size])
            if not peek:
                del inn.arrived[:size]
                self.kernel.move(self.peer)
            return data
        if inn.fin_arrived:
            return b""
        if self.error:
            raise self._take_error()
        if self.dead:
            return b""
        raise error(errno.EAGAIN)

    def shutdown(self) -> None:
        """End the sending side. @raise OSError: as shutdown(2)."""
        if self.dead:
            raise error(errno.ENOTCONN)
        if not self.out.fin_sent:
            self.out.fin_sent = True
            self.kernel.move(self)
            self._notify()

    def close(self) -> None:
        """Close it. Unread bytes, or the option to linger for 0 seconds, make it a reset."""
        if self.closed:
            return
        self.closed = True
        for watcher in list(self.watchers.values()):
            watcher.forget(self)
        if self.dead:
            return
        if self.linger_reset or self.inn.arrived or not self.established:
            self.reset()
        elif not self.out.fin_sent:
            self.out.fin_sent = True
            self.kernel.move(self)

    def reset(self) -> None:
        """Send a reset. What has not arrived is lost."""
        if self.dead:
            return
        self.dead = True
        self.out.sent.clear()
        if not (self.vanished or self.peer.vanished):
            self.kernel.schedule(self.kernel.latency(self), self.peer.receive_reset)

    def receive_reset(self) -> None:
        """A reset arrives."""
        self.die(errno.EPIPE if self.inn.fin_arrived else errno.ECONNRESET)

    def die(self, number: int) -> None:
        """The connection is lost, with this errno."""
        if self.dead or self.vanished:
            return
        self.dead = True
        self.out.sent.clear()
        if not self.closed:
            self.error = number
            self._notify()

    def vanish(self) -> None:
        """The host of this end no longer sends or answers anything."""
        self.vanished = True
        self.peer.silent_since = self.kernel.now()
        self.kernel.schedule(5.0, self.peer.check_vanished)

    def check_vanished(self) -> None:
        """The timers of this end's system, while its peer has vanished."""
        if self.dead or self.vanished or self.closed:
            return
        now = self.kernel.now()
        if not self.out.unacknowledged:
            self.unacknowledged_since = None
            if self.keepalive and now - self.silent_since >= KEEPALIVE_TIMEOUT_S:
                self.die(errno.ETIMEDOUT)
                return
        else:
            since = self.unacknowledged_since = now if self.unacknowledged_since is None else self.unacknowledged_since
            if now - since >= (self.user_timeout_ms / 1000 or RETRANSMIT_TIMEOUT_S):
                self.die(errno.ETIMEDOUT)
                return
        self.kernel.schedule(5.0, self.check_vanished)

    def events(self) -> int:
        """See L{Pollable.events}."""
        if not self.established and not self.dead:
            return 0
        inn, found = self.inn, 0
        if inn.arrived or inn.fin_arrived or self.dead:
            found |= select.EPOLLIN
        if inn.fin_arrived or self.dead:
            found |= select.EPOLLRDHUP
        if self.dead or (inn.fin_arrived and self.out.fin_sent):
            found |= select.EPOLLHUP
        if self.dead or self.out.fin_sent or len(self.out.sent) < self.out.room:
            found |= select.EPOLLOUT
        return found | (select.EPOLLERR if self.error else 0)

    def take_error(self) -> int:
        """C{SO_ERROR}."""
        number, self.error = self.error, 0
        return number

    def _take_error(self) -> OSError:
        return error(self.take_error())

    def _notify(self) -> None:
        for watcher in list(self.watchers.values()):
            watcher.notice(self)
        self.changed()


class Listening:
    """A listening socket. @ivar ignores: new clients get no answer, as with a socket filter."""

    def __init__(self, kernel: Kernel, address: Address, limit: int) -> None:
        self.kernel = kernel
        self.address = address
        self.limit = limit
        self.backlog: list[End] = []
        self.closed = False
        self.ignores = False

    def events(self) -> int:
        """See L{Pollable.events}."""
        return select.EPOLLIN if self.backlog else 0

    def close(self) -> None:
        """Close it; clients in the backlog get a reset."""
        if not self.closed:
            self.closed = True
            del self.kernel.listening[self.address]
            self.kernel.dropped(self)
            for end in self.backlog:
                end.reset()


class Kernel:
    """The kernel of one world.

    @param schedule: calls a function after some seconds. @param now: the monotonic clock.
    @ivar descriptors: what is open in the proxy, by number. @ivar limit: of descriptors.
    @ivar dropped: called with a listening socket that is closed, before the clients of its backlog get a reset.
    @ivar dials: answers a connect of the proxy: it gets the proxy's end and settles it (L{settle}), now or later.
    """

    def __init__(self, schedule: Schedule, now: Callable[[], float], faults: Faults, seed: object) -> None:
        self.schedule = schedule
        self.now = now
        self.faults = faults
        self.seed = seed
        self.rng = Random(f"{seed}/kernel")
        self.limit = 1 << 16
        self.descriptors: dict[int, Pollable] = {}
        self.listening: dict[Address, Listening] = {}
        self.dials: Callable[[End, End], None] = lambda end, peer: self.settle(end, errno.ECONNREFUSED)
        self.dropped: Callable[[Listening], None] = lambda listening: None
        self._free: list[int] = []
        self._next = FIRST_DESCRIPTOR
        self._count = 0

    # Descriptors

    def open(self, what: Pollable) -> int:
        """Give it a descriptor. @raise OSError: none is left."""
        if len(self.descriptors) >= self.limit:
            raise error(errno.EMFILE)
        number = heapq.heappop(self._free) if self._free else self._next
        self._next = max(self._next, number + 1)
        self.descriptors[number] = what
        return number

    def close(self, number: int) -> None:
        """As close(2)."""
        what = self.descriptors.pop(number)
        heapq.heappush(self._free, number)
        if isinstance(what, End) and what.copies:
            what.copies -= 1
        else:
            what.close()

    def duplicate(self, number: int) -> int:
        """As dup(2), of a connection's descriptor."""
        what = self.descriptors[number]
        assert isinstance(what, End)
        copy = self.open(what)
        what.copies += 1
        return copy

    # Connections

    def pair(self, name: str, address: Address, peer_address: Address) -> tuple[End, End]:
        """Two ends of a connection that is not established yet: of the one who connects, and of the other."""
        self._count += 1
        rng = Random(f"{self.seed}/{name}")
        one = End(self, name, address, peer_address, rng)
        other = End(self, name, peer_address, address, rng)
        one.peer, other.peer = other, one
        return one, other

    def settle(self, end: End, number: int) -> None:
        """A connect has ended. @param number: its errno; 0: it is established."""
        if end.dead or end.closed:
            return
        if number:
            end.die(number)
            return
        end.established = end.peer.established = True
        end._notify()

    def latency(self, end: End) -> float:
        """Seconds until what an end sends now arrives."""
        slow = self.faults.rate("slow_line", end.rng)
        return end.rng.uniform(0.0, 2.0) if slow else end.rng.choice((0.0, 0.0001, 0.002, 0.05)) * end.rng.random()

    def move(self, sender: End) -> None:
        """Let bytes and the end of a sender travel, if there are any."""
        link, reader = sender.out, sender.peer
        if link.moving or not link.unacknowledged or not sender.established:
            return
        if sender.vanished or sender.dead or reader.vanished:
            return
        if len(link.arrived) < link.room or reader.dead or not link.sent:
            link.moving = True
            self.schedule(self.latency(sender), lambda: self._arrive(sender))

    def _arrive(self, sender: End) -> None:
        link, reader = sender.out, sender.peer
        link.moving = False
        if sender.vanished or reader.vanished or sender.dead:
            return
        if reader.dead or (reader.closed and link.sent):
            link.sent.clear()
            reader.reset()  # does nothing for one that has sent or received a reset
            return
        room = link.room - len(link.arrived)
        count = min(len(link.sent), room)
        if count > 1 and sender.rng.random() < 0.3:
            count = sender.rng.randrange(1, count + 1)
        link.arrived += link.sent[:count]
        del link.sent[:count]
        if link.fin_sent and not link.sent:
            link.fin_arrived = True
            for watcher in list(reader.watchers.values()):
                watcher.notice(reader)
        reader.changed()
        if count:
            sender.changed()
        self.move(sender)

    # Clients

    def connect(self, end: End, refused: Callable[[], None], syns: int = 0) -> None:
        """A client's SYN arrives. @param refused: called if nothing listens. @param syns: sent before."""
        where = self.listening.get(end.peer_address)
        if end.dead:
            return
        if where is None:
            end.die(errno.ECONNREFUSED)
            refused()
        elif where.ignores or len(where.backlog) >= where.limit:
            if syns == MAX_SYNS:
                end.die(errno.ETIMEDOUT)
                refused()
            else:
                self.schedule(SYN_RETRY_S * 2**syns, lambda: self.connect(end, refused, syns + 1))
        else:
            end.established = end.peer.established = True
            where.backlog.append(end.peer)
            end.changed()
            self.move(end)
