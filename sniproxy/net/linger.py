"""Closing in order: the last words reach the peer.

A close with unread bytes in the socket makes Linux send a reset, and a reset can overtake the alert or the data sent
before. So: say the last words, end our side, read and drop what still comes for a short while, then close.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.net.tuning import abort

SECONDS = 1.0
"""How long bytes are read and dropped."""

BYTES = 65_536
"""How many bytes are read and dropped."""


class Closer:
    """Closes sockets in order, and knows which are not closed yet."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._open: set[_Dropper] = set()
        self._waiting: list[Deferred[None]] = []

    def __call__(self, sock: socket.socket, last_words: bytes = b"") -> None:
        """Take a connected socket over and close it in order, within a second.

        @param last_words: sent first, as far as the socket takes them at once.
        """
        try:
            if last_words:
                sock.send(last_words)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has gone: nobody is left to be told
            abort(sock)
            return
        dropper = _Dropper(self._reactor, sock, self._closed)
        self._open.add(dropper)
        dropper.doRead()  # often the end is there already

    def close_now(self) -> None:
        """Close what is still open, at once."""
        for dropper in list(self._open):
            dropper.close()

    def settled(self) -> Deferred[None]:
        """Fires when all that was handed over so far is closed: within a second."""
        settled: Deferred[None] = Deferred()
        if self._open:
            self._waiting.append(settled)
        else:
            settled.callback(None)
        return settled

    def _closed(self, dropper: _Dropper) -> None:
        self._open.discard(dropper)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for settled in waiting:
                settled.callback(None)


class _Dropper(SocketDescriptor):
    """Reads and drops until the peer ends, the time is up, or too much has come."""

    __slots__ = ("_closed", "_left", "_reactor", "_timer")

    def __init__(self, reactor: Any, sock: socket.socket, closed: Callable[[_Dropper], None]) -> None:
        super().__init__(sock)
        self._closed = closed
        self._left = BYTES
        self._reactor = reactor
        self._timer = reactor.callLater(SECONDS, self.close)
        reactor.addReader(self)

    def doRead(self) -> None:
        try:
            dropped = len(self.sock.recv(self._left))
        except BlockingIOError:
            return
        except OSError:
            dropped = 0
        self._left -= dropped
        if not dropped or not self._left:
            self.close()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self.sock.fileno() == -1:
            return
        if self._timer.active():
            self._timer.cancel()
        self._reactor.removeReader(self)
        self.sock.close()
        self._closed(self)
