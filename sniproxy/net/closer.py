"""Closes sockets so that the last bytes reach the peer.

If unread bytes are in a socket, Linux answers its close with a reset, which can overtake an alert or data sent before.
The closer therefore sends the last bytes, ends its side, reads and discards for a short time, and then closes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor
from sniproxy.net.sockopts import reset_on_close
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

LINGER_TIMEOUT_S = 1.0
"""Seconds for which bytes are read and discarded, rounded up to a tick of the timer wheel."""

MAX_LINGER_BYTES = 524_288
"""Maximum bytes read and discarded: more than twice the largest hello that the proxy accepts.

That hello has 131,400 bytes, or 213,320 with the headers of 16,384 records (L{sniproxy.tls.clienthello}). A client that
sends a longer hello at once still receives the alert instead of a reset. Until it is closed, each socket counts in the
limit of open files.
"""

READ_BYTES = 65_536
"""Maximum bytes of one read. The reactor serves other sockets between two reads."""


class LingeringCloser:
    """Closes sockets and counts those that are still open.

    A socket is closed after the reactor's current round. Otherwise a new socket could get its descriptor number at
    once, and events of the old socket that are pending in the same round would go to the new one.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._done_with: list[socket.socket] = []
        self._open: set[_Dropper] = set()
        self._waiting: list[Deferred[None]] = []
        self._now = False

    def __call__(self, sock: socket.socket, last_words: bytes = b"") -> None:
        """Take over a connected socket and close it in order, in little more than a second.

        @param last_words: sent first, as far as the socket accepts them without waiting.
        """
        try:
            if last_words:
                sock.send(last_words)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone
            self.abort(sock)
            return
        if self._now:
            self.close(sock)
            return
        dropper = _Dropper(self._reactor, sock, self._dropped)
        self._open.add(dropper)
        dropper.start()

    def __len__(self) -> int:
        """The number of sockets that are not closed yet."""
        return len(self._open) + len(self._done_with)

    def close(self, sock: socket.socket) -> None:
        """Take over a socket that is no longer registered with the reactor, and close it after this round."""
        if not self._done_with:
            self._reactor.callLater(0, self._close_all)
        self._done_with.append(sock)

    def abort(self, sock: socket.socket) -> None:
        """As L{close}, but with a reset (RST): unsent data is dropped."""
        reset_on_close(sock)
        self.close(sock)

    def close_now(self) -> None:
        """Close the sockets without waiting for their peers, and those that are handed over later, too."""
        self._now = True
        for dropper in list(self._open):
            dropper.close()

    def settled(self) -> Deferred[None]:
        """Fires when all sockets handed over so far are closed, in little more than a second."""
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
    """Reads and discards until the peer ends its side, or the limit of time or bytes is reached."""

    __slots__ = ("_dropped", "_left", "_reactor", "_timer")

    def __init__(self, reactor: IReactor, sock: socket.socket, dropped: Callable[[_Dropper], None]) -> None:
        super().__init__(sock)
        self._dropped = dropped
        self._left = MAX_LINGER_BYTES
        self._reactor = reactor
        self._timer: Deadline | None = timer_wheel_of(reactor).after(LINGER_TIMEOUT_S, self._time_is_up)

    def start(self) -> None:
        """Begin to read. A socket that the system cannot watch is closed at once."""
        try:
            self._reactor.addReader(self)
            if self._waits():
                self._reactor.addWriter(self)
        except OSError:  # epoll_ctl(2): no memory, or too many are watched
            self.close()
            return
        self.doRead()  # the peer's end has often arrived

    def doRead(self) -> None:
        try:
            count = len(self.sock.recv(min(self._left, READ_BYTES)))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._left -= count
        if count and self._left <= 0:
            # Linux resets for unread bytes; if none has arrived yet, only this option does.
            reset_on_close(self.sock)
        if not count or self._left <= 0:  # TLS's last record may exceed the limit
            if self._waits():
                self._reactor.removeReader(self)
            else:
                self.close()

    def doWrite(self) -> None:
        """Send TLS's pending records, then end the connection."""
        try:
            self.sock.send(b"")
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        # The peer may have ended its side earlier. A descriptor that is watched needs no more room in the system.
        self._reactor.addReader(self)
        self._reactor.removeWriter(self)

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
