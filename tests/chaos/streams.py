"""One side of a tunnel: non-blocking, with half-close, in clear or through TLS by OpenSSL."""

from __future__ import annotations

import select
import socket
import time
from typing import Protocol

from OpenSSL import SSL

READ_BYTES = 65_536
_MAX_TLS_PIECE = 16_384


class Late(Exception):
    """The time of the tunnel is over."""


class Ended(Exception):
    """The connection was reset, or ended without TLS's close_notify."""


class Stream(Protocol):
    """C{None} from both methods: it would have to wait."""

    sock: socket.socket

    def receive(self, most: int) -> bytes | None:
        """At most so many bytes; C{b""}: the other side has ended its half. @raise Ended: it is lost."""

    def send(self, data: memoryview) -> int | None:
        """Send some of the bytes. @return: how many. @raise Ended: it is lost."""

    def end_half(self) -> bool:
        """End this side's half. @return: False if it would have to wait. @raise Ended: it is lost."""


class PlainStream:
    """A connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)

    def receive(self, most: int) -> bytes | None:
        try:
            return self.sock.recv(most)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Ended(f"{error.strerror}") from error

    def send(self, data: memoryview) -> int | None:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Ended(f"{error.strerror}") from error

    def end_half(self) -> bool:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Ended(f"{error.strerror}") from error
        return True


class TLSStream:
    """A socket with TLS. ``tls``: in connect or accept state, not shaken hands yet."""

    def __init__(self, sock: socket.socket, context: SSL.Context, server_name: str | None) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._tls = SSL.Connection(context, sock)
        self._unsent = b""
        if server_name is None:
            self._tls.set_accept_state()
        else:
            self._tls.set_tlsext_host_name(server_name.encode())
            self._tls.set_connect_state()

    def shake(self, until: float) -> None:
        """Shake hands. @raise Late: it takes too long. @raise Ended: it failed."""
        while True:
            try:
                self._tls.do_handshake()
                return
            except SSL.WantReadError:
                wait(self, True, False, until)
            except SSL.WantWriteError:
                wait(self, False, True, until)
            except SSL.Error as error:
                raise Ended(f"handshake: {error}") from error

    def receive(self, most: int) -> bytes | None:
        try:
            return self._tls.recv(most)
        except SSL.ZeroReturnError:
            return b""
        except (SSL.WantReadError, SSL.WantWriteError):
            return None
        except SSL.Error as error:
            raise Ended(f"TLS: {error}") from error

    def send(self, data: memoryview) -> int | None:
        # Older versions of pyOpenSSL want the same object again after a write that waited.
        piece, self._unsent = self._unsent or bytes(data[:_MAX_TLS_PIECE]), b""
        try:
            return self._tls.send(piece)
        except (SSL.WantReadError, SSL.WantWriteError):
            self._unsent = piece
            return None
        except SSL.Error as error:
            raise Ended(f"TLS: {error}") from error

    def end_half(self) -> bool:
        try:
            self._tls.shutdown()
        except (SSL.WantReadError, SSL.WantWriteError):
            return False
        except SSL.Error as error:
            raise Ended(f"TLS: {error}") from error
        return True


def wait(stream: Stream, reads: bool, writes: bool, until: float, longest_s: float = 60.0) -> None:
    """Wait until the stream is readable or writable, or for some seconds. @raise Late: until this time in vain."""
    left = until - time.monotonic()
    if left <= 0:
        raise Late
    poll = select.poll()
    poll.register(stream.sock, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
    poll.poll(min(left, longest_s) * 1000)


def read_exactly(stream: Stream, count: int, until: float) -> bytes:
    """Read so many bytes. @raise Late: they take too long. @raise Ended: the stream ends before them."""
    came = b""
    while len(came) < count:
        piece = stream.receive(count - len(came))
        if piece is None:
            wait(stream, True, False, until)
        elif piece:
            came += piece
        else:
            raise Ended("ended early")
    return came


def send_all(stream: Stream, data: bytes, until: float) -> None:
    """Send all. @raise Late: it takes too long. @raise Ended: the stream is lost."""
    rest = memoryview(data)
    while rest:
        sent = stream.send(rest)
        if sent is None:
            wait(stream, False, True, until)
        else:
            rest = rest[sent:]
