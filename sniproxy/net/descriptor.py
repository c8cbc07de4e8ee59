"""What a plain socket needs to stand in Twisted's reactor."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

WAIT = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


@implementer(IReadWriteDescriptor)
class SocketDescriptor:
    """Base of the readers and writers of this room: it says what the reactor asks, and keeps the socket's number.

    The number is kept because a closed socket has none any more, and the reactor may ask once after the close.
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
        """The kernel says that the socket has hung up, or the reactor is closing down."""


def pending_error(sock: socket.socket) -> OSError:
    """Why a socket has hung up: its pending error; a reset when there is none to be had."""
    try:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        return error
    number = number or errno.ECONNRESET
    return OSError(number, os.strerror(number))


def how_broken(name: str, error: OSError) -> str:
    """What became of a connection, for people. @param name: whose it was. @param error: its error."""
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return f"the {name}'s connection was reset"
    return f"the {name}'s connection was lost: {error.strerror or os.strerror(error.errno or errno.EIO)}"
