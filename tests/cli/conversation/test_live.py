"""Tests for sniproxy.cli.conversation.live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from sniproxy.cli.conversation import live
from sniproxy.cli.conversation.live import Relay
from sniproxy.cli.conversation.output import Output
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.textform import read_conversation
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import Frame, FrameReader
from tests.cli.conversation.demo import TIMEOUT_S, TOPIC, DemoCase, reactor


class Peer(Protocol):
    """One end: ``got`` has its bytes, ``lost`` fires when the connection is closed."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.lost: Deferred[None] = Deferred()
        self.made: Deferred[None] = Deferred()
        self._wanted: list[tuple[int, Deferred[None]]] = []

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        for wanted in list(self._wanted):
            if len(self.got) >= wanted[0]:
                self._wanted.remove(wanted)
                wanted[1].callback(None)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)

    async def has(self, size: int) -> bytes:
        """Wait for this many bytes."""
        if len(self.got) < size:
            waiting: Deferred[None] = Deferred()
            self._wanted.append((size, waiting))
            await waiting.addTimeout(TIMEOUT_S, reactor)
        return bytes(self.got)

    async def frames(self, count: int) -> list[Frame]:
        """Wait for this many frames."""
        while len(found := FrameReader().feed(bytes(self.got))) < count:
            await self.has(len(self.got) + 1)
        return found


