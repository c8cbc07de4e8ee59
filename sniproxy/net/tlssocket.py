"""A socket with TLS for relays: it sends and receives plaintext."""

from __future__ import annotations

import errno
import socket
from typing import Any

from OpenSSL import SSL

from sniproxy.tls.contexts import openssl_reasons

_READ_BYTES = 65_536
_MAX_UNREAD_BYTES = 262_144
"""Maximum bytes of TLS's own replies buffered for a peer that does not read."""


class TLSSocket(socket.socket):
    """Takes over a connected, non-blocking socket. Do not use the original socket afterwards.

    @param tls: a connection without a socket, in connect or accept state.
    @param received: bytes from the peer that TLS has not processed.
    @ivar over: the peer has ended its side, and all its bytes were received.
    @ivar cut: it ended without TLS's close_notify, so data may be missing.
    """

    def __init__(self, sock: socket.socket, tls: SSL.Connection, received: bytes = b"") -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.setblocking(False)
        self.tls = tls
        self.over = False
        self.cut = False
        self._out = bytearray()
        self._ends: int | None = None  # how to shut the socket down once that is sent
        self._unread = True  # TLS may hold data that followed the handshake
        if received:
            tls.bio_write(received)

    @property
    def waiting(self) -> int:
        """Bytes accepted by L{send} that wait for room in the socket. An empty send retries."""
        return len(self._out)

    def do_handshake(self) -> bool:
        """Advance the handshake with the bytes received so far.

        @return: the handshake is complete on this side.
        @raise OSError: it failed. An alert tells the peer, unless the peer failed first.
        """
        done = True
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            done = False
        except SSL.Error as error:
            self._collect()
            raise OSError(errno.EPROTO, openssl_reasons(error)) from error
        self._collect()
        return done

    def feed(self) -> int:
        """Read once from the socket for the handshake. @return: bytes; 0: the peer ended its side. @raise OSError: its
        error."""
        data = super().recv(_READ_BYTES)
        if data:
            self.tls.bio_write(data)
        return len(data)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """The plaintext of one read from the socket: at most `size` bytes plus one record (2^14).

        @return: empty: the peer has ended its side.
        @raise BlockingIOError: no complete record has arrived. @raise OSError: an error of the socket, or of TLS
            (EPROTO).
        """
        if self._unread:
            self._unread = False
            data = self._plaintext()
            if data or self.over:
                return data
        if self.over:
            return b""
        while True:
            came = super().recv(size)
            if not came:
                self.over = self.cut = True
                return b""
            self.tls.bio_write(came)
            data = self._plaintext()
            if len(self._out) > _MAX_UNREAD_BYTES:
                raise OSError(errno.ENOBUFS, "it makes TLS send replies and does not read them")
            if data or self.over:
                return data
            if len(came) < size:  # an edge-triggered reader must drain the socket
                raise BlockingIOError(errno.EAGAIN, "no whole record")

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Encrypt and send. What the socket does not accept is buffered (L{waiting}); until it is sent, no more is
        accepted.

        @return: the bytes accepted: all. @raise BlockingIOError: none.
        """
        self._push()
        if self._out:
            raise BlockingIOError(errno.EAGAIN, "no room")
        if len(data):
            try:
                self.tls.sendall(data)  # send takes one record
            except SSL.Error as error:
                raise OSError(errno.EPIPE, openssl_reasons(error)) from error
            self._take()
            try:
                self._push()
            except BlockingIOError:
                pass
        return len(data)

    def shutdown(self, how: int, /) -> None:
        """As a socket's. Ending this side sends TLS's close_notify first (RFC 8446, section 6.1).

        While bytes are buffered, both follow with the send that drains the buffer.
        """
        if how != socket.SHUT_RD:
            try:
                self.tls.shutdown()
            except SSL.Error:  # the handshake is incomplete
                pass
            self._collect()
        if self._out:
            self._ends = how
        else:
            super().shutdown(how)

    def end_cut(self) -> None:
        """End this side without close_notify, to pass on a cut of the other side's connection."""
        super().shutdown(socket.SHUT_WR)

    def _plaintext(self) -> bytes:
        pieces = []
        try:
            while True:
                pieces.append(self.tls.recv(_READ_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.over = True
        except SSL.Error as error:
            self._collect()
            raise OSError(errno.EPROTO, openssl_reasons(error)) from error
        self._collect()
        return b"".join(pieces)

    def _collect(self) -> None:
        """Send TLS's own records as far as possible. The next call reports a broken socket."""
        self._take()
        try:
            self._push()
        except OSError:
            pass

    def _take(self) -> None:
        try:
            while True:
                self._out += self.tls.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            pass

    def _push(self) -> None:
        """@raise OSError: the socket's error, including BlockingIOError."""
        if self._out:
            count = super().send(self._out)
            del self._out[:count]
            if not self._out and self._ends is not None:
                super().shutdown(self._ends)
