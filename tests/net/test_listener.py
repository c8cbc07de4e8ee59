"""Accepting connections."""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from zope.interface import implementer

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
from tests.support.sockets import TIMEOUT_S, FullClock, HandClock, SocketTestCase, in_thread

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

    async def test_hold(self) -> None:
        """A held listener lets clients wait, also if it was paused; a released one accepts them."""
        clock = HandClock()
        acceptor = await self.accept(LOOPBACK, clock)
        assert acceptor.address is not None
        self.room = False
        with socket.create_connection(acceptor.address):
            await in_thread(int)
            acceptor.hold()
            self.room = True
            clock.advance(PAUSE_S)
            await in_thread(int)
            self.assertFalse(self.arrived.called)
            acceptor.release()
            sock, _ = await self.arrived
            sock.close()

    async def test_hand_over(self) -> None:
        """The descriptor is closed here; another process that has the socket is not disturbed, and has the path."""
        path = self.mktemp()
        for endpoint in (LOOPBACK, f"unix:{path}"):
            acceptor = await self.accept(endpoint)
            address = acceptor.sock.getsockname()
            with acceptor.sock.dup() as theirs, socket.socket(theirs.family) as waiting:
                waiting.connect(address)
                acceptor.hand_over()
                self.assertNotIn(acceptor, reactor.getReaders())
                theirs.settimeout(TIMEOUT_S)
                with socket.socket(theirs.family) as client:
                    client.connect(address)
                    for _ in range(2):
                        accepted, _ = await in_thread(theirs.accept)
                        accepted.close()
            self._cleanups.pop()  # it has no socket to stop
        self.assertTrue(os.path.exists(path))
        self.assertFalse(os.path.lexists(f"{path}.lock"))

    def test_lock(self) -> None:
        """A lock that cannot be removed, because its folder is another user's, is no obstacle."""

        def unlock() -> None:
            raise PermissionError

        closed: list[str] = []
        listener.hand_over(
            SimpleNamespace(
                stopReading=lambda: closed.append("reading"),
                socket=SimpleNamespace(close=lambda: closed.append("socket")),
                lockFile=SimpleNamespace(unlock=unlock),
            )
        )
        self.assertEqual(["reading", "socket"], closed)

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

    async def test_no_room_for_a_listener(self) -> None:
        """A pause that ends without room in the reactor's set is repeated, until there is room."""
        clock = FullClock()
        clock.room = True
        acceptor = await self.accept("tcp:0:interface=127.0.0.1", clock)
        self.room = False
        acceptor.doRead()
        self.room, clock.room = True, False
        for _ in range(3):
            clock.advance(PAUSE_S)
            self.assertNotIn(acceptor, reactor.getReaders())
        clock.room = True
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

    async def test_endless_backlog_at_the_stop(self) -> None:
        """A listener whose clients keep coming at the stop closes a while later."""
        clock = HandClock()
        self.patch(listener, "LAST_ROUNDS", 2)
        acceptor = await self.accept("tcp:0:backlog=200:interface=127.0.0.1", clock)
        arrived: list[socket.socket] = []
        acceptor.accepted = lambda sock, client: arrived.append(sock)
        assert acceptor.address is not None
        clients = [socket.create_connection(acceptor.address) for _ in range(2 * listener.BATCH + 1)]
        stopped = maybeDeferred(acceptor.stop)
        self.assertNoResult(stopped)
        self.assertEqual(2 * listener.BATCH, len(arrived))
        clock.advance(LAST_CALL_S)
        await stopped
        self.assertEqual(len(clients), len(arrived))
        for sock in (*clients, *arrived):
            sock.close()

    async def test_no_options(self) -> None:
        """A socket that supports no option of TCP is accepted on, too."""

        def unsupported(sock: socket.socket) -> None:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

        self.patch(listener, "tune", unsupported)
        acceptor = await self.accept(LOOPBACK)
        assert acceptor.address is not None
        with socket.create_connection(acceptor.address):
            sock, _ = await self.arrived
            sock.close()

    async def test_no_socket(self) -> None:
        """A port without its own listening socket is refused."""
        self.assertRaises(NoSocket, Acceptor, reactor, object(), "public", print, bool)


@implementer(IStreamServerEndpoint)
class Scripted:
    """An endpoint whose listen gives these results in turn."""

    def __init__(self, *results: Deferred[Any]) -> None:
        self.results = list(results)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self.results.pop(0)


class ListenAtOnceTests(TestCase):
    """listen_at_once: the port of an endpoint."""

    def refused(self, *results: Deferred[Any], text: str = "odd:1") -> CannotListenError:
        error: CannotListenError = self.assertRaises(
            CannotListenError, listen_at_once, Scripted(*results), Factory(), text
        )
        return error

    async def test_not_at_once(self) -> None:
        """An endpoint that listens later, and one that fails with another error, are errors that name it."""
        error = self.refused(Deferred())
        self.assertEqual("odd:1", error.interface)
        self.assertIn("this kind of endpoint does not listen at once", str(error))
        error = self.refused(fail(OSError(errno.EACCES, "Permission denied")))
        self.assertEqual(("odd:1", errno.EACCES), (error.interface, error.socketError.errno))

    async def test_error_of_the_endpoint(self) -> None:
        """The endpoint's own error stays as it is; so does a unix socket that is in use."""
        for own in (CannotListenError("127.0.0.1", 1, OSError()), CannotListenError(None, "/nowhere/x", OSError())):
            self.assertIs(own, self.refused(fail(own), text="tcp:1"))

    async def test_stale(self) -> None:
        """A unix socket that no process listens on is removed, with a warning, and listening is tried again."""
        path = os.path.relpath(self.mktemp())
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
        with capturedLogs() as logged:
            port = listen_at_once(serverFromString(reactor, f"unix:{path}"), Factory(), f"unix:{path}")
        self.assertIn(f"removed stale UNIX socket {path}", [formatEvent(event) for event in logged])
        self.assertEqual(path, port.socket.getsockname())
        await maybeDeferred(port.stopListening)


class Exhausted:
    """A listening socket whose accept fails with these errors in turn."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def _accept(self) -> None:
        raise self.errors.pop(0)


def no_memory(*ignored: object, **also: object) -> Any:
    """Raise MemoryError."""
    raise MemoryError
