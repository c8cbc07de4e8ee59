"""The samples of docs/howto/faults.md do what the guide says, with the embedded broker."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sniproxy.config.parser import parse
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, fields_of, read, type_name, write
from sniproxy.pulsar.frames import FrameReader, encode_section
from sniproxy.testing.pulsar import PulsarCluster
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, in_thread

GUIDE = Path(__file__).parent.parent / "docs" / "howto" / "faults.md"
if not GUIDE.exists():
    skip = "docs/ is not here: the tests run apart from the sources"
TOPIC = "persistent://public/default/orders"
CONNECT = pb.CommandConnect(client_version="test", protocol_version=20)

Found = tuple[str, Any]


class Peer:
    """A client that sends commands and reads answers. Call its methods in a thread."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=TIMEOUT_S)
        self._reader = FrameReader()
        self._read: list[Found] = []

    def send(self, *messages: Any) -> None:
        self.sock.sendall(b"".join(map(write, messages)))

    def answer(self) -> Found:
        """The next answer. @raise EOFError: the connection has ended."""
        while not self._read:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            for frame in self._reader.feed(data):
                command = read(frame.command)
                self._read.append((type_name(command), fields_of(command)))
        return self._read.pop(0)

    def until(self, last: Callable[[Found], bool]) -> list[Found]:
        """The answers up to one of a kind."""
        found = [self.answer()]
        while not last(found[-1]):
            found.append(self.answer())
        return found

    @property
    def rest(self) -> bytes:
        """The beginning of a frame."""
        return self._reader.rest


class GuideTests(SocketTestCase):
    """The samples, in their order."""

    async def start(self, number: int) -> Proxy:
        """Run a sample between a client and the embedded broker."""
        cluster = PulsarCluster(1, reactor=reactor)
        cluster.start()
        self.addCleanup(cluster.stop)
        ((host, port),) = cluster.addresses.values()
        samples = re.findall(r"^```toml\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
        text = samples[number].replace("tcp:6655:", "tcp:0:").replace("127.0.0.1:6650", f"{host}:{port}")
        self.clock = HandClock()
        proxy = Proxy(self, text, self.clock)
        # The proxy's port is known now, for the URLs.
        own = text.replace("127.0.0.1:6655", f"127.0.0.1:{proxy.port}")
        self.assertIsNone(proxy.service.reload(lambda: parse(own, "guide.toml")))
        return proxy

    def connect(self, proxy: Proxy) -> Peer:
        peer = Peer(("127.0.0.1", proxy.port))
        self.addCleanup(peer.sock.close)
        return peer

    async def advance(self, proxy: Proxy, applied: int, seconds: float) -> None:
        """Let time pass once so many faults were applied."""
        while proxy.service.view.faults.counts.total() < applied:
            await in_thread(int)  # a round of the reactor
        self.clock.advance(seconds)

    async def test_first(self) -> None:
        """The third answer to a lookup comes five seconds late, and all name the proxy."""
        proxy = await self.start(0)
        peer = self.connect(proxy)
        await in_thread(peer.send, CONNECT)
        self.assertEqual("CONNECTED", (await in_thread(peer.answer))[0])
        for number in (1, 2, 3):
            await in_thread(peer.send, pb.CommandLookupTopic(topic=TOPIC, request_id=number))
            if number == 3:
                await self.advance(proxy, 3, 4.9)
                peer.sock.setblocking(False)
                self.assertRaises(BlockingIOError, peer.sock.recv, 1)
                peer.sock.settimeout(TIMEOUT_S)
                self.clock.advance(0.1)
            name, found = await in_thread(peer.answer)
            self.assertEqual(("LOOKUP_RESPONSE", number), (name, found.request_id))
        self.assertEqual({"redirect": 2, "delay": 1}, dict(proxy.service.view.faults.counts))

    async def test_first_leads_back(self) -> None:
        """Answers to lookups name the proxy as the owner."""
        proxy = await self.start(0)
        peer = self.connect(proxy)
        await in_thread(peer.send, CONNECT, pb.CommandLookupTopic(topic=TOPIC, request_id=1))
        _, (_, found) = await in_thread(peer.until, lambda one: one[0] == "LOOKUP_RESPONSE")
        self.assertEqual(f"pulsar://127.0.0.1:{proxy.port}", found.brokerServiceUrl)
        self.assertEqual(found.Connect, found.response)

    async def test_commands(self) -> None:
        """No PONG comes, receipts are lost, two producers are refused, and the third is closed."""
        proxy = await self.start(1)
        peer = self.connect(proxy)
        await in_thread(peer.send, CONNECT, pb.CommandPing())
        self.assertEqual("CONNECTED", (await in_thread(peer.answer))[0])
        for number in (1, 2, 3):
            await in_thread(peer.send, pb.CommandProducer(topic=TOPIC, producer_id=number, request_id=number))
        found = await in_thread(peer.until, lambda one: one[0] == "PRODUCER_SUCCESS")
        self.assertEqual(["ERROR", "ERROR", "PRODUCER_SUCCESS"], [name for name, _ in found])
        self.assertEqual(pb.ServerError.ServiceNotReady, found[0][1].error)
        for number in range(20):
            metadata = pb.MessageMetadata(producer_name="p", sequence_id=number, publish_time=1)
            sent = pb.CommandSend(producer_id=3, sequence_id=number, num_messages=1)
            message = write(sent, encode_section(metadata.SerializeToString(), b"x"))
            await in_thread(peer.sock.sendall, message)
        await in_thread(peer.send, pb.CommandProducer(topic=TOPIC, producer_id=4, request_id=4))
        found = await in_thread(peer.until, lambda one: one[0] == "PRODUCER_SUCCESS")
        names = [name for name, _ in found]
        closed = found[names.index("CLOSE_PRODUCER")][1]
        self.assertEqual((3, f"pulsar://127.0.0.1:{proxy.port}"), (closed.producer_id, closed.assignedBrokerServiceUrl))
        counts = proxy.service.view.faults.counts
        self.assertEqual((1, 2, 1), (counts["close_producer"], counts["error"], names.count("CLOSE_PRODUCER")))
        lost = counts["drop"] - 1  # the PONG
        self.assertEqual((20 - lost, True), (names.count("SEND_RECEIPT"), 0 < lost < 20))

    async def test_script(self) -> None:
        """Two connections are answered late, the third is reset, the fourth is cut; the fifth is served."""
        proxy = await self.start(2)
        for number in (1, 2):
            late = self.connect(proxy)
            await in_thread(late.send, CONNECT)
            await self.advance(proxy, number, 2.5)
            self.assertEqual("CONNECTED", (await in_thread(late.answer))[0])
        for error in (ConnectionResetError, EOFError):
            peer = self.connect(proxy)
            await in_thread(peer.send, CONNECT)
            with self.assertRaises(error):
                await in_thread(peer.answer)
        self.assertGreater(len(peer.rest), 4)
        self.assertRaises(CommandError, read, peer.rest[8:])
        served = self.connect(proxy)
        await in_thread(served.send, CONNECT)
        self.assertEqual("CONNECTED", (await in_thread(served.answer))[0])
