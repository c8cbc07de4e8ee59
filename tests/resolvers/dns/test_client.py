"""Tests for sniproxy.resolvers.dns.client, with name servers on loopback."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import dns.message
import dns.rcode
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.protocols.basic import Int16StringReceiver

from sniproxy.resolvers.dns import client
from sniproxy.resolvers.dns.client import LOOKUP_TIMEOUT_S, NEXT_SERVER_DELAY_S, NameServers, QueryFailed
from sniproxy.resolvers.dns.resolvconf import ResolvConf
from sniproxy.resolvers.dns.servers import REMEMBER_S
from sniproxy.resolvers.dns.wire import A, make_query
from tests.resolvers.answers import asked_for, reply
from tests.support.reactor import as_reactor
from tests.support.reactor import reactor as real_reactor
from tests.support.sockets import HandClock, SocketTestCase

reactor: Any = real_reactor

Answer = Callable[[dns.message.Message], list[bytes]]
"""The messages with which a server answers a query."""


class Server(DatagramProtocol):
    """A name server. @ivar asked: queries over UDP. @ivar streams: queries over TCP."""

    noisy = False

    def __init__(self, case: SocketTestCase, udp: Answer, tcp: Answer | None = None, interface: str = "127.0.0.1"):
        self.asked = self.streams = 0
        self.heard: Deferred[None] = Deferred()
        self._udp = udp
        answers, server = tcp or silent, self

        class Stream(Int16StringReceiver):
            def stringReceived(self, string: bytes) -> None:
                server.streams += 1
                for data in answers(asked_for(string)[0]):
                    self.sendString(data) if data else self.transport.loseConnection()  # type: ignore

        # One number for both: TCP's, when it is free for UDP, too.
        while True:
            stream = reactor.listenTCP(0, Factory.forProtocol(Stream), interface=interface)
            case.addCleanup(stream.stopListening)
            self.address = (interface, stream.getHost().port)
            try:
                self._port = reactor.listenUDP(self.address[1], self, interface=interface)
            except CannotListenError:
                continue
            break
        case.addCleanup(self._port.stopListening)
        if tcp is None:
            stream.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.asked += 1
        for data in self._udp(asked_for(datagram)[0]):
            assert self.transport is not None
            self.transport.write(data, addr)
        if not self.heard.called:
            self.heard.callback(None)


def good(address: str) -> Answer:
    return lambda asked: [reply(asked, ("a.test.", 7, "A", address))]


def silent(asked: dns.message.Message) -> list[bytes]:
    return []


def fails(asked: dns.message.Message) -> list[bytes]:
    return [reply(asked, rcode=dns.rcode.SERVFAIL)]


class NameServersTests(SocketTestCase):
    """Which servers are queried, and how."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.clock = HandClock()
        await super().setUp()

    async def _check_descriptors(self) -> None:
        for _ in range(3):  # ports and connections are closed in rounds of the reactor
            await deferLater(reactor, 0)
        self.assertEqual([], self.clock.getDelayedCalls())
        await super()._check_descriptors()

    def servers(self, *servers: Server | tuple[str, int], attempts: int = 2) -> NameServers:
        addresses = tuple(each.address if isinstance(each, Server) else each for each in servers)
        conf = ResolvConf(addresses, attempts=attempts)
        return NameServers(as_reactor(self.clock), lambda: conf)

    def ask(self, *servers: Server | tuple[str, int], attempts: int = 2) -> Deferred[list[str]]:
        async def asked() -> list[str]:
            found = await self.servers(*servers, attempts=attempts).ask("a.test", A)
            return [record.to_text() for record in found.records]

        return Deferred.fromCoroutine(asked())

    async def failed(self, asked: Deferred[list[str]]) -> QueryFailed:
        try:
            await asked
        except QueryFailed as error:
            return error
        raise AssertionError("it was answered")

    async def refused(self, asked: Deferred[list[str]]) -> str:
        return str(await self.failed(asked))

    async def test_udp(self) -> None:
        """The first server's answer is used, over IPv4 and IPv6."""
        for interface in ("127.0.0.1", "::1"):
            first = Server(self, good("192.0.2.1"), interface=interface)
            second = Server(self, good("192.0.2.2"))
            self.assertEqual(["192.0.2.1"], await self.ask(first, second))
            self.assertEqual((1, 0), (first.asked, second.asked))

    async def test_silence(self) -> None:
        """If a server is silent, the next one is queried, too, after NEXT_SERVER_DELAY_S."""
        first, second = Server(self, silent), Server(self, good("192.0.2.2"))
        asked = self.ask(first, second)
        await first.heard
        self.assertEqual(0, second.asked)
        self.clock.advance(NEXT_SERVER_DELAY_S)
        self.assertEqual(["192.0.2.2"], await asked)

    async def test_late(self) -> None:
        """A slow server may answer after the next one has been queried."""
        held: list[tuple[dns.message.Message, Any]] = []

        class Slow(Server):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                held.append((asked_for(datagram)[0], addr))
                super().datagramReceived(datagram, addr)

        first, second = Slow(self, silent), Server(self, silent)
        asked = self.ask(first, second)
        await first.heard
        self.clock.advance(NEXT_SERVER_DELAY_S)
        await second.heard
        assert first.transport is not None
        first.transport.write(good("192.0.2.1")(held[0][0])[0], held[0][1])
        self.assertEqual(["192.0.2.1"], await asked)

    async def test_lost(self) -> None:
        """A lost query is repeated, without EDNS."""
        payloads: list[int] = []

        def second(asked: dns.message.Message) -> list[bytes]:
            payloads.append(asked.edns)
            return good("192.0.2.1")(asked) if len(payloads) > 1 else []

        server = Server(self, second)
        asked = self.ask(server)
        await server.heard
        self.clock.advance(NEXT_SERVER_DELAY_S)
        self.assertEqual(["192.0.2.1"], await asked)
        self.assertEqual([0, -1], payloads)

    async def test_no_edns(self) -> None:
        """After FORMERR or NOTIMP the query is repeated at once without EDNS (RFC 6891, section 6.2.2)."""
        for rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            for bare in (False, True):

                def old(asked: dns.message.Message, rcode: Any = rcode, bare: bool = bare) -> list[bytes]:
                    if asked.edns < 0:
                        return good("192.0.2.1")(asked)
                    answer = reply(asked, rcode=rcode)
                    return [answer[:4] + bytes(8) if bare else answer]

                server = Server(self, old)
                self.assertEqual(["192.0.2.1"], await self.ask(server))
                self.assertEqual(2, server.asked)

    async def test_fails_on_edns(self) -> None:
        """After SERVFAIL or REFUSED the query is repeated without EDNS, after the other servers."""
        for rcode in (dns.rcode.SERVFAIL, dns.rcode.REFUSED):

            def old(asked: dns.message.Message, rcode: Any = rcode) -> list[bytes]:
                return good("192.0.2.1")(asked) if asked.edns < 0 else [reply(asked, rcode=rcode)]

            for attempts in (1, 2):
                only = Server(self, old)
                self.assertEqual(["192.0.2.1"], await self.ask(only, attempts=attempts))
                self.assertEqual(2, only.asked)
            first, second = Server(self, old), Server(self, good("192.0.2.2"))
            self.assertEqual(["192.0.2.2"], await self.ask(first, second))
            first, second = Server(self, old), Server(self, silent)
            asked = self.ask(first, second)
            await second.heard
            self.assertEqual(1, first.asked)
            self.clock.advance(NEXT_SERVER_DELAY_S)
            self.assertEqual(["192.0.2.1"], await asked)

    async def test_fails_always(self) -> None:
        """A server that fails without EDNS, too, gets no third query."""
        server = Server(self, fails)
        error = await self.failed(self.ask(server, attempts=3))
        self.assertEqual((2, "server failed"), (server.asked, error.cause))

    async def test_edns_remembered(self) -> None:
        """A server that answers only without EDNS gets queries without it for REMEMBER_S."""
        payloads: list[int] = []

        def old(asked: dns.message.Message) -> list[bytes]:
            payloads.append(asked.edns)
            return good("192.0.2.1")(asked) if asked.edns < 0 else [reply(asked, rcode=dns.rcode.FORMERR)]

        server = Server(self, old)
        servers = self.servers(server)
        for _ in range(2):
            await servers.ask("a.test", A)
        self.assertEqual([0, -1, -1], payloads)
        self.clock.advance(REMEMBER_S)
        await servers.ask("a.test", A)
        self.assertEqual([0, -1], payloads[3:])

    async def test_silence_remembered(self) -> None:
        """A silent server is queried last for REMEMBER_S, and in its place again once it answers."""
        mute = True
        first = Server(self, lambda asked: [] if mute else good("192.0.2.1")(asked))
        second = Server(self, good("192.0.2.2"))
        servers = self.servers(first, second)
        for _ in range(2):
            asked = Deferred.fromCoroutine(servers.ask("a.test", A))
            await first.heard
            self.clock.advance(NEXT_SERVER_DELAY_S)
            await asked
            for _ in range(3):  # without a wait
                await servers.ask("a.test", A)
            self.assertEqual(1, first.asked)
            first.asked, first.heard = 0, Deferred()
            self.clock.advance(REMEMBER_S)
        mute = False
        for _ in range(3):
            [record] = (await servers.ask("a.test", A)).records
            self.assertEqual("192.0.2.1", record.to_text())

    async def test_rotate(self) -> None:
        """With C{rotate} each lookup starts with the next server."""
        first, second = Server(self, good("192.0.2.1")), Server(self, good("192.0.2.2"))
        conf = ResolvConf((first.address, second.address), rotate=True)
        servers = NameServers(as_reactor(self.clock), lambda: conf)
        for _ in range(4):
            await servers.ask("a.test", A)
        self.assertEqual((2, 2), (first.asked, second.asked))

    async def test_descriptors(self) -> None:
        """ "too many open files" is a separate cause."""

        def none(*_: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(client, "DatagramSocket", none)
        error = await self.failed(self.ask(("127.0.0.1", 1), ("127.0.0.2", 1)))
        self.assertEqual(("too many open files", True), (error.cause, error.local))

    async def test_causes(self) -> None:
        """Failure, refusal and silence are separate causes."""

        def refuses(asked: dns.message.Message) -> list[bytes]:
            return [reply(asked, rcode=dns.rcode.REFUSED)]

        def old(asked: dns.message.Message) -> list[bytes]:
            return [reply(asked, rcode=dns.rcode.NOTIMP)]

        def circle(asked: dns.message.Message) -> list[bytes]:
            return [reply(asked, ("a.test.", 5, "CNAME", "a.test."))]

        failing = ((each, "server failed") for each in (fails, old, circle))
        for answers, cause in (*failing, (refuses, "query refused")):
            error = await self.failed(self.ask(Server(self, answers)))
            self.assertEqual(cause, error.cause)
            self.assertIn(f"a.test (A): {cause}: 127.0.0.1:", str(error))

    async def test_quiet(self) -> None:
        """No query logs anything, neither over UDP nor over TCP."""
        lines: list[Any] = []
        observer: Any = lines.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        server = Server(self, lambda asked: [reply(asked, truncated=True)], good("192.0.2.1"))
        del lines[:]
        await self.ask(server)
        self.assertEqual([], [line for line in lines if "Server" not in str(line.get("log_text", line))])

    async def test_all_silent(self) -> None:
        """If all servers are silent, each gets a second query; the error names each server."""
        server = Server(self, silent)
        asked = self.ask(server)
        await server.heard
        self.clock.advance(NEXT_SERVER_DELAY_S)
        while server.asked < 2:
            await deferLater(reactor, 0)
        self.clock.advance(LOOKUP_TIMEOUT_S - NEXT_SERVER_DELAY_S)
        error = await self.failed(asked)
        said = f"a.test (A): no answer: 127.0.0.1:{server.address[1]}: no answer in 4 s"
        self.assertEqual((said, "no answer", 2), (str(error), error.cause, server.asked))

    async def test_bad_servers(self) -> None:
        """After a failure or a refused connection the next server is queried at once; the error has each problem."""

        def circle(asked: dns.message.Message) -> list[bytes]:
            return [reply(asked, ("a.test.", 5, "CNAME", "b.test."), ("b.test.", 5, "CNAME", "a.test."))]

        nobody = Server(self, silent)
        await nobody._port.stopListening()
        bad = [Server(self, fails), Server(self, circle), nobody]
        self.assertEqual(["192.0.2.2"], await self.ask(*bad, Server(self, good("192.0.2.2"))))
        why = await self.refused(self.ask(*bad))
        for said in ("SERVFAIL", "connection refused", "TooLong"):
            self.assertIn(said, why)
        self.assertEqual(3, bad[0].asked)  # once for each question of ours, and without EDNS when no server answers

    async def test_strangers(self) -> None:
        """Messages that do not answer the query are ignored, even from the right server."""

        def noise(asked: dns.message.Message) -> list[bytes]:
            other = make_query("a.test", A)
            other.id = asked.id ^ 1
            return [b"", b"x" * 50, reply(other, ("a.test.", 7, "A", "192.0.2.66")), *good("192.0.2.1")(asked)]

        self.assertEqual(["192.0.2.1"], await self.ask(Server(self, noise)))

    async def test_truncated(self) -> None:
        """A truncated answer is fetched over TCP."""
        server = Server(self, lambda asked: [reply(asked, truncated=True)], good("192.0.2.1"))
        self.assertEqual(["192.0.2.1"], await self.ask(server))
        self.assertEqual((1, 1), (server.asked, server.streams))

    async def test_bad_tcp(self) -> None:
        """A server whose TCP connection is refused, ends, mismatches or is silent has not answered."""
        cut = lambda asked: [reply(asked, truncated=True)]  # noqa: E731
        last = Server(self, good("192.0.2.9"))
        for tcp in (None, lambda asked: [b""], lambda asked: [b"nonsense"]):
            self.assertEqual(["192.0.2.9"], await self.ask(Server(self, cut, tcp), last))
        server = Server(self, cut, silent)
        asked = self.ask(server, last)
        while not server.streams:
            await deferLater(reactor, 0)
        self.clock.advance(NEXT_SERVER_DELAY_S)
        self.assertEqual(["192.0.2.9"], await asked)

    async def test_part(self) -> None:
        """If TCP fails at all servers, the addresses of the truncated answer are used."""

        def part(asked: dns.message.Message) -> list[bytes]:
            return [reply(asked, ("a.test.", 7, "A", "192.0.2.1"), truncated=True)]

        for tcp in (None, lambda asked: [b""]):
            self.assertEqual(["192.0.2.1"], await self.ask(Server(self, part, tcp)))
        server = Server(self, part, silent)
        asked = self.ask(server)
        while not server.streams:
            await deferLater(reactor, 0)
        self.clock.advance(NEXT_SERVER_DELAY_S)
        self.clock.advance(LOOKUP_TIMEOUT_S)
        self.assertEqual(["192.0.2.1"], await asked)

    async def test_cancelled(self) -> None:
        """A cancelled lookup leaves no socket open, neither UDP nor TCP."""
        cut = lambda asked: [reply(asked, truncated=True)]  # noqa: E731
        for server in (Server(self, silent), Server(self, cut, silent)):
            asked = self.ask(server)
            await server.heard
            while server._udp is cut and not server.streams:
                await deferLater(reactor, 0)
            asked.cancel()
            try:
                await asked
            except CancelledError:
                pass
            else:
                self.fail("it was answered")
