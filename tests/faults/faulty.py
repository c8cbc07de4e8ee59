"""A proxy with faults between a client's and a broker's socket, for the tests of faults."""

from __future__ import annotations

import socket
from typing import Any

from google.protobuf.message import Message

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, type_name, write
from sniproxy.pulsar.frames import FrameReader, encode_section
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import HandClock, SocketTestCase, in_thread

TOPIC = "persistent://public/default/orders"
CONNECT = write(pb.CommandConnect(client_version="test"))
CONNECTED = write(pb.CommandConnected(server_version="test"))
PING = write(pb.CommandPing())
PONG = write(pb.CommandPong())


def lookup(request_id: int, topic: str = TOPIC) -> bytes:
    """A client's lookup."""
    return write(pb.CommandLookupTopic(topic=topic, request_id=request_id))


def located(request_id: int, url: str = "pulsar://a.test:6650") -> bytes:
    """A broker's answer to a lookup."""
    kind = pb.CommandLookupTopicResponse
    return write(kind(request_id=request_id, response=kind.Connect, brokerServiceUrl=url, authoritative=True))


def producer(number: int, request_id: int, topic: str = TOPIC) -> bytes:
    """A client's request for a producer."""
    return write(pb.CommandProducer(topic=topic, producer_id=number, request_id=request_id))


def subscribe(number: int, request_id: int, topic: str = TOPIC) -> bytes:
    """A client's request for a consumer."""
    shared = pb.CommandSubscribe.Shared
    return write(
        pb.CommandSubscribe(topic=topic, subscription="s", subType=shared, consumer_id=number, request_id=request_id)
    )


def send(number: int, sequence: int, payload: bytes = b"payload") -> bytes:
    """A client's message."""
    return write(pb.CommandSend(producer_id=number, sequence_id=sequence), encode_section(b"", payload))


def receipt(number: int, sequence: int) -> bytes:
    """A broker's receipt of a message."""
    return write(pb.CommandSendReceipt(producer_id=number, sequence_id=sequence))


def commands(data: bytes) -> list[tuple[str, Any]]:
    """The commands of whole frames: name of the type, and fields."""
    found = []
    for frame in FrameReader().feed(data):
        command = read(frame.command)
        found.append((type_name(command), fields_of(command)))
    return found


def only(data: bytes) -> Any:
    """The fields of the only command."""
    ((_, fields),) = commands(data)
    return fields


def same(one: Message, data: bytes) -> bool:
    """Whether these bytes are this command."""
    return write(one) == data


def fault(**values: Any) -> str:
    """A C{[[fault]]} table. A key C{sender} is C{from}."""
    lines = [f"{'from' if key == 'sender' else key} = {value!r}" for key, value in values.items()]
    return "\n".join(["[[fault]]", *lines, ""]).replace("'", '"')


async def until_applied(proxy: Proxy, count: int) -> None:
    """Let the reactor run until so many faults were applied. The test's timeout bounds it."""
    while proxy.service.view.faults.counts.total() < count:
        await in_thread(int)


class FaultCase(SocketTestCase):
    """Opens tunnels through a plaintext listener with faults. The clock is set by hand."""

    def setUp(self) -> Any:
        self.clock = HandClock()
        return super().setUp()

    def proxy(self, text: str) -> None:
        """Start a proxy with these tables."""
        self.backend = Backend(self)
        listener = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\nplaintext = true\n'
            f'target = "{self.backend.address}"\n'
        )
        self.through = Proxy(self, listener + text, self.clock)

    async def tunnel(self) -> tuple[socket.socket, socket.socket]:
        """The sockets of a client and of its broker."""
        client = self.through.connect()
        self.addCleanup(client.close)
        broker = await in_thread(self.backend.accept)
        self.addCleanup(broker.close)
        return client, broker

    async def open(self, text: str) -> tuple[socket.socket, socket.socket]:
        """Start a proxy, and open a tunnel."""
        self.proxy(text)
        return await self.tunnel()
