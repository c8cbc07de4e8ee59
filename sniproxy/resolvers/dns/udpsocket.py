"""A connected UDP socket for one question to one name server.

Twisted's own UDP ports log two lines for each port that opens and closes; this one logs nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_DATAGRAM_BYTES = 65535
"""Bytes of a datagram."""

BATCH = 16
"""Datagrams that are read before other sockets get their turn."""


@implementer(IReadDescriptor)
class DatagramSocket:
    """The kernel picks the port, and drops datagrams that come from another address than the server's.

    @param received: called with each datagram. @param failed: called once with the error that the kernel reports, as
        for an ICMP message. Either may close the socket.
    @raise OSError: no descriptor is free, or no network leads to the server.
    """

    def __init__(
        self,
        reactor: Any,
        address: str,
        port: int,
        received: Callable[[bytes], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._reactor = reactor
        self._received = received
        self._failed = failed
        self._sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._number = self._sock.fileno()
        self._open = True
        try:
            self._sock.setblocking(False)
            self._sock.connect((address, port))
            reactor.addReader(self)
        except OSError:
            self._sock.close()
            raise

    def send(self, data: bytes) -> None:
        """Send one datagram. @raise OSError: no network leads to the server, or it refused the previous one."""
        self._sock.send(data)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._sock.close()

    def fileno(self) -> int:
        # A closed socket has no number, and the reactor asks once more after the close.
        return self._number

    def logPrefix(self) -> str:
        return "DatagramSocket"

    def doRead(self) -> None:
        for _ in range(BATCH):
            if not self._open:
                return
            try:
                data = self._sock.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            self._received(data)

    def connectionLost(self, reason: Failure) -> None:
        """The kernel reports an error (an ICMP message), or the reactor ends."""
        if self._open:
            number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._failed(OSError(number, os.strerror(number) if number else "the socket is lost"))
