"""Starting to connect a socket."""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net import connect
from sniproxy.net.connect import begin, failure_kind
from sniproxy.net.transparent import CannotBind


class BeginTests(SynchronousTestCase):
    """Connects to a loopback port."""

    def listener(self) -> socket.socket:
        sock = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(sock.close)
        return sock

    def test_connects(self) -> None:
        """The socket does not block, and sends without delay; a connect to this machine is complete at once."""
        sock, number = begin(*self.listener().getsockname())
        with sock:
            self.assertEqual(0, number)
            self.assertFalse(sock.getblocking())
            self.assertEqual(1, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_refused(self) -> None:
        """The number says why a connect fails at once."""
        listener = self.listener()
        host, port = listener.getsockname()
        listener.close()
        sock, number = begin(host, port)
        sock.close()
        self.assertEqual(errno.ECONNREFUSED, number)

    def test_failure_kind(self) -> None:
        """An errno is one of four kinds of failure."""
        kinds = {
            errno.ECONNREFUSED: "refused",
            errno.ETIMEDOUT: "timeout",
            errno.EHOSTUNREACH: "unreachable",
            errno.ENETUNREACH: "unreachable",
            errno.ECONNRESET: "failed",
        }
        self.assertEqual(kinds, {number: failure_kind(number) for number in kinds})

    def test_at_once(self) -> None:
        """A connect that cannot begin fails at once: TCP has no multicast."""
        sock, number = begin("224.0.0.1", 1)
        sock.close()
        self.assertNotIn(number, (0, errno.EINPROGRESS))

    def test_without_nonblocking_flag(self) -> None:
        """On a system that cannot make a socket non-blocking as it is created, it is made so afterwards."""
        self.patch(connect, "_NONBLOCK", 0)
        self.patch(connect, "_STREAM", socket.SOCK_STREAM)
        sock, _ = begin(*self.listener().getsockname())
        with sock:
            self.assertFalse(sock.getblocking())

    def test_source(self) -> None:
        """The socket gets the client's address before it connects."""
        self.patch(connect, "bind_to_client", lambda sock, source: sock.bind((source, 0)))
        listener = self.listener()
        sock, _ = begin("127.0.0.1", listener.getsockname()[1], "127.0.0.9")
        with sock, listener.accept()[0] as accepted:
            self.assertEqual("127.0.0.9", accepted.getpeername()[0])

    def test_bad_source(self) -> None:
        """An address that the system does not send from, and a client without a free port, are errors of the client."""
        port = 0

        def bind(sock: socket.socket, source: str) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((source, port))

        self.patch(connect, "bind_to_client", bind)
        # Linux does not connect from loopback to other hosts.
        error = self.assertRaises(CannotBind, begin, "192.0.2.7", 1, "127.0.0.9")
        self.assertEqual("cannot dial from the client 127.0.0.9: Invalid argument", error.strerror)
        target = self.listener().getsockname()[1]
        first, _ = begin("127.0.0.1", target, "127.0.0.9")
        self.addCleanup(first.close)
        port = first.getsockname()[1]  # as if it were the client's only one
        error = self.assertRaises(CannotBind, begin, "127.0.0.1", target, "127.0.0.9")
        self.assertEqual("cannot dial from the client 127.0.0.9: Cannot assign requested address", error.strerror)

    def test_cannot_bind(self) -> None:
        """A socket that cannot get the address is closed."""
        found = []

        def fail(sock: socket.socket, source: str) -> None:
            found.append(sock)
            raise CannotBind(errno.EPERM, "no")

        self.patch(connect, "bind_to_client", fail)
        self.assertRaises(CannotBind, begin, "127.0.0.1", 1, "192.0.2.7")
        self.assertEqual([-1], [sock.fileno() for sock in found])
