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
from sniproxy.net.sockopts import reset_on_close
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

LINGER_TIMEOUT_S = 1.0
"""How long bytes are read and dropped, to the wheel's next tick (L{sniproxy.util.timerwheel})."""

MAX_LINGER_BYTES = 524_288
"""How many bytes are read and dropped: more than twice the largest hello that the proxy takes.

That is 131,400 bytes in 16,384 records, 213,320 bytes with their headers (L{sniproxy.tls.clienthello}). So a client
that sends a longer hello at once sees the alert, not a reset. Each socket is closed after L{LINGER_TIMEOUT_S}, and
until then counts in the limit of open files.
"""

READ_BYTES = 65_536
"""Bytes of one read; between two reads the reactor serves others."""


class LingeringCloser:
    """Closes sockets, and knows which are not closed yet.

    No socket is closed in the round of the reactor in which it was used last. Its number could be given to a new socket
    at once, and events of the old one that still wait in the same round would be taken for the new one's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._done_with: list[socket.socket] = []
        self._open: set[_Dropper] = set()
        self._waiting: list[Deferred[None]] = []

    def __call__(self, sock: socket.socket, last_words: bytes = b"") -> None:
        """Take a connected socket over and close it in order, within little more than a second.

        @param last_words: sent first, as far as the socket takes them at once.
        """
        try:
            if last_words:
                sock.send(last_words)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has gone: nobody is left to be told
            self.abort(sock)
            return
        dropper = _Dropper(self._reactor, sock, self._dropped)
        self._open.add(dropper)
        dropper.doRead()  # often the end is there already

    def __len__(self) -> int:
        """How many sockets are not closed yet."""
        return len(self._open) + len(self._done_with)

    def close(self, sock: socket.socket) -> None:
        """Take a socket over, which nothing in the reactor knows any more, and close it when the round is over."""
        if not self._done_with:
            self._reactor.callLater(0, self._close_all)
        self._done_with.append(sock)

    def abort(self, sock: socket.socket) -> None:
        """As L{close}, with a reset (RST): what waits to be sent is dropped."""
        reset_on_close(sock)
        self.close(sock)

    def close_now(self) -> None:
        """Do not wait for peers any longer."""
        for dropper in list(self._open):
            dropper.close()

    def settled(self) -> Deferred[None]:
        """Fires when all that was handed over so far is closed: within little more than a second."""
        settled: Deferred[None] = Deferred()
        if len(self):
            self._waiting.append(settled)
        else:
            settled.callback(None)
        return settled

    def _dropped(self, dropper: _Dropper) -> None:
        self._open.discard(dropper)
        self.close(dropper.sock)

    def _close_all(self) -> None:
        done_with, self._done_with = self._done_with, []
        for sock in done_with:
            sock.close()
        if not len(self):
            waiting, self._waiting = self._waiting, []
            for settled in waiting:
                settled.callback(None)


class _Dropper(SocketDescriptor):
    """Reads and drops until the peer ends, the time is up, or too much has come."""

    __slots__ = ("_dropped", "_left", "_reactor", "_timer")

    def __init__(self, reactor: Any, sock: socket.socket, dropped: Callable[[_Dropper], None]) -> None:
        super().__init__(sock)
        self._dropped = dropped
        self._left = MAX_LINGER_BYTES
        self._reactor = reactor
        self._timer: Deadline | None = timer_wheel_of(reactor).after(LINGER_TIMEOUT_S, self._time_is_up)
        reactor.addReader(self)
        if self._waits():
            reactor.addWriter(self)

    def doRead(self) -> None:
        try:
            count = len(self.sock.recv(min(self._left, READ_BYTES)))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._left -= count
        if count and self._left <= 0:
            # Linux would reset it for the bytes unread, but not where they wait at the kernel relay's program.
            reset_on_close(self.sock)
        if not count or self._left <= 0:  # the last record of TLS may be longer than what was left
            if self._waits():
                self._reactor.removeReader(self)
            else:
                self.close()

    def doWrite(self) -> None:
        """What TLS has encrypted already goes first, then its end."""
        try:
            self.sock.send(b"")
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._reactor.removeWriter(self)
        self._reactor.addReader(self)  # the peer may have ended before

    def _waits(self) -> bool:
        return isinstance(self.sock, TLSSocket) and self.sock.waiting > 0

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._time_is_up()

    def _time_is_up(self) -> None:
        self._timer = None
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._dropped(self)
