"""Loopback sockets for tests, a reactor with a manual clock, and a check for leaked descriptors."""

from __future__ import annotations

import errno
import functools
import gc
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted._version import __version__ as twisted_version
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.reactor import reactor as real_reactor

T = TypeVar("T")

TIMEOUT_S = 60.0
"""Seconds that a test waits for a blocking socket or a process before it fails. A busy machine starts one in 20."""


def connected(buffers: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets: a blocking one for the test, and a non-blocking one for the code under test.

    @param buffers: bytes of the kernel's buffers of both; 0: the system's default.
    """
    with socket.socket() as listener:
        if buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        theirs = socket.socket()
        if buffers:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        theirs.settimeout(TIMEOUT_S)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
        if buffers:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        ours.setblocking(False)
        return theirs, ours


def read_to_end(sock: socket.socket) -> bytes:
    """Read until a FIN."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    """Read C{count} bytes, or fewer if a FIN comes first."""
    pieces = []
    while count and (piece := sock.recv(min(count, 65536))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def in_thread(function: Callable[..., T], *args: Any) -> Deferred[T]:
    """Run a blocking function in a thread."""
    return deferToThread(function, *args)


class HandClock(Clock):
    """The real reactor with a manual clock, for timeouts without waiting.

    A call in 0 seconds runs in the next round of the real reactor.
    """

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        if delay:
            return super().callLater(delay, callable, *args, **kw)
        return real_reactor.callLater(0, callable, *args, **kw)

    def __getattr__(self, name: str) -> Any:
        return getattr(real_reactor, name)


class FullClock(HandClock):
    """A L{HandClock} whose reactor cannot watch further descriptors while C{room} is False."""

    room = False

    def addReader(self, one: Any) -> None:
        self._add(real_reactor.addReader, one)

    def addWriter(self, one: Any) -> None:
        self._add(real_reactor.addWriter, one)

    def _add(self, add: Callable[[Any], None], one: Any) -> None:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(one)


class SocketTestCase(TestCase):
    """Fails a test that leaves a descriptor open."""

    timeout = 120
    _before: dict[str, str]

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await in_thread(int)  # the reactor runs now, and has opened its own descriptors
        freeze_loaded()
        gc.collect()  # garbage of other tests could be collected during this one
        self._before = links()
        self.addCleanup(self._check_descriptors)

    async def _check_descriptors(self) -> None:
        if (twisted_version.major, twisted_version.minor) < (26, 10):
            gc.collect()  # these versions leave the socket of a failed listen in a reference cycle
        until = time.monotonic() + TIMEOUT_S
        while (left := opened_since(self._before)) and time.monotonic() < until:
            await deferLater(real_reactor, 0.01)  # wait for descriptors that the reactor or threads are closing
        self.assertEqual(left, {})


@functools.cache
def freeze_loaded() -> None:
    """Exempt what exists at the first call from later collections.

    The modules and tests of the run would make each take half a second.
    """
    gc.collect()
    gc.freeze()


def links() -> dict[str, str]:
    """The target of each open descriptor, except /dev/null, which Twisted keeps open."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the directory's own descriptor
            pass
    return {fd: what for fd, what in found.items() if what != "/dev/null"}


def opened_since(before: dict[str, str]) -> dict[str, str]:
    """The descriptors that were opened since a call of L{links}, and are still open."""
    return {fd: what for fd, what in links().items() if before.get(fd) != what}
