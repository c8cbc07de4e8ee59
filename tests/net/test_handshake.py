"""TLS handshakes."""

from __future__ import annotations

import errno
import socket
import ssl
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sniproxy.net import handshake as handshake_module
from sniproxy.net.handshake import Handshake, HandshakeError
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.tls.contexts import verification_fault
from sniproxy.util.buffered import BufferAccount
from tests.support.reactor import reactor
from tests.support.sockets import FullClock, HandClock, SocketTestCase, connected, in_thread, read_to_end, reset
from tests.tls.material import CA, NAME, OTHER_CA, accepting, issued, trust


class FarClient:
    """A client of the standard library that speaks TLS in memory, so that a test chooses what it sends and reads."""

    def __init__(self, sock: socket.socket) -> None:
        context = ssl.create_default_context()
        CA.configure_trust(context)
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=NAME)

    def step(self) -> bool:
        """Take one step of the handshake, and send. @return: the client has finished."""
        done = True
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            done = False
        self.sock.sendall(self._out.read())
        return done

    def finish(self) -> None:
        """Complete the handshake."""
        while not self.step():
            self.take()

    def take(self) -> bytes:
        """Take what the server has sent."""
        data = self.sock.recv(65536)
        self._in.write(data)
        return data


class FullSocket(TLSSocket):
    """Has no room while it is full."""

    full = True

    def _push(self) -> None:
        if self.full and self.waiting:
            raise BlockingIOError(errno.EAGAIN, "no room")
        super()._push()


