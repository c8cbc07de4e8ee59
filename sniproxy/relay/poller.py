"""Waits for the sockets of relays.

Twisted's work for one event costs more than relaying a small message, and each change of what the reactor waits for
costs a system call. So with epoll, the sockets of all relays are in one epoll set, which is a single reader of the
reactor (epoll(7): a set is readable when a socket in it is ready). One round serves all ready sockets in a tight loop.

The set is edge-triggered: it reports a change once. A side must read or write until the system reports that it would
block, or call L{EdgePoller.again}.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.util.perreactor import PerReactor
from sniproxy.util.reactor import IReactor

log = Logger()

BATCH = 128
"""Maximum events per call of epoll_wait."""

ROUNDS = 8
"""Rounds for sides that have not drained their socket before the reactor serves other descriptors."""

available = hasattr(select, "epoll")
"""Whether this system has epoll."""

IN: int = getattr(select, "EPOLLIN", 1)
OUT: int = getattr(select, "EPOLLOUT", 4)
BROKEN: int = getattr(select, "EPOLLERR", 8) | getattr(select, "EPOLLHUP", 16)
ENDS: int = BROKEN | getattr(select, "EPOLLRDHUP", 8192)
_READING: int = IN | getattr(select, "EPOLLRDHUP", 8192) | getattr(select, "EPOLLET", 1 << 31)
_ENDING: int = getattr(select, "EPOLLRDHUP", 8192) | getattr(select, "EPOLLET", 1 << 31)


class Ready(Protocol):
    """A socket of a relay, as seen by the poller."""

    fd: int

    def ready(self, events: int) -> bool:
        """Handle epoll events. @return: a message was passed on, and nothing else was done."""

    def doRead(self) -> None:
        """Continue reading."""

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or an event handler failed."""


class Poller(Protocol):
    """Waits for the sockets of a relay.

    @ivar tells_all: ends and resets are also reported for a socket that is currently not read.
    """

    tells_all: bool

    def watch(self, side: Ready) -> None:
        """Report when the socket is readable."""

    def unwatch(self, side: Ready) -> None:
        """Stop reporting. The socket is closed next and cannot be watched again."""

    def pause(self, side: Ready) -> None:
        """The side stops reading."""

    def resume(self, side: Ready) -> None:
        """The side reads again, and has drained its socket."""

    def want_room(self, side: Ready) -> None:
        """Also report when the socket is writable."""

    def has_room(self, side: Ready) -> None:
        """The side has written all its bytes."""

    def again(self, side: Ready) -> None:
        """The side has not drained its socket: let it read on after the others."""

    def watch_end(self, side: Ready) -> None:
        """Report only the end or the loss of the connection. Without C{tells_all}, also that the socket is readable."""

    def release(self, side: Ready) -> None:
        """Undo L{watch_end}: the socket may be watched again."""


class ReactorPoller:
    """Waits with the reactor itself, on systems without epoll."""

    tells_all = False

    def __init__(self, reactor: IReactor) -> None:
        descriptors: Any = reactor  # a L{Ready} does not declare the interfaces that the methods ask for
        self.watch = self.resume = self.watch_end = descriptors.addReader
        self.pause = self.release = descriptors.removeReader
        self.want_room, self.has_room = descriptors.addWriter, descriptors.removeWriter

    def unwatch(self, side: Ready) -> None:
        """See L{Poller}."""
        self.pause(side)
        self.has_room(side)

    def again(self, side: Ready) -> None:
        """The reactor is level-triggered and reports again by itself."""


