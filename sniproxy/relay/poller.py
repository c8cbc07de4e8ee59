"""What tells relays that their sockets are ready.

Twisted's reactor spends more on an event than a relay spends on a small message, and changing what it waits for costs a
system call each time. So where the system has epoll, all sockets of relays are in one epoll set of their own, which to
the reactor, whichever it is, is a single reader (epoll(7): a set is ready when something in it is). A round takes all
that is ready in it, in one tight loop.

The set is edge-triggered: it tells a change once. Whoever is told must read, or write, until the system says that there
is no more, or ask to be told L{EdgePoller.again}.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

log = Logger()

BATCH = 128
"""Events taken from the set with one call."""

ROUNDS = 8
"""Turns of those that have not read to the end before the reactor serves others."""

available = hasattr(select, "epoll")
"""Whether this system has epoll."""

IN: int = getattr(select, "EPOLLIN", 1)
OUT: int = getattr(select, "EPOLLOUT", 4)
BROKEN: int = getattr(select, "EPOLLERR", 8) | getattr(select, "EPOLLHUP", 16)
ENDS: int = BROKEN | getattr(select, "EPOLLRDHUP", 8192)
_READING: int = IN | getattr(select, "EPOLLRDHUP", 8192) | getattr(select, "EPOLLET", 1 << 31)
_ENDING: int = getattr(select, "EPOLLRDHUP", 8192) | getattr(select, "EPOLLET", 1 << 31)


class Ready(Protocol):
    """A socket of a relay, to its poller."""

    fd: int

    def ready(self, events: int) -> bool:
        """Something has changed, in epoll's terms. @return: a message was passed on, and nothing else was done."""

    def doRead(self) -> None:
        """Read on."""

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is closing down, or telling it has failed."""


class Poller(Protocol):
    """How a relay waits for its sockets.

    @ivar tells_all: it tells of ends and resets of a socket that is not read at the moment, too.
    """

    tells_all: bool

    def watch(self, side: Ready) -> None:
        """Tell it of what it can read."""

    def unwatch(self, side: Ready) -> None:
        """Tell it nothing more. Its socket is closed next: it cannot be watched again."""

    def pause(self, side: Ready) -> None:
        """It does not read now."""

    def resume(self, side: Ready) -> None:
        """It has read on, as far as it could."""

    def want_room(self, side: Ready) -> None:
        """Tell it, too, of room for what it writes."""

    def has_room(self, side: Ready) -> None:
        """It has written all that it had."""

    def again(self, side: Ready) -> None:
        """It has not read to the end: let it read on when others have had their turn."""

    def watch_end(self, side: Ready) -> None:
        """Report only the end or the loss of its connection. Without C{tells_all}, also what it can read."""

    def release(self, side: Ready) -> None:
        """Undo L{watch_end}: the socket may be watched again."""


class ReactorPoller:
    """The reactor itself, where there is no epoll."""

    tells_all = False

    def __init__(self, reactor: Any) -> None:
        self.watch = self.resume = self.watch_end = reactor.addReader
        self.pause = self.release = reactor.removeReader
        self.want_room, self.has_room = reactor.addWriter, reactor.removeWriter

    def unwatch(self, side: Ready) -> None:
        """See L{Poller}."""
        self.pause(side)
        self.has_room(side)

    def again(self, side: Ready) -> None:
        """The reactor tells as long as there is something."""


@implementer(IReadDescriptor)
class EdgePoller:
    """One epoll set for all relays of a reactor.

    It is open while something is in it, or somebody holds it (L{hold}): the proxy does, so that it is opened once.
    """

    tells_all = True

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._set: Any = None
        self._sides: dict[int, Ready] = {}
        self._roomy: set[int] = set()  # those that are told of room
        self._again: dict[Ready, None] = {}
        self._holds = 0
        self._looking = False
        self._comes_back = False

    def hold(self) -> None:
        """Keep the set open. @raise OSError: out of descriptors."""
        self._holds += 1
        self._open()

    def let_go(self) -> None:
        """The counterpart of L{hold}."""
        self._holds -= 1
        self._close_if_idle()

    # What relays want

    def watch(self, side: Ready) -> None:
        """See L{Poller}. @raise OSError: the system has no room for it."""
        self._open()
        self._set.register(side.fd, _READING)
        self._sides[side.fd] = side

    def unwatch(self, side: Ready) -> None:
        """See L{Poller}. The close takes the socket out of the set; until then nobody is told of its events."""
        if self._sides.get(side.fd) is side:
            del self._sides[side.fd]
            self._roomy.discard(side.fd)
            self._again.pop(side, None)
            if not self._sides:
                self._close_if_idle()

    def pause(self, side: Ready) -> None:
        """See L{Poller}. What is told meanwhile, a reset for one, is to be heard."""

    def resume(self, side: Ready) -> None:
        """See L{Poller}."""

    def want_room(self, side: Ready) -> None:
        """See L{Poller}. It is told from now on: a socket that was full once will be again."""
        if side.fd not in self._roomy and self._sides.get(side.fd) is side:
            self._roomy.add(side.fd)
            self._set.modify(side.fd, _READING | OUT)

    def has_room(self, side: Ready) -> None:
        """See L{Poller}."""

    def again(self, side: Ready) -> None:
        """See L{Poller}."""
        self._again[side] = None
        if not self._looking:
            self._come_back()

    def watch_end(self, side: Ready) -> None:
        """See L{Poller}. @raise OSError: the system has no room for it."""
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

    # What the reactor wants

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
                if not self._again:  # the reactor says when there is more
                    return
        finally:
            self._looking = False
        self._come_back()  # the set itself will not say so

    def connectionLost(self, reason: Failure) -> None:
        for side in list(self._sides.values()):
            side.connectionLost(reason)

    def _serve(self, events: list[tuple[int, int]]) -> bool:
        """Tell those that are ready, then those that read on. @return: all that was done is messages passed on."""
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

    def _come_back(self) -> None:
        """One look more, in the reactor's next round: however many ask for it, they share it."""
        if not self._comes_back:
            self._comes_back = True
            self._reactor.callLater(0, self._look_again)

    def _look_again(self) -> None:
        self._comes_back = False
        self.doRead()

    def _open(self) -> None:
        if self._set is None:
            self._set = select.epoll()
            self._enter()

    def _close_if_idle(self) -> None:
        if self._set is not None and not self._holds and not self._sides:
            self._leave()
            self._set.close()
            self._set = None

    def _enter(self) -> None:
        """The set is open: have the reactor wait for it."""
        self._reactor.addReader(self)

    def _leave(self) -> None:
        """It closes."""
        self._reactor.removeReader(self)