class HandshakeTests(SocketTestCase):
    """Server and client handshakes with the standard library's and our own peers."""

    def server(
        self, clock: Any = reactor, received: bytes = b"", seconds: float = 5.0
    ) -> tuple[socket.socket, TLSSocket, Handshake]:
        self.account = BufferAccount()
        far, sock = connected()
        ours = TLSSocket(sock, accepting(issued(NAME)), received)
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, ours, Handshake(clock, ours, seconds, self.account)

    def client(self) -> tuple[socket.socket, TLSSocket, Handshake]:
        far, sock = connected()
        ours = TLSSocket(sock, trust().connection(NAME))
        self.addCleanup(far.close)
        self.addCleanup(ours.close)
        return far, ours, Handshake(reactor, ours, 5.0, BufferAccount())

    async def failed(self, shaken: Deferred[None]) -> str:
        return str(await self.error(shaken))

    async def error(self, shaken: Deferred[None]) -> HandshakeError:
        try:
            await shaken
        except HandshakeError as error:
            return error
        raise self.failureException("the handshake is done")

    async def test_as_server(self) -> None:
        """A client of the standard library connects with TLS 1.2 and 1.3, and its first bytes are received."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            far, ours, handshake = self.server()
            context = ssl.create_default_context()
            CA.configure_trust(context)
            context.maximum_version = version

            def talk(context: ssl.SSLContext = context, far: socket.socket = far) -> ssl.SSLSocket:
                tls = context.wrap_socket(far, server_hostname=NAME)
                tls.sendall(b"at once")
                return tls

            talking = in_thread(talk)
            await handshake.run()
            tls = await talking
            self.addCleanup(tls.close)
            self.assertEqual(b"at once", ours.recv(65536))
            self.assertEqual(version.name, (tls.version() or "").replace(".", "_"))

    async def test_counted(self) -> None:
        """Bytes received during the handshake are counted as buffered, and bounded."""
        far, _, handshake = self.server()
        shaken = handshake.run()
        far.sendall(b"\x16\x03\x01\x40\x00")  # a record of 16 KiB begins
        while self.account.bytes != 5:
            await deferLater(reactor, 0)
        self.patch(handshake_module, "MAX_RECEIVED_BYTES", 8)
        far.sendall(b"\x01\x00\x3f\xfc")
        self.assertEqual("it sent more than 8 bytes in the TLS handshake", await self.failed(shaken))
        self.assertEqual(0, self.account.bytes)

    async def test_as_client(self) -> None:
        """The client sends the server name and accepts the server's certificate."""
        far, _, handshake = self.client()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CA.issue_cert(NAME).configure_cert(context)
        asked: list[str | None] = []
        context.sni_callback = lambda sock, name, context: asked.append(name)
        shaking = in_thread(partial(context.wrap_socket, far, server_side=True))
        await handshake.run()
        (await shaking).close()
        self.assertEqual([NAME], asked)

    async def test_not_trusted(self) -> None:
        """A certificate for another name is refused with a reason, and the server gets an alert."""
        far, ours, handshake = self.client()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        OTHER_CA.issue_cert(NAME).configure_cert(context)
        shaking = self.assertFailure(in_thread(partial(context.wrap_socket, far, server_side=True)), ssl.SSLError)
        await self.failed(handshake.run())
        self.assertIn("its certificate is not trusted: ", verification_fault(ours.tls) or "")
        self.assertIn("unknown ca", str(await shaking).lower())

    async def test_refused_by_the_client(self) -> None:
        """If a client rejects our certificate, the reason is its TLS alert."""
        far, _, handshake = self.server()
        shaking = in_thread(partial(ssl.create_default_context().wrap_socket, far, server_hostname=NAME))
        self.assertFailure(shaking, ssl.SSLError)
        self.assertIn("unknown ca", await self.failed(handshake.run()))
        await shaking

    async def test_not_tls(self) -> None:
        """Bytes that are not a handshake fail it, with OpenSSL's reason."""
        far, _, handshake = self.server()
        far.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn("http request", await self.failed(handshake.run()))

    async def test_gone(self) -> None:
        """A FIN and a reset during the handshake have different reasons."""
        for leave, why in ((socket.socket.close, "closed the connection"), (reset, "reset")):
            far, _, handshake = self.server()
            leave(far)
            self.assertIn(why, await self.failed(handshake.run()))

    async def test_not_watched(self) -> None:
        """A socket that the system cannot watch fails the handshake, without a deadline that is left."""
        clock = FullClock()
        far, ours, handshake = self.server(clock)
        why = await self.failed(handshake.run())
        self.assertEqual(("cannot watch its socket: No space left on device", []), (why, clock.getDelayedCalls()))
        far.close()
        ours.close()

    async def test_deadline(self) -> None:
        """A silent peer fails the handshake at the deadline and leaves the reactor."""
        clock = HandClock()
        far, ours, handshake = self.server(clock)
        shaken = handshake.run()
        clock.advance(5)
        self.assertEqual("TLS handshake not completed within 5 s", await self.failed(shaken))
        self.assertNotIn(handshake, reactor.getReaders())
        ours.close()
        self.assertEqual(b"", await in_thread(read_to_end, far))

    async def test_deadline_in_words(self) -> None:
        """The remaining time in the reason is rounded, so that repeated reasons are equal."""
        clock = HandClock()
        _, _, handshake = self.server(clock, seconds=4.99874)
        shaken = handshake.run()
        clock.advance(5)
        self.assertEqual("TLS handshake not completed within 5 s", await self.failed(shaken))

    async def test_cancel(self) -> None:
        """A cancelled handshake leaves the reactor."""
        _, _, handshake = self.server()
        shaken = handshake.run()
        shaken.addErrback(lambda failure: None)
        shaken.cancel()
        await shaken
        self.assertNotIn(handshake, reactor.getReaders())

    async def waiting(self, handshake: Handshake) -> None:
        """Return when the handshake waits for room in the socket."""
        while handshake not in reactor.getWriters():
            await deferLater(reactor, 0)

    def full(self) -> tuple[socket.socket, FullSocket, Handshake]:
        """A server whose socket has no room."""
        far, ours, handshake = self.server()
        ours.__class__ = FullSocket
        return far, cast(FullSocket, ours), handshake

    async def test_no_room(self) -> None:
        """What the socket has no room for is sent when there is some, and the handshake goes on."""
        far, ours, handshake = self.full()
        shaken = handshake.run()
        client = FarClient(far)
        client.step()
        await self.waiting(handshake)
        handshake.doWrite()  # there is still no room
        self.assertIn(handshake, reactor.getWriters())
        self.assertTrue(ours.waiting)
        ours.full = False
        await in_thread(client.finish)
        await shaken
        self.assertNotIn(handshake, reactor.getWriters())

    async def test_no_room_for_the_last_words(self) -> None:
        """The handshake is done when its last bytes are sent; until then, no more is read."""
        far, ours, handshake = self.full()
        ours.full = False
        shaken = handshake.run()
        client = FarClient(far)
        client.step()
        await in_thread(client.take)
        ours.full = True
        self.assertTrue(client.step())
        await self.waiting(handshake)
        self.assertNotIn(handshake, reactor.getReaders())
        self.assertFalse(shaken.called)
        ours.full = False
        await shaken
        self.assertEqual(0, ours.waiting)
        self.assertTrue(await in_thread(client.take))

    async def test_reset_without_room(self) -> None:
        """A peer that resets the connection while bytes wait for room is gone."""
        far, ours, handshake = self.full()
        shaken = handshake.run()
        FarClient(far).step()
        await self.waiting(handshake)
        reset(far)
        ours.full = False
        handshake.doWrite()
        error = await self.error(shaken)
        self.assertEqual(("Connection reset by peer", True), (str(error), error.gone))
        self.assertNotIn(handshake, reactor.getWriters())

    async def test_lost(self) -> None:
        """A hang-up that the reactor reports is a peer that is gone. Only the first report counts."""
        _, _, handshake = self.server()
        shaken = handshake.run()
        for _ in range(2):
            handshake.connectionLost(Failure(ConnectionDone()))
        error = await self.error(shaken)
        self.assertEqual(("Connection reset by peer", True), (str(error), error.gone))

    async def test_in_vain(self) -> None:
        """The reactor may ask in vain to read, and to write after the end."""
        far, _, handshake = self.server()
        shaken = handshake.run()
        handshake.doRead()
        self.assertFalse(shaken.called)
        await in_thread(FarClient(far).finish)
        await shaken
        handshake.doWrite()
        self.assertNotIn(handshake, reactor.getReaders())
