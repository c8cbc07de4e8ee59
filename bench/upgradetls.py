"""TLS connections of the upgrade's load: many in one thread, each with an orderly end of each direction.

Python's own sockets with TLS cannot end one direction. So TLS works on memory here: to end its direction, an end sends
a ``close_notify`` and then a FIN (RFC 8446, 6.1), and continues to receive.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BROKEN = "TLS: "
"""The beginning of the reason of a `Handler.closed` if bytes are missing or wrong."""

_CHUNK_BYTES = 64 * 1024
_HELD_AFTER_BYTES = 100
_MAX_WAIT_S = 0.5


class Loop:
    """An event loop with sockets and timers."""

    def __init__(self) -> None:
        self._events = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def add(self, fd: int, events: int, ready: Callable[[int], None]) -> None:
        """Watch a descriptor. ``ready``: called with its events."""
        self._ready[fd] = ready
        self._events.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        """Watch for other events; 0: only for errors."""
        self._events.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching a descriptor that is about to be closed."""
        del self._ready[fd]
        self._events.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function later. It cannot be cancelled."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), call))

    def run(self, done: Callable[[], bool]) -> None:
        """Run until ``done`` says so after a round."""
        while not done():
            wait = self._timers[0][0] - time.monotonic() if self._timers else _MAX_WAIT_S
            for fd, events in self._events.poll(min(max(wait, 0.0), _MAX_WAIT_S)):
                if (ready := self._ready.get(fd)) is not None:
                    ready(events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Release the descriptor of epoll."""
        self._events.close()


class Handler(Protocol):
    """What a `TlsEnd` calls."""

    def opened(self) -> None:
        """The handshake is complete."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def drained(self) -> None:
        """The kernel takes more, after `TlsEnd.fill`."""

    def peer_ended(self) -> None:
        """The peer has ended its direction with a close_notify."""

    def closed(self, why: str | None) -> None:
        """The connection is closed; the last call. ``why``: None: both directions have ended in order."""


class TlsEnd:
    """One end of a TLS connection. ``server_name``: the SNI of a client's end; None: the server's end.

    ``sock``: non-blocking; a client's may be connecting. ``hold_s``: seconds between the beginning of a client's hello
    and its rest. ``sent`` and ``received``: bytes below TLS; ``port``: a client's own.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        context: ssl.SSLContext,
        handler: Handler,
        server_name: str | None = None,
        hold_s: float = 0.0,
    ) -> None:
        self._loop, self._sock, self._handler = loop, sock, handler
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._slow = 0
        self._connected = server_name is None
        self._open = self._finishing = self._fin_sent = self._peer_ended = self._fin_came = False
        self._hold_s, self._holds = hold_s, False
        self._filling = self._reading = self._finish_later = False
        self.alive = True
        self.sent = self.received = self.port = 0
        self._waiting = bytearray()
        self._watched = select.EPOLLIN | select.EPOLLOUT if server_name is not None else select.EPOLLIN
        loop.add(sock.fileno(), self._watched, self._ready)

    @property
    def queued(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._waiting)

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes, after the handshake and before `finish`."""
        if self.alive:
            self._tls.write(data)
            self._flush()

    def fill(self, on: bool) -> None:
        """Whether to call `Handler.drained` each time the kernel takes more."""
        self._filling = on
        self._watch()

    def finish(self) -> None:
        """End this direction behind the bytes written."""
        if not self.alive or self._finishing:
            return
        if self._reading:  # SSL_shutdown() would find the records that are still to be read, and fail
            self._finish_later = True
        else:
            self._finishing = True
            with suppress(ssl.SSLWantReadError):  # the peer's close_notify, which may come much later
                self._tls.unwrap()
            self._flush()

    def slow_down(self, count: int) -> None:
        """Read nothing but ``count`` bytes at each `read_slowly` from now on; 0: read all that comes."""
        self._slow = count
        self._watch()

    def read_slowly(self) -> None:
        """Read a little of what has come."""
        if self.alive and self._slow:
            self._receive(self._slow)

    def abort(self, why: str) -> None:
        """Close at once."""
        if self.alive:
            self.alive = False
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._handler.closed(why)

    def _ready(self, events: int) -> None:
        if not self._connected:
            if number := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.abort(str(OSError(number, os.strerror(number))))
                return
            self._connected = True
            self.port = self._sock.getsockname()[1]
            self._shake()
        wanted = select.EPOLLERR if self._slow else select.EPOLLERR | select.EPOLLIN | select.EPOLLHUP
        if self.alive and events & wanted:
            self._receive(_CHUNK_BYTES)
        if self.alive and events & select.EPOLLOUT:
            self._flush()
            if self.alive and self._filling and not self._waiting:
                self._handler.drained()

    def _receive(self, most: int) -> None:
        try:
            data = self._sock.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self.abort(str(error))
            return
        if not data:
            if not self._peer_ended:
                self.abort("the connection ended without a close_notify")
                return
            self._fin_came = True
            self._watch()
            self._end_if_both()
            return
        self.received += len(data)
        self._incoming.write(data)
        if not self._open:
            self._shake()
        self._reading = True
        while self._open and self.alive and not self._peer_ended:
            try:
                plain = self._tls.read(_CHUNK_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                plain = b""
            except ssl.SSLError as error:
                self.abort(f"{BROKEN}{error}")
                break
            if plain:
                self._handler.received(plain)
            else:
                self._peer_ended = True
                self._handler.peer_ended()
        self._reading = False
        if self._finish_later:
            self.finish()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self.abort(f"TLS handshake: {error}")
        else:
            self._open = True
            self._flush()
            self._handler.opened()

    def _flush(self) -> None:
        self._waiting += self._outgoing.read()
        while self._waiting and not self._holds:
            count = _CHUNK_BYTES
            if self._hold_s:
                self._loop.later(self._hold_s, self._go_on)
                count, self._hold_s, self._holds = _HELD_AFTER_BYTES, 0.0, True
            try:
                sent = self._sock.send(memoryview(self._waiting)[:count])
            except BlockingIOError:
                break
            except OSError as error:
                self.abort(str(error))
                return
            del self._waiting[:sent]
            self.sent += sent
        if not self._waiting and self._finishing and not self._fin_sent:
            self._fin_sent = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.abort(str(error))
                return
        self._watch()
        self._end_if_both()

    def _go_on(self) -> None:
        """Send the rest of the hello."""
        self._holds = False
        if self.alive:
            self._flush()

    def _watch(self) -> None:
        if self.alive:
            reads = not self._fin_came and not self._slow
            events = (select.EPOLLIN if reads else 0) | (
                select.EPOLLOUT if (self._waiting and not self._holds) or self._filling else 0
            )
            if events != self._watched:
                self._watched = events
                self._loop.modify(self._sock.fileno(), events)

    def _end_if_both(self) -> None:
        if self.alive and self._fin_sent and self._fin_came:
            self.alive = False
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._handler.closed(None)


def connect(port: int) -> socket.socket:
    """A non-blocking socket that connects to a port of 127.0.0.1. Raises `OSError`."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock
