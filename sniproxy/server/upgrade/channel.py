"""Carries messages and descriptors between the two processes of an upgrade, by a socket pair (unix(7)).

A packet and its descriptors arrive together or not at all. The socket has no name, so no other process can connect.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.python.failure import Failure

from sniproxy.net.descriptor import WAIT, SocketDescriptor
from sniproxy.server.upgrade.messages import MAX_PACKET_BYTES, BadMessage, Message, decode, encode
from sniproxy.util.reactor import IReactor

BATCH = 32
"""Messages read before the reactor serves other sockets."""

ENDED = "the other process has ended"
"""The reason of L{Channel} when the other end was closed."""

MAX_DESCRIPTORS = 2
"""Descriptors of one message."""

_DESCRIPTORS_BYTES = socket.CMSG_LEN(MAX_DESCRIPTORS * array("i").itemsize)


def nothing() -> None:
    """Nothing has to be done when a message is sent."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel. Neither is inherited by programs that this process starts."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def receive(sock: socket.socket) -> tuple[Message | None, list[int]]:
    """Read one message. @return: None: the other process has closed its end. Behind it, its descriptors.

    @raise OSError: as recvmsg(2). @raise BadMessage: it cannot be read.
    """
    # socket.recv_fds of Python 3.11 does not pass its flags on.
    packet, more, flags, _ = sock.recvmsg(MAX_PACKET_BYTES, _DESCRIPTORS_BYTES, socket.MSG_CMSG_CLOEXEC)
    numbers = array("i")
    for _, _, data in more:
        numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    descriptors = numbers.tolist()
    try:
        if flags & socket.MSG_TRUNC:
            raise BadMessage("a message is too long")
        return (decode(packet) if packet else None), descriptors
    except BadMessage:
        close_all(descriptors)
        raise


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


class Channel(SocketDescriptor):
    """One end, in a reactor.

    @param received: called with each message and its descriptors, which it owns. There are fewer descriptors than the
        message has if this process may open no more.
    @param lost: called once, with the reason, when no more messages come.
    """

    __slots__ = ("_ended_reading", "_finishing", "_lost", "_reactor", "_received", "_waiting", "_writing")

    def __init__(
        self,
        reactor: IReactor,
        sock: socket.socket,
        received: Callable[[Message, list[int]], None],
        lost: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        super().__init__(sock)
        self._reactor = reactor
        self._received = received
        self._lost: Callable[[str], None] | None = lost
        self._ended_reading = self._finishing = False
        self._waiting: deque[tuple[bytes, Sequence[int], Callable[[], None]]] = deque()
        self._writing = False
        reactor.addReader(self)

    def send(self, message: Message, *descriptors: int, sent: Callable[[], None] = nothing) -> None:
        """Send a message, now or when there is room.

        @param descriptors: stay open until the other process has answered.
        @param sent: called when the system has the message. Not called if the other end is closed.
        """
        if self._lost is None:
            return
        self._waiting.append((encode(message), descriptors, sent))
        if not self._writing:
            self.doWrite()

    def end_reading(self) -> None:
        """Handle the messages that have arrived. From now on the other process cannot send, and its end is not seen."""
        if self._lost is not None:
            self._ended_reading = True
            self._reactor.removeReader(self)
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RD)
            while self._read():
                pass

    def finish(self, message: Message) -> None:
        """Send a last message, and close this end when the system has it."""
        self._finishing = True
        self.send(message, sent=self.close)

    def close(self) -> None:
        """Close this end. Messages that wait are dropped."""
        if self._lost is not None:
            self._lost = None
            self._writing = False
            self._waiting.clear()
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self.sock.close()

    def doWrite(self) -> None:
        while self._waiting:
            packet, descriptors, sent = self._waiting[0]
            try:
                if descriptors:
                    socket.send_fds(self.sock, [packet], descriptors)
                else:
                    self.sock.send(packet)
            except OSError as error:
                if error.errno not in WAIT:  # it is gone; reading finds out what it has sent before
                    self._waiting.clear()
                    if self._finishing:
                        self.close()
                    break
                if not self._writing:
                    self._writing = True
                    self._reactor.addWriter(self)
                return
            self._waiting.popleft()
            sent()
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def doRead(self) -> None:
        for _ in range(BATCH):
            if not self._read():
                return

    def connectionLost(self, reason: Failure) -> None:
        """The other end is closed, or the reactor stops. Messages that have arrived are still read."""
        while self._read():
            pass
        self._end(ENDED)

    def _read(self) -> bool:
        """Read one message. @return: False: there is none."""
        if self._lost is None:
            return False
        try:
            message, descriptors = receive(self.sock)
        except OSError as error:
            if error.errno == errno.ECONNRESET:  # it has ended, with unread messages; its own can still be read
                return True
            if error.errno not in WAIT:
                self._end(f"cannot read from the other process: {error.strerror}")
            return False
        except BadMessage as error:
            self._end(str(error))
            return False
        if message is None:
            if not self._ended_reading:  # after that, it says only that no messages are left
                self._end(ENDED)
            return False
        self._received(message, descriptors)
        return True

    def _end(self, why: str) -> None:
        lost = self._lost
        self.close()
        if lost is not None:
            lost(why)