@implementer(IReadDescriptor)
class EdgePoller:
    """One epoll set for all relays of a reactor.

    It is open while it has sockets, or between L{keep_open} and L{allow_close}. The proxy keeps it open, so that it is
    opened only once.
    """

    tells_all = True

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._set: Any = None
        self._sides: dict[int, Ready] = {}
        self._roomy: set[int] = set()  # registered for EPOLLOUT
        self._again: dict[Ready, None] = {}
        self._holds = 0
        self._looking = False
        self._round_scheduled = False

    def keep_open(self) -> None:
        """Keep the set open. @raise OSError: out of descriptors."""
        self._holds += 1
        self._open()

    def allow_close(self) -> None:
        """The counterpart of L{keep_open}."""
        self._holds -= 1
        self._close_if_idle()

    # Called by relays

    def watch(self, side: Ready) -> None:
        """See L{Poller}. @raise OSError: the system cannot watch another socket."""
        self._open()
        self._set.register(side.fd, _READING)
        self._sides[side.fd] = side

    def unwatch(self, side: Ready) -> None:
        """See L{Poller}. Closing the socket removes it from the set; events until then are dropped."""
        if self._sides.get(side.fd) is side:
            del self._sides[side.fd]
            self._roomy.discard(side.fd)
            self._again.pop(side, None)
            if not self._sides:
                self._close_if_idle()

    def pause(self, side: Ready) -> None:
        """See L{Poller}. Events such as a reset are still reported."""

    def resume(self, side: Ready) -> None:
        """See L{Poller}."""

    def want_room(self, side: Ready) -> None:
        """See L{Poller}. The registration stays: a socket that was full is likely to be full again."""
        if side.fd not in self._roomy and self._sides.get(side.fd) is side:
            self._roomy.add(side.fd)
            self._set.modify(side.fd, _READING | OUT)

    def has_room(self, side: Ready) -> None:
        """See L{Poller}."""

    def again(self, side: Ready) -> None:
        """See L{Poller}."""
        self._again[side] = None
        if not self._looking:
            self._schedule_round()

    def watch_end(self, side: Ready) -> None:
        """See L{Poller}. @raise OSError: the system cannot watch another socket."""
        self._open()
        try:
            self._set.register(side.fd, _ENDING)
        except OSError:
            self._close_if_idle()
            raise
        self._sides[side.fd] = side

    def release(self, side: Ready) -> None:
        """See L{Poller}."""
        if self._sides.get(side.fd) is side:
            self._set.unregister(side.fd)
            self.unwatch(side)

    # Called by the reactor

    def fileno(self) -> int:
        return -1 if self._set is None else int(self._set.fileno())

    def logPrefix(self) -> str:
        return "relays"

    def doRead(self) -> None:
        self._looking = True
        try:
            for _ in range(ROUNDS):
                if self._set is None:
                    return
                self._serve(self._set.poll(0, BATCH))
                if not self._again:  # the reactor reports further events
                    return
        finally:
            self._looking = False
        self._schedule_round()  # the set does not report these sides again

    def connectionLost(self, reason: Failure) -> None:
        for side in list(self._sides.values()):
            side.connectionLost(reason)

    def _serve(self, events: list[tuple[int, int]]) -> bool:
        """Serve ready sides, then those that continue reading. @return: only messages were passed on."""
        sides, only_messages = self._sides, True
        for fd, what in events:
            side = sides.get(fd)
            if side is None:
                only_messages = False
                continue
            try:
                if not side.ready(what):
                    only_messages = False
            except Exception:
                only_messages = False
                failed(side.connectionLost)
        if not self._again:
            return only_messages
        again, self._again = self._again, {}
        for side in again:
            if sides.get(side.fd) is side:
                try:
                    side.doRead()
                except Exception:
                    failed(side.connectionLost)
        return False

    def _schedule_round(self) -> None:
        """Schedule one more round of the set in the reactor's next round. Repeated calls share it."""
        if not self._round_scheduled:
            self._round_scheduled = True
            self._reactor.callLater(0, self._run_round)

    def _run_round(self) -> None:
        self._round_scheduled = False
        self.doRead()

    def _open(self) -> None:
        if self._set is None:
            self._set = select.epoll()
            self._add_to_reactor()

    def _close_if_idle(self) -> None:
        if self._set is not None and not self._holds and not self._sides:
            self._remove_from_reactor()
            self._set.close()
            self._set = None

    def _add_to_reactor(self) -> None:
        """Called when the set is opened: make the reactor wait for it."""
        self._reactor.addReader(self)

    def _remove_from_reactor(self) -> None:
        """Called when the set closes: stop waiting for it."""
        self._reactor.removeReader(self)


def failed(lost: Callable[[Failure], object]) -> None:
    """Log the current exception and end the side. @param lost: ends the side."""
    log.failure("internal error in a relay")
    try:
        lost(Failure())
    except Exception:  # other relays must continue
        log.failure("internal error while ending a failed relay")


edge_poller_of = PerReactor(EdgePoller)
"""The epoll set of a reactor."""


def poller_of(reactor: IReactor) -> Poller:
    """The best poller for a reactor on this system."""
    return edge_poller_of(reactor) if available else ReactorPoller(reactor)


def keep_open(reactor: IReactor) -> None:
    """Keep a reactor's epoll set open, if it has one, so that it is not opened for each relay.

    @raise OSError: no descriptor is left.
    """
    if available:
        edge_poller_of(reactor).keep_open()


def allow_close(reactor: IReactor) -> None:
    """The counterpart of L{keep_open}."""
    if available:
        edge_poller_of(reactor).allow_close()
