"""Accepting connections."""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from sniproxy.net import listener
from sniproxy.net.endpoints import parse_endpoint
from sniproxy.net.listener import (
    DEFERRED_S,
    LAST_CALL_S,
    PAUSE_S,
    Acceptor,
    NoSocket,
    can_defer,
    listen_at_once,
    own_port,
)
from sniproxy.net.reuseport import SharedEndpoint
from sniproxy.net.sockopts import KEEPALIVE_IDLE
from sniproxy.net.synfilter import welcome_new
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread

LOOPBACK = "tcp:0:interface=127.0.0.1"


class AcceptorTests(SocketTestCase):
    """Connections of a Twisted endpoint, without Twisted's transports."""

    async def accept(self, endpoint: str, clock: Any = reactor) -> Acceptor:
        self.room = True
        port = await serverFromString(reactor, endpoint).listen(Factory())
        self.arrived: Deferred[tuple[socket.socket, str]] = Deferred()
        acceptor = Acceptor(clock, port, "public", lambda *args: self.arrived.callback(args), self.must_wait)
        self.addCleanup(lambda: maybeDeferred(acceptor.stop))
        return acceptor

    def must_wait(self) -> str | None:
        return None if self.room else "there is no room"

    async def test_accept(self) -> None:
        """A connection arrives as a plain socket that does not block, with the client's address."""
        acceptor = await self.accept("tcp:0:interface=127.0.0.1")
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address) as client:
            sock, address = await self.arrived
            self.assertEqual(f"127.0.0.1:{client.getsockname()[1]}", address)
            self.assertFalse(sock.getblocking())
            self.assertEqual(acceptor.address[1], own_port(sock))
            # All from the listening socket: no system call for each connection.
            self.assertEqual(1, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertEqual(1, sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            self.assertEqual(KEEPALIVE_IDLE, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
            sock.close()

    async def test_deferred(self) -> None:
        """A silent client is held back behind a later client that sends bytes, while this is enabled."""
        acceptor = await self.accept("tcp:0:interface=127.0.0.1")
        acceptor.defer(True)
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address), socket.create_connection(acceptor.address) as speaks:
            speaks.sendall(b"x")
            sock, address = await self.arrived
            self.assertEqual(f"127.0.0.1:{speaks.getsockname()[1]}", address)
            self.assertEqual(b"x", sock.recv(9))
            sock.close()
        self.arrived = Deferred()
        acceptor.defer(False)
        with socket.create_connection(acceptor.address) as silent:
            while True:
                sock, address = await self.arrived
                self.arrived = Deferred()
                sock.close()
                if address == f"127.0.0.1:{silent.getsockname()[1]}":
                    break

    if not can_defer:
        test_deferred.skip = "this system has no TCP_DEFER_ACCEPT"  # type: ignore[attr-defined]

    async def test_fault(self) -> None:
        """An exception of the handler ends only its connection."""
        acceptor = await self.accept("tcp:0:interface=127.0.0.1")
        good, acceptor.accepted = acceptor.accepted, lambda sock, client: [][0]
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address) as client:
            client.settimeout(TIMEOUT_S)
            self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual(1, len(self.flushLoggedErrors(IndexError)))
        acceptor.accepted = good
        with socket.create_connection(acceptor.address):
            sock, _ = await self.arrived
            sock.close()

    async def test_ipv6(self) -> None:
        """An IPv6 client's address has brackets; an IPv4 client of a listener on :: has its IPv4 address."""
        acceptor = await self.accept("tcp6:0")
        assert acceptor.address is not None
        port = acceptor.address[1]
        for host, expected in (("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")):
            self.arrived = Deferred()
            with socket.create_connection((host, port)) as client:
                sock, address = await self.arrived
                self.assertEqual(f"{expected}:{client.getsockname()[1]}", address)
                sock.close()

    async def test_unix(self) -> None:
        """A unix socket has no address, and its clients have no name."""
        path = self.mktemp()
        acceptor = await self.accept(f"unix:{path}")
        self.assertIsNone(acceptor.address)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            sock, address = await self.arrived
            self.assertEqual(("unix", None, None), (address, own_port(sock), own_port(None)))
            sock.close()

    async def accepted_later(self, acceptor: Acceptor, clock: HandClock) -> None:
        """Assert that a client waits during a pause, and is accepted after it."""
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address):
            self.assertNotIn(acceptor, reactor.getReaders())
            clock.advance(PAUSE_S)
            sock, _ = await self.arrived
            sock.close()

    async def test_out_of_descriptors(self) -> None:
        """Without a descriptor or memory, accepting pauses; new clients are accepted later."""
        for error in (OSError(errno.EMFILE, ""), OSError(errno.ENOMEM, ""), MemoryError()):
            clock = HandClock()
            acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
            real, acceptor.sock = acceptor.sock, Exhausted(error)  # type: ignore[assignment]
            acceptor.doRead()
            acceptor.sock = real
            await self.accepted_later(acceptor, clock)

    async def test_no_memory_for_a_question(self) -> None:
        """If the admission check runs out of memory, accepting pauses."""
        clock = HandClock()
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        self.patch(acceptor, "_must_wait", no_memory)
        acceptor.doRead()
        acceptor._must_wait = self.must_wait
        await self.accepted_later(acceptor, clock)

    async def test_no_memory_for_a_socket(self) -> None:
        """If there is no memory for a socket object, the connection is closed, and accepting pauses."""
        clock = HandClock()
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        assert acceptor.address is not None
        stand_in = self.patch(listener, "socket", SimpleNamespace(**{**vars(socket), "socket": no_memory}))
        with socket.create_connection(acceptor.address, TIMEOUT_S) as client:
            acceptor.doRead()
            self.assertEqual(b"", await in_thread(client.recv, 1))
        stand_in.restore()
        await self.accepted_later(acceptor, clock)

    async def test_no_memory_to_take_over(self) -> None:
        """If the handler runs out of memory, the connection is closed and logged, and accepting pauses."""
        clock = HandClock()
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        assert acceptor.address is not None
        good, acceptor.accepted = acceptor.accepted, no_memory
        with socket.create_connection(acceptor.address, TIMEOUT_S) as client:
            acceptor.doRead()
            self.assertEqual(b"", await in_thread(client.recv, 1))
        self.assertEqual(1, len(self.flushLoggedErrors(MemoryError)))
        acceptor.accepted = good
        await self.accepted_later(acceptor, clock)

    async def test_no_memory_to_pause(self) -> None:
        """If even the pause fails for lack of memory, the listener stays in the reactor, which retries."""
        clock = HandClock()
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        assert acceptor.address is not None
        stand_in = self.patch(clock, "callLater", no_memory)
        self.room = False
        acceptor.doRead()
        stand_in.restore()
        self.assertIn(acceptor, reactor.getReaders())
        self.room = True
        with socket.create_connection(acceptor.address):
            sock, _ = await self.arrived
            sock.close()

    async def test_no_room(self) -> None:
        """At a limit a connection waits, and the warning is not repeated."""
        clock = HandClock()
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        assert acceptor.address is not None
        self.room = False
        with socket.create_connection(acceptor.address):
            for _ in range(3):
                acceptor.doRead()
                self.assertFalse(self.arrived.called)
                clock.advance(PAUSE_S)
            self.room = True
            sock, _ = await self.arrived
            sock.close()

    async def test_long_backlog_at_the_stop(self) -> None:
        """At the stop all waiting connections are accepted, in several batches."""
        acceptor = await self.accept("tcp:0:backlog=200:interface=127.0.0.1")
        arrived: list[socket.socket] = []
        acceptor.accepted = lambda sock, client: arrived.append(sock)
        assert acceptor.address is not None
        clients = [socket.create_connection(acceptor.address) for _ in range(2 * listener.BATCH + 1)]
        await maybeDeferred(acceptor.stop)
        self.assertEqual(len(clients), len(arrived))
        for sock in (*clients, *arrived):
            sock.close()

    async def test_backlog_at_the_stop(self) -> None:
        """A connection in the backlog is accepted at the stop; otherwise it would get a reset."""
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory())
        arrived: list[socket.socket] = []
        acceptor = Acceptor(reactor, port, "public", lambda sock, address: arrived.append(sock), lambda: None)
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address):
            await maybeDeferred(acceptor.stop)
            arrived[0].close()

    async def test_limit_at_the_stop(self) -> None:
        """A connection that waits because of a limit is accepted at the stop, over TCP and unix sockets."""
        for endpoint in ("tcp:0:interface=127.0.0.1", f"unix:{os.path.relpath(self.mktemp())}"):
            acceptor = await self.accept(endpoint)
            self.room = False
            address = acceptor.sock.getsockname()
            with socket.socket(acceptor.sock.family) as client:
                client.connect(address)
                acceptor.doRead()
                self.assertFalse(self.arrived.called)
                await maybeDeferred(acceptor.stop)
                sock, _ = await self.arrived
                sock.close()

    async def test_last_call(self) -> None:
        """A listener on a shared port accepts clients for a while after the stop, then closes."""
        clock = HandClock()
        port = listen_at_once(SharedEndpoint(reactor, parse_endpoint(LOOPBACK)), Factory(), LOOPBACK)
        arrived: list[socket.socket] = []
        acceptor = Acceptor(as_reactor(clock), port, "public", lambda sock, client: arrived.append(sock), lambda: None)
        assert acceptor.address is not None
        stopped = maybeDeferred(acceptor.stop)
        welcome_new(acceptor.sock)  # a client whose handshake had begun
        with socket.create_connection(acceptor.address):
            self.assertNoResult(stopped)
            clock.advance(LAST_CALL_S)
            await stopped
            [sock] = arrived
            sock.close()
        self.assertEqual(-1, acceptor.sock.fileno())

    async def test_deferred_at_the_stop(self) -> None:
        """A silent client that the kernel defers is accepted when it sends after the stop."""
        clock = HandClock()
        acceptor = await self.accept(LOOPBACK, clock)
        acceptor.defer(True)
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address) as client:
            stopped = maybeDeferred(acceptor.stop)
            self.assertFalse(self.arrived.called)
            client.sendall(b"hello")
            sock, _ = await self.arrived
            self.assertEqual(b"hello", sock.recv(5))
            sock.close()
            clock.advance(LAST_CALL_S)
            self.assertNoResult(stopped)
            clock.advance(DEFERRED_S)
            await stopped

    if not can_defer:
        test_deferred_at_the_stop.skip = "this system has no TCP_DEFER_ACCEPT"  # type: ignore[attr-defined]

    async def test_last_call_without_descriptors(self) -> None:
        """A listener that cannot accept at the stop tries again before it closes."""
        clock = HandClock()
        acceptor = await self.accept(LOOPBACK, clock)
        assert acceptor.address is not None
        sock, acceptor.sock = acceptor.sock, Exhausted(OSError(errno.EMFILE, ""))  # type: ignore[assignment]
        acceptor.sock.family = sock.family  # type: ignore[misc]
        acceptor.sock.getsockname = sock.getsockname  # type: ignore[method-assign]
        acceptor.sock.setsockopt = sock.setsockopt  # type: ignore[method-assign]
        acceptor.sock.getsockopt = sock.getsockopt  # type: ignore[method-assign]
        with socket.create_connection(acceptor.address):
            stopped = maybeDeferred(acceptor.stop)
            acceptor.sock = sock
            self.assertNoResult(stopped)
            clock.advance(LAST_CALL_S)
            await stopped
            accepted, _ = await self.arrived
            accepted.close()

    async def test_gone_before_accepted(self) -> None:
        """An error of one connection does not delay the next ones."""
        acceptor = await self.accept("tcp:0:interface=127.0.0.1")
        sock = acceptor.sock
        acceptor.sock = Exhausted(OSError(errno.ECONNABORTED, ""), OSError(errno.EAGAIN, ""))  # type: ignore[assignment]
        acceptor.doRead()
        acceptor.sock = sock
        self.assertIn(acceptor, reactor.getReaders())

    async def test_no_socket(self) -> None:
        """A port without its own listening socket is refused."""
        self.assertRaises(NoSocket, Acceptor, reactor, object(), "public", print, bool)


class Exhausted:
    """A listening socket whose accept fails with these errors in turn."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def _accept(self) -> None:
        raise self.errors.pop(0)


def no_memory(*ignored: object, **also: object) -> Any:
    """Raise MemoryError."""
    raise MemoryError
