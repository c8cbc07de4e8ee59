"""A connected UDP socket for the queries of one lookup to one name server.

Twisted's UDP port would log two lines for each socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.util.reactor import IReactor

MAX_DATAGRAM_BYTES = 65535
"""The largest datagram."""

BATCH = 16
"""Datagrams read in one call of C{doRead}, so that other sockets get their turn."""


@implementer(IReadDescriptor)
class DatagramSocket:
    """The kernel chooses the local port, and drops datagrams from other addresses than the server's.

    @param received: called with each datagram.
    @param failed: called once with an error that the kernel reports, for example after an ICMP message. Both callbacks
        may close the socket.
    @raise OSError: no descriptor is free, or there is no route to the server.
    """

    def __init__(
        self,
        reactor: IReactor,
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
        """Send one datagram. @raise OSError: there is no route to the server, or it refused the previous datagram."""
        self._sock.send(data)

    def close(self) -> None:
        """Close the socket. Further calls do nothing."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._sock.close()

    def fileno(self) -> int:
        # The reactor calls this once more after the close, when the socket has no number any more.
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
        """The kernel reports an error, for example after an ICMP message, or the reactor stops."""
        if self._open:
            number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._failed(OSError(number, os.strerror(number) if number else "the socket was closed"))
