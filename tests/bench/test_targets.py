"""The servers of the data path benchmark."""

from __future__ import annotations

import hashlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.targets import AFTERWARDS, KINDS, Target, client_hello
from sniproxy.tls.clienthello import ClientHelloReader

HELLO = b"hello"


def connected(case: SynchronousTestCase, kind: str) -> socket.socket:
    """Connect to a target without sending the hello."""
    target = Target(kind, len(HELLO))
    case.addCleanup(target.stop)
    sock = socket.create_connection(("127.0.0.1", target.port), timeout=60)
    case.addCleanup(sock.close)
    return sock


def rest(sock: socket.socket) -> bytes:
    """Read until a FIN."""
    with sock.makefile("rb") as file:
        return file.read()


class HelloTests(SynchronousTestCase):
    """The hello of clients."""

    def test_name(self) -> None:
        """The hello is complete, and has the name."""
        hello = ClientHelloReader().feed(client_hello("sink.bench.test"))
        assert hello is not None
        self.assertEqual(hello.server_name, "sink.bench.test")


class TargetTests(SynchronousTestCase):
    """Each kind."""

    def test_echo(self) -> None:
        """Echo drops the hello, also in parts, and sends back what follows."""
        sock = connected(self, "echo")
        for part in (b"he", b"llo", b"a message"):
            sock.sendall(part)
        self.assertEqual(sock.recv(100), b"a message")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(rest(sock), b"")

    def test_sink(self) -> None:
        """Sink answers a FIN with the number of bytes after the hello."""
        sock = connected(self, "sink")
        sock.sendall(HELLO + bytes(1_000_000))
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(int.from_bytes(rest(sock), "big"), 1_000_000)

    def test_first(self) -> None:
        """First answers a complete hello with a byte, and a FIN with a FIN."""
        sock = connected(self, "first")
        sock.sendall(HELLO)
        self.assertEqual(sock.recv(100), b"!")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(rest(sock), b"")

    def test_digest(self) -> None:
        """Digest answers after the client's FIN."""
        sock = connected(self, "digest")
        sock.sendall(HELLO + b"some data")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(rest(sock), hashlib.sha256(b"some data").digest() + AFTERWARDS)

    def test_kinds(self) -> None:
        """These are the kinds of targets."""
        self.assertEqual(sorted(KINDS), ["digest", "echo", "first", "sink"])
