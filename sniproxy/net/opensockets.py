"""Counts the open sockets of a dial and selects the one that is closed to make room for another."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from twisted.python.failure import Failure

from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.net.overlapping import MIN_ATTEMPT_S
from sniproxy.util.reactor import IReactor

MAX_SOCKETS = 20
"""Maximum open sockets of one dial. Attempts start at least 0.05 s apart, so each has a second before the limit
applies."""

T = TypeVar("T")

Connected = Callable[[socket.socket], None]
Failed = Callable[[int], None]
"""Called with the errno."""


class DialSockets:
    """The sockets of one dial. @param holds: called with the change in the number of sockets beyond the first."""

    def __init__(self, holds: Callable[[int], None]) -> None:
        self.count = 0
        self._holds = holds

    def change(self, by: int) -> None:
        """Add a socket (1) or remove one (-1)."""
        if max(self.count, self.count + by) > 1:
            self._holds(by)
        self.count += by


class AttemptSockets(Generic[T]):
    """The sockets of one target, oldest first."""

    def __init__(self, dial: DialSockets) -> None:
        self._dial = dial
        self._since: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, one: T) -> bool:
        return one in self._since

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._since))

    def add(self, one: T, now: float) -> None:
        """Add a socket."""
        self._since[one] = now
        self._dial.change(1)

    def discard(self, one: T) -> None:
        """Remove a socket that is connected or closed."""
        if self._since.pop(one, None) is not None:
            self._dial.change(-1)

    @property
    def full(self) -> bool:
        """Whether the dial has L{MAX_SOCKETS}, at least one of them for this target."""
        return self._dial.count >= MAX_SOCKETS and bool(self._since)

    def oldest(self, now: float) -> T | None:
        """The oldest socket if its L{MIN_ATTEMPT_S} have passed."""
        return next((one for one, since in self._since.items() if now - since >= MIN_ATTEMPT_S), None)


class Connecting(SocketDescriptor):
    """A socket that is connecting."""

    __slots__ = ("_closer", "_connected", "_failed", "_reactor", "address")

    def __init__(
        self,
        reactor: IReactor,
        closer: LingeringCloser,
        sock: socket.socket,
        connected: Connected,
        failed: Failed,
        address: str,
    ) -> None:
        super().__init__(sock)
        self.address = address
        self._reactor = reactor
        self._closer = closer
        self._connected = connected
        self._failed = failed

    def begin(self, number: int) -> None:
        """@param number: an errno, as C{connect_ex} returns it."""
        if number in (errno.EINPROGRESS, errno.EALREADY):
            self._reactor.addWriter(self)
        else:
            self._settle(number)

    def doWrite(self) -> None:
        self._reactor.removeWriter(self)
        self._settle(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def connectionLost(self, reason: Failure) -> None:
        self.doWrite()

    def give_up(self) -> None:
        self._reactor.removeWriter(self)
        self._closer.close(self.sock)

    def _settle(self, number: int) -> None:
        if number:
            self._closer.close(self.sock)
            self._failed(number)
        else:
            self._connected(self.sock)