class RelayTests(DemoCase):
    """Relay."""

    async def start(self, **settings: Any) -> None:
        """Start a relay to a broker that is a `Peer`."""
        self.said: list[str] = []
        self.output = Output(str(Path(self.mktemp())), frozenset(), self.said.append)
        self.file = Path(self.output._name)
        self.brokers: list[Peer] = []

        def broker() -> Peer:
            self.brokers.append(Peer())
            return self.brokers[-1]

        there = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(broker))
        self.addCleanup(there.stopListening)
        address = there.getHost()
        assert isinstance(address, IPv4Address)
        self.target = ("127.0.0.1", address.port)
        self.relay = Relay(reactor, self.output, Recording(), self.said.append, **settings)
        here = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.relay.factory(self.target))
        self.addCleanup(here.stopListening)
        self.addCleanup(self.relay.stop)
        address = here.getHost()
        assert isinstance(address, IPv4Address)
        self.port = address.port
        self.relay.listen_for(self.target, self.port)

    async def connect(self, port: int = 0) -> Peer:
        """A client of the relay."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port or self.port)
        client = await endpoint.connect(Factory.forProtocol(Peer))
        assert isinstance(client, Peer)
        self.addCleanup(client.transport.abortConnection)  # type: ignore[union-attr]
        return client

    async def exchange(self, *answers: Message) -> list[Any]:
        """Connect, let the broker send answers. @return: what the client got."""
        self.client = await self.connect()
        assert self.client.transport is not None
        ping = write(pb.CommandPing())
        self.client.transport.write(ping)
        await reactor_until(lambda: bool(self.brokers))
        await self.brokers[-1].has(len(ping))
        sent = b"".join(write(each) for each in answers)
        self.brokers[-1].transport.write(sent + ping)  # type: ignore[union-attr]
        frames = await self.client.frames(len(answers) + 1)
        return [fields_of(read(frame.command)) for frame in frames[:-1]]

    async def test_demo(self) -> None:
        """A client's messages arrive, and both sides are in the file, with the URL that the broker sent."""
        file = await self.record()
        found = read_conversation(file.read_text().splitlines())
        commands = [line.entry["command"] for line in found.lines]
        for command in ("CONNECT", "LOOKUP_RESPONSE", "SUBSCRIBE", "SEND", "MESSAGE", "ACK", "SUCCESS"):
            self.assertIn(command, commands)
        [answer] = [line.entry["fields"] for line in found.lines if line.entry["command"] == "LOOKUP_RESPONSE"]
        self.assertEqual(f"pulsar://{found.broker}", answer["brokerServiceUrl"])
        self.assertEqual("client", found.end)
        self.assertEqual(0o600, file.stat().st_mode & 0o777)
        self.assertIn(f"{TOPIC}; ended: client", self.error)

    async def test_urls(self) -> None:
        """Each broker of an answer gets a port here; TLS, unreadable URLs and proxies' answers are left alone."""
        await self.start()
        own = f"pulsar://127.0.0.1:{self.target[1]}"
        found = await self.exchange(
            pb.CommandLookupTopicResponse(request_id=1, brokerServiceUrl=own, brokerServiceUrlTls="pulsar+ssl://b:1"),
            pb.CommandLookupTopicResponse(request_id=2, brokerServiceUrl="pulsar://127.0.0.1:9"),
            pb.CommandLookupTopicResponse(request_id=3, brokerServiceUrl="pulsar://127.0.0.1:9"),
            pb.CommandLookupTopicResponse(request_id=4, brokerServiceUrl=own, proxy_through_service_url=True),
            pb.CommandLookupTopicResponse(request_id=5, brokerServiceUrl="pulsar://:::"),
        )
        urls = [each.brokerServiceUrl for each in found]
        self.assertEqual(f"pulsar://127.0.0.1:{self.port}", urls[0])
        self.assertEqual("pulsar+ssl://b:1", found[0].brokerServiceUrlTls)
        self.assertNotIn(urls[1], (urls[0], "pulsar://127.0.0.1:9"))
        self.assertEqual([urls[1], own, "pulsar://:::"], urls[2:])
        self.assertIn("127.0.0.1:9 is relayed at ", self.said[0])
        unreachable = await self.connect(int(urls[1].rpartition(":")[2]))
        await unreachable.lost.addTimeout(TIMEOUT_S, reactor)
        self.assertTrue(any(each.startswith("cannot connect to 127.0.0.1:9") for each in self.said), self.said)

    async def test_keep_urls(self) -> None:
        """On request, answers pass unchanged."""
        await self.start(keep_urls=True)
        [found] = await self.exchange(pb.CommandLookupTopicResponse(request_id=2, brokerServiceUrl="pulsar://b:9"))
        self.assertEqual("pulsar://b:9", found.brokerServiceUrl)

    async def test_bounds(self) -> None:
        """Without a free port, or with too many brokers, URLs are kept."""
        await self.start()

        def refuse(*args: object, **keys: object) -> None:
            raise CannotListenError("127.0.0.1", 0, OSError("no port"))

        self.patch(self.relay, "reactor", type("NoPorts", (), {"listenTCP": staticmethod(refuse)}))
        self.assertEqual("pulsar://b:9", self.relay.url_here("pulsar://b:9", "127.0.0.1"))
        self.assertIn("is not relayed", self.said[-1])
        self.patch(live, "MAX_TARGETS", 1)
        self.assertEqual("pulsar://b:8", self.relay.url_here("pulsar://b:8", "127.0.0.1"))

    async def test_not_pulsar(self) -> None:
        """Other bytes pass unchanged, and the reason why they are not recorded is reported."""
        await self.start(connections=1)
        client = await self.connect()
        assert client.transport is not None
        client.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        await reactor_until(lambda: bool(self.brokers))
        await self.brokers[0].has(18)
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100
        self.brokers[0].transport.write(answer)  # type: ignore[union-attr]
        self.assertEqual(answer, await client.has(len(answer)))
        self.brokers[0].transport.write(b"more")  # type: ignore[union-attr]
        self.assertEqual(answer + b"more", await client.has(len(answer) + 4))
        self.brokers[0].transport.loseConnection()  # type: ignore[union-attr]
        await client.lost.addTimeout(TIMEOUT_S, reactor)
        await self.relay.done.addTimeout(TIMEOUT_S, reactor)
        self.assertIn("not Pulsar, from the client", self.said[0])
        self.assertFalse(self.file.exists())
        self.relay.finish(None)

    async def test_unwritable(self) -> None:
        """A file that cannot be written ends the recording."""
        await self.start()
        self.output._name = "/nowhere/at/all"
        client = await self.connect()
        assert client.transport is not None
        client.transport.write(write(pb.CommandPing()))
        with self.assertRaises(CommandFailed) as caught:
            await self.relay.done.addTimeout(TIMEOUT_S, reactor)
        self.assertIn("cannot write /nowhere/at/all", str(caught.exception))

    async def test_disk_full(self) -> None:
        """A disk that is full at the end of a connection ends the recording, too."""
        await self.start(connections=1)
        await self.exchange()

        def refuse(number: int, name: str, line: str) -> None:
            raise CommandFailed("no space")

        self.patch(self.output, "write", refuse)
        self.client.transport.loseConnection()  # type: ignore[union-attr]
        with self.assertRaises(CommandFailed):
            await self.relay.done.addTimeout(TIMEOUT_S, reactor)

    async def test_unreadable_command(self) -> None:
        """A command that cannot be read passes unchanged, and so does all that follows."""
        await self.start()
        await self.exchange()
        broken = b"\0\0\0\x07\0\0\0\x03\x08\x18\x0b"
        before = len(self.client.got)
        self.brokers[-1].transport.write(broken + write(pb.CommandPong()))  # type: ignore[union-attr]
        whole = broken + write(pb.CommandPong())
        self.assertEqual(whole, (await self.client.has(before + len(whole)))[before:])

    async def test_late_target(self) -> None:
        """A target that answers after the client left is closed."""
        await self.start()
        end = live.ClientEnd(self.relay, self.target)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(lambda: end))
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        client = await self.connect(address.port)
        await reactor_until(lambda: bool(self.brokers))
        connected: list[object] = []
        broker = live.BrokerEnd(end)
        self.patch(broker, "stop", lambda: connected.append(broker))
        end.stop("client")
        end._connected(broker)
        self.assertEqual([broker], connected)
        end.dataReceived(b"late")
        await client.lost.addTimeout(TIMEOUT_S, reactor)

    async def test_client_leaves(self) -> None:
        """A client that leaves before the target answers is dropped, and its dial given up."""
        await self.start(connections=1)
        end = live.ClientEnd(self.relay, ("192.0.2.1", 9))
        factory = Factory.forProtocol(lambda: end)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        await self.connect(address.port)
        await reactor_until(lambda: end in self.relay._open)
        end.stop("client")
        end.stop("again")
        await self.relay.done.addTimeout(TIMEOUT_S, reactor)
        self.assertEqual([], self.said)

    def test_addresses(self) -> None:
        """An address that is no IP address is shown as it is."""
        self.assertEqual("x", live._text("x"))  # type: ignore[arg-type]


async def reactor_until(condition: Any) -> None:
    """Let the reactor run until a condition holds, at most C{TIMEOUT_S}."""
    deadline = reactor.seconds() + TIMEOUT_S
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError("the condition does not hold")
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