def failed(lost: Callable[[Failure], object]) -> None:
    """Where an exception of a side is handled: it is logged, and the side is ended. @param lost: ends it."""
    log.failure("internal error in a relay")
    try:
        lost(Failure())
    except Exception:  # the others must not pay for it
        log.failure("internal error while ending a failed relay")


_pollers: WeakKeyDictionary[Any, EdgePoller] = WeakKeyDictionary()


def edge_poller_of(reactor: Any) -> EdgePoller:
    """The one set of a reactor."""
    poller = _pollers.get(reactor)
    if poller is None:
        poller = _pollers[reactor] = EdgePoller(reactor)
    return poller


def set_edge_poller(reactor: Any, poller: EdgePoller) -> None:
    """This is the one set of a reactor, which has made it itself."""
    _pollers[reactor] = poller


def poller_of(reactor: Any) -> Poller:
    """The best way of a reactor to wait for relays' sockets on this system."""
    return edge_poller_of(reactor) if available else ReactorPoller(reactor)


def hold(reactor: Any) -> None:
    """Keep a reactor's set open, where there is one: who will have relays saves opening it for each.

    @raise OSError: out of descriptors.
    """
    if available:
        edge_poller_of(reactor).hold()


def let_go(reactor: Any) -> None:
    """The counterpart of L{hold}."""
    if available:
        edge_poller_of(reactor).let_go()
