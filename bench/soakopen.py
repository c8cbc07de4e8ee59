"""Thousands of tunnels of the soak test that stay open: each sends a byte now and then, and gets it back.

They have a backend of their own. When it is killed, all of them are cut and opened again.
"""

from __future__ import annotations

import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

from attrs import define

from bench.soakload import TIMEOUT_S, Tunnel
from bench.targets import serve

PAUSE = 10.0
"""Seconds between two bytes of a tunnel. 2,000 tunnels send 200 bytes a second, which is little load."""

_TICK = 0.1
_MAX_OPENED_PER_TICK = 20
"""Tunnels that are opened in a tick, at most, so that reopening after a kill does not starve other tunnels."""


class Killed(Protocol):
    """A backend that may be killed. ``generation``: odd from before a kill until another process runs."""

    generation: int


@define(eq=False)
class _Open:
    """One tunnel. ``generation``: of its backend at the last answer; ``waiting``: sent, and not yet answered."""

    sock: socket.socket
    port: int
    generation: int
    waiting: bytes = b""
    said: tuple[float, int] = (0.0, 0)
    """When, and in which generation, ``waiting`` was sent."""
    due: float = 0.0
    sent: int = 0
    received: int = 0


class Opened:
    """Tunnels to a port, until `stop`. ``told``: called with each fault; ``pause``: seconds, as `PAUSE`.

    ``count``: tunnels, without those that could not be opened; ``cut``: tunnels that a kill has ended.
    """

    def __init__(
        self, port: int, hello: bytes, count: int, backend: Killed, told: Callable[[str], None], pause: float = PAUSE
    ) -> None:
        self._port, self._hello, self.count = port, hello, count
        self._backend, self._told, self._pause = backend, told, pause
        self._chance = random.Random(61)
        self._by_fd: dict[int, _Open] = {}
        self._queue: deque[_Open] = deque()
        self._events = select.epoll()
        self._next = 0.0
        self._stop = Event()
        self._whole: list[Tunnel] = []
        self._thread = Thread(target=self._run, daemon=True)
        self.cut = 0

    @property
    def alive(self) -> int:
        """Number of open tunnels that have had an answer."""
        return sum(1 for one in list(self._by_fd.values()) if one.received)

    def start(self) -> None:
        """Start opening the tunnels, a few at a time."""
        self._thread.start()

    def stop(self) -> list[Tunnel]:
        """Open the missing tunnels, exchange a byte on each, and end them. Returns those that ended as planned."""
        self._stop.set()
        self._thread.join()
        return self._whole

    def _run(self) -> None:
        last = float("inf")
        while not (self._stop.is_set() and len(self._by_fd) == self.count) and time.monotonic() < last:
            self._tick()
            if self._stop.is_set():
                last = min(last, time.monotonic() + TIMEOUT_S)
        for one in list(self._by_fd.values()):
            self._end(one)
        self._events.close()

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TICK
            for _ in range(min(_MAX_OPENED_PER_TICK, self.count - len(self._by_fd))):
                self._open()
        while self._queue and self._queue[0].due <= now:
            one = self._queue.popleft()
            if one.sock.fileno() < 0:
                continue
            if not one.waiting:
                self._say(one)
            elif one.said[0] + TIMEOUT_S < now:
                self._wrong(one, "a byte did not come back")
                continue
            self._again(one)
        for fd, _ in self._events.poll(max(0.0, self._next - time.monotonic())):
            if (found := self._by_fd.get(fd)) is not None:
                self._hear(found)

    def _again(self, one: _Open) -> None:
        one.due = time.monotonic() + self._pause
        self._queue.append(one)

    def _open(self) -> None:
        generation = self._backend.generation
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)
            sock.sendall(self._hello)
        except OSError as error:
            self._told(f"open: a tunnel cannot be opened: {error}")
            self.count -= 1
            return
        sock.setblocking(False)
        one = _Open(sock, sock.getsockname()[1], generation)
        self._by_fd[sock.fileno()] = one
        self._events.register(sock, select.EPOLLIN)
        self._say(one)
        self._again(one)

    def _say(self, one: _Open) -> None:
        one.said = time.monotonic(), self._backend.generation
        one.waiting = self._chance.randbytes(1)
        try:
            one.sent += one.sock.send(one.waiting)
        except OSError as error:
            self._cut(one, str(error))

    def _hear(self, one: _Open) -> None:
        try:
            back = one.sock.recv(64)
        except OSError as error:
            self._cut(one, str(error))
            return
        if not back:
            self._cut(one, "it ended")
        elif back != one.waiting:
            self._wrong(one, f"{back!r} came back in place of {one.waiting!r}")
        else:
            one.received += len(back)
            one.waiting = b""
            one.generation = one.said[1]

    def _cut(self, one: _Open, why: str) -> None:
        """A tunnel has broken. It is a fault unless its backend was killed since its last answer."""
        if self._backend.generation == one.generation and not one.generation % 2:
            self._wrong(one, why)
        else:
            self._forget(one)
            self.cut += 1

    def _wrong(self, one: _Open, why: str) -> None:
        self._told(f"open: port {one.port}, {one.sent} bytes sent, {one.received} back: {why}")
        self._forget(one)

    def _forget(self, one: _Open) -> None:
        del self._by_fd[one.sock.fileno()]
        one.sock.close()  # which removes it from the epoll set

    def _end(self, one: _Open) -> None:
        """Exchange one more byte, then a FIN in each direction."""
        one.sock.settimeout(TIMEOUT_S)
        if one.waiting:
            self._hear(one)
        if one.sock.fileno() >= 0:
            self._say(one)
        if one.sock.fileno() >= 0:
            self._hear(one)
        if one.sock.fileno() < 0:
            return
        try:
            one.sock.shutdown(socket.SHUT_WR)
            more = one.sock.recv(64)
        except OSError as error:
            self._cut(one, str(error))
            return
        if more:
            self._wrong(one, f"{more!r} came behind the last byte")
            return
        self._forget(one)
        up = len(self._hello) + one.sent
        self._whole.append(Tunnel(one.port, up, one.received, True, time.monotonic()))


def main() -> None:
    """``python -m bench.soakopen FD HELLO``: echo on an inherited listening socket."""
    serve(socket.socket(fileno=int(sys.argv[1])), "echo", int(sys.argv[2]))


if __name__ == "__main__":
    main()
