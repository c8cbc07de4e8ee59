"""A socket whose peer speaks TLS, for relays: what is sent and received here is the plaintext."""

from __future__ import annotations

import errno
import socket
from typing import Any

from OpenSSL import SSL

from sniproxy.tls.contexts import openssl_reasons

_READ_BYTES = 65_536
_MAX_UNREAD_BYTES = 262_144
"""Bytes of TLS's own answers that wait for a peer that does not read."""


class TLSSocket(socket.socket):
    """Takes a connected, non-blocking socket over; the one it was made of must not be used any more.

    @param tls: a connection without a socket of its own, in connect or accept state.
    @param received: what came from the peer before, and TLS has not seen.
    @ivar over: the peer has ended its side, and all that it sent was received.
    @ivar cut: it ended without TLS's close_notify: what it meant to send may be longer.
    """

    def __init__(self, sock: socket.socket, tls: SSL.Connection, received: bytes = b"") -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.setblocking(False)
        self.tls = tls
        self.over = False
        self.cut = False
        self._out = bytearray()
        self._ends: int | None = None  # how the socket is shut down once all of that has gone
        self._unread = True  # TLS may hold what came together with the end of the handshake
        if received:
            tls.bio_write(received)

    @property
    def waiting(self) -> int:
        """Bytes that were taken by L{send} and wait for room in the socket; an empty send tries again."""
        return len(self._out)

    def shake(self) -> bool:
        """Go on with the handshake, as far as what has come allows.

        @return: it is complete on our side.
        @raise OSError: it has failed. A peer that has not failed itself is told by TLS's alert.
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
        """Read once from the socket for the handshake. @return: bytes; 0: the peer has ended. @raise OSError."""
        data = super().recv(_READ_BYTES)
        if data:
            self.tls.bio_write(data)
        return len(data)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """All plaintext of one read from the socket: at most so many bytes and one record (2^14).

        @return: empty: the peer has ended its side.
        @raise BlockingIOError: no whole record is there. @raise OSError: the socket's error, or TLS's (EPROTO).
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
            if len(came) < size:  # who waits for an edge of the socket must have read all
                raise BlockingIOError(errno.EAGAIN, "no whole record")

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Encrypt and send. What the socket has no room for waits here (L{waiting}), and nothing more is taken then.

        @return: how many bytes were taken: all. @raise BlockingIOError: none.
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
        """As a socket's; an end of our side begins with TLS's close_notify (RFC 8446, section 6.1).

        While bytes wait, it comes behind them: with the send that has room for the last one.
        """
        if how != socket.SHUT_RD:
            try:
                self.tls.shutdown()
            except SSL.Error:  # in a handshake there is nothing to end
                pass
            self._collect()
        if self._out:
            self._ends = how
        else:
            super().shutdown(how)

    def end_cut(self) -> None:
        """End our side without close_notify, as somebody did whose bytes these were: a cut must stay visible."""
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
        """Take what TLS has to say of its own, and send it as far as it goes; a broken socket will say so itself."""
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
        """@raise OSError: the socket's, BlockingIOError too."""
        if self._out:
            count = super().send(self._out)
            del self._out[:count]
            if not self._out and self._ends is not None:
                super().shutdown(self._ends)
