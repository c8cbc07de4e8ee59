"""Base class for plain sockets that are registered with Twisted's reactor."""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

log = Logger()

WAIT = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


@implementer(IReadWriteDescriptor)
class SocketDescriptor:
    """Answers the reactor's questions about a socket and keeps its descriptor number.

    A closed socket has no number any more, but the reactor may ask for it once after the close.
    """

    __slots__ = ("__weakref__", "fd", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()

    def fileno(self) -> int:
        return self.fd

    def logPrefix(self) -> str:
        return type(self).__name__

    def doRead(self) -> None:
        raise AssertionError("nothing is read here")

    def doWrite(self) -> None:
        raise AssertionError("nothing is written here")

    def connectionLost(self, reason: Failure) -> None:
        """The kernel reports a hang-up, or the reactor stops."""


class Losable(Protocol):
    """Something that has to do with one connection."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is lost."""


def end_failed(descriptor: Losable) -> None:
    """Log the current exception, and end the connection that caused it, because others must continue."""
    log.failure("internal error in a relay")
    try:
        descriptor.connectionLost(Failure())
    except Exception:
        log.failure("internal error while ending a failed relay")


def pending_error(sock: socket.socket) -> OSError:
    """The reason for a hang-up: the socket's pending error, or a reset if there is none."""
    try:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        return error
    number = number or errno.ECONNRESET
    return OSError(number, os.strerror(number))


def how_broken(name: str, error: OSError) -> str:
    """Describe a broken connection. @param name: the peer. @param error: its socket's error."""
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return f"the {name}'s connection was reset"
    return f"the {name}'s connection was lost: {error.strerror or os.strerror(error.errno or errno.EIO)}"
