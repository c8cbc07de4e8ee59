"""Tests for sniproxy.net.unixsocket."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from sniproxy.net.listener import listen_at_once
from sniproxy.net.unixsocket import LOCK, remove_path, remove_stale
from sniproxy.server.listeners import why_not_listening
from tests.support.reactor import reactor


class StaleTests(TestCase):
    """The remains of a killed program."""

    def setUp(self) -> None:
        self.path = os.path.relpath(self.mktemp())

    def leave(self, pid: int | None) -> None:
        """Create a socket without a listener, and its lock."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.path)
        if pid is not None:
            os.symlink(str(pid), self.path + LOCK)

    async def listen(self, more: str = "") -> None:
        text = f"unix:{self.path}{more}"
        port = listen_at_once(serverFromString(reactor, text), Factory(), text)
        self.addCleanup(port.stopListening)

    def lock(self, pid: int) -> None:
        """Let the lock name a process."""
        os.unlink(self.path + LOCK)
        os.symlink(str(pid), self.path + LOCK)

    async def test_left_behind(self) -> None:
        """A stale socket is removed, whichever process its lock names."""
        for number, pid in enumerate((os.getpid(), 1, os.getppid(), None)):
            self.path = f"{self.path}{number}"
            self.leave(pid)
            await self.listen()
        self.path += "x"
        os.symlink(str(os.getpid()), self.path + LOCK)
        await self.listen()
        self.path += "y"
        self.leave(None)
        await self.listen(":lockfile=0")

    def test_remove_path(self) -> None:
        """A socket's path is removed, if it has one; a path that is gone is no error."""
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as nameless, socket.socket() as tcp:
            sock.bind(self.path)
            for one in (nameless, tcp):
                remove_path(one)
            self.assertTrue(os.path.exists(self.path))
            remove_path(sock)
            self.assertFalse(os.path.lexists(self.path))
            remove_path(sock)

    async def test_in_use(self) -> None:
        """A socket with a listener stays; the error has the path, the process and the cure."""
        await self.listen()
        other = os.getppid()
        self.patch(os, "getppid", lambda: 0)
        self.lock(other)
        self.addCleanup(self.lock, os.getpid())
        error: CannotListenError = await self.assertFailure(self.deferred(), CannotListenError)
        said = why_not_listening(error)
        self.assertIn(f"cannot listen on {self.path}: ", said)
        self.assertIn(f"process {other} holds its lock {self.path}.lock; stop that process", said)
        self.assertTrue(os.path.exists(self.path))

    async def test_in_use_here(self) -> None:
        """A socket on which this proxy listens, as in a reload that changes the endpoint's options."""
        await self.listen()
        error: CannotListenError = await self.assertFailure(self.deferred(), CannotListenError)
        self.assertIn("restart it to change the endpoint", why_not_listening(error))

    async def test_no_socket(self) -> None:
        """A file that is not a socket is never removed."""
        with open(self.path, "w"):
            pass
        self.assertFalse(remove_stale(self.path))
        error: CannotListenError = await self.assertFailure(self.deferred(), CannotListenError)
        self.assertIn("it is not a socket; remove it", why_not_listening(error))
        self.assertFalse(remove_stale(self.path + "z"))

    def deferred(self) -> Deferred[Any]:
        """Try to listen."""
        return Deferred.fromCoroutine(self.listen())
