"""Reading a hello from a socket."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.net.hello import HelloStage
from sniproxy.tls.clienthello import NotTLS
from sniproxy.util.buffered import BufferAccount
from tests.support.hellos import hello
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import HandClock, SocketTestCase, connected, in_thread, reset


class HelloStageTests(SocketTestCase):
    """A hello, or the reason for a failure."""

    async def test_hello_in_pieces(self) -> None:
        """A hello is read in any pieces, and all its bytes are kept unchanged."""
        theirs, ours = connected()
        stage = HelloStage(reactor, ours, 5.0, BufferAccount())
        data = hello(name="broker-1.pulsar.test") + b"early data"
        theirs.sendall(data[:3])
        await in_thread(int)
        theirs.sendall(data[3:])
        self.assertEqual("broker-1.pulsar.test", (await stage.first()).server_name)
        self.assertEqual(data, bytes(stage.received))
        theirs.close()
        ours.close()

    async def test_counted(self) -> None:
        """An incomplete hello counts as buffered: its bytes, and those that the parser holds."""
        theirs, ours = connected()
        account = BufferAccount()
        stage = HelloStage(reactor, ours, 5.0, account)
        theirs.sendall(hello(name="broker-1.pulsar.test")[:105])
        await in_thread(int)
        first = stage.first()
        self.assertEqual(105 + 100, account.bytes)
        theirs.close()
        await self.assertFailure(first, ClientGone)
        self.assertEqual(0, account.bytes)
        ours.close()

    async def test_unreadable(self) -> None:
        """A read error fails the wait at once."""
        theirs, ours = connected()
        theirs.sendall(b"GET / HTTP/1.0\r\n")
        await self.assertFailure(HelloStage(reactor, ours, 5.0, BufferAccount()).first(), NotTLS)
        theirs.close()
        ours.close()

    async def test_timeout(self) -> None:
        """A hello that is incomplete at the deadline fails; arriving bytes do not extend the deadline."""
        clock = HandClock()
        theirs, ours = connected()
        stage = HelloStage(as_reactor(clock), ours, 5.0, BufferAccount())
        theirs.sendall(b"\x16\x03\x01")
        first = stage.first()
        clock.advance(4.9)
        self.assertFalse(first.called)
        clock.advance(0.1)
        error = await self.assertFailure(first, ReadTimeout)
        self.assertEqual("no complete hello within 5 s", str(error))
        theirs.close()
        ours.close()

    async def test_client_leaves(self) -> None:
        """A client that sends a FIN or a reset first is reported as gone."""
        for leave in (lambda sock: sock.close(), reset):
            theirs, ours = connected()
            stage = HelloStage(reactor, ours, 5.0, BufferAccount())
            leave(theirs)
            await self.assertFailure(stage.first(), ClientGone)
            ours.close()

    async def test_cancel(self) -> None:
        """A cancelled wait leaves the socket open and out of the reactor."""
        theirs, ours = connected()
        stage = HelloStage(reactor, ours, 5.0, BufferAccount())
        stage.first().cancel()
        await self.assertFailure(stage.first(), CancelledError)
        ours.send(b"still open")
        theirs.close()
        ours.close()
