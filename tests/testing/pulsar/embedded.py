"""The client's end of a connection to an embedded broker, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader, encode_section, read_section
from sniproxy.testing.pulsar import EmbeddedConnection
from sniproxy.testing.pulsar.broker import BrokerEvent, EmbeddedBroker
from sniproxy.testing.pulsar.state import ClusterState, owner_name

B1, B2 = "broker-1.pulsar.test", "broker-2.pulsar.test"
URLS = {name: f"pulsar+ssl://{name}:6651" for name in (B1, B2)}
CONNECT = pb.CommandConnect(client_version="test", protocol_version=21)
METADATA = pb.MessageMetadata(producer_name="p", sequence_id=0, publish_time=0).SerializeToString()


def topic_of(name: str) -> str:
    """A topic owned by the broker with this name."""
    topics = (f"persistent://public/default/t{number}" for number in range(100))
    return next(topic for topic in topics if owner_name(topic, URLS) == name)


OURS, THEIRS = topic_of(B1), topic_of(B2)


class HalfClosable(StringTransport):
    """A transport that notes what happens to it."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Client:
    """The client's end of a connection to a broker."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.transport = HalfClosable()
        connection = broker.factory.buildProtocol(None)
        assert connection is not None
        self.end: EmbeddedConnection = connection
        self.end.makeConnection(self.transport)
        self.reader = FrameReader()
        self.payloads: list[bytes] = []

    def say(self, *messages: Message, section: bytes = b"") -> list[Any]:
        """Send commands. @return: the broker's answers, without BaseCommand."""
        for message in messages:
            self.end.dataReceived(write(message, section))
        return self.heard()

    def heard(self) -> list[Any]:
        """The broker's commands since the last call."""
        answers = []
        for frame in self.reader.feed(self.transport.value()):
            if frame.section:
                self.payloads.append(bytes(read_section(frame.section).payload))
            [(_, value)] = [pair for pair in read(frame.command).ListFields() if pair[0].name != "type"]
            answers.append(value)
        self.transport.clear()
        return answers

    def publish(self, payload: bytes, producer: int = 0, count: int = 1, sequence: int = 7, **more: Any) -> list[Any]:
        """SEND one message. @param more: further fields of its metadata."""
        metadata = pb.MessageMetadata(producer_name="p", sequence_id=sequence, publish_time=more.pop("time", 0))
        section = encode_section(metadata.SerializeToString() + more.pop("raw", b""), payload)
        return self.say(
            pb.CommandSend(producer_id=producer, sequence_id=sequence, num_messages=count, **more), section=section
        )

    def lose(self) -> None:
        """Close the client's connection."""
        self.end.connectionLost(Failure(ConnectionDone()))


def subscribe(topic: str = OURS, name: str = "s", **keys: Any) -> pb.CommandSubscribe:
    """SUBSCRIBE of the consumer 5, from the earliest message."""
    fields: dict[str, Any] = {
        "subType": pb.CommandSubscribe.Exclusive,
        "consumer_id": 5,
        "request_id": 2,
        "initialPosition": pb.CommandSubscribe.Earliest,
    }
    return pb.CommandSubscribe(topic=topic, subscription=name, **{**fields, **keys})


def flow(permits: int = 9, consumer: int = 5) -> pb.CommandFlow:
    """FLOW."""
    return pb.CommandFlow(consumer_id=consumer, messagePermits=permits)


def ack(entries: Sequence[int], kind: Any = pb.CommandAck.Individual, **more: Any) -> pb.CommandAck:
    """ACK of the consumer 5."""
    places = [pb.MessageIdData(ledgerId=1, entryId=entry) for entry in entries]
    return pb.CommandAck(consumer_id=5, ack_type=kind, message_id=places, **more)


class BrokerCase(SynchronousTestCase):
    """One broker of a cluster of two, with a clock of the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen: list[BrokerEvent] = []
        self.state = ClusterState(urls=dict(URLS))
        self.broker = EmbeddedBroker(B1, self.state, self.clock, self.seen.append)

    def client(self) -> Client:
        """A client that has sent CONNECT."""
        client = Client(self.broker)
        client.say(CONNECT)
        return client

    def producer(self, topic: str = OURS, **more: Any) -> Client:
        """A client with a producer."""
        client = self.client()
        client.say(pb.CommandProducer(topic=topic, producer_id=0, request_id=1, **more))
        return client

    def consumer(self, permits: int = 9, **keys: Any) -> Client:
        """A client with a consumer. @param keys: fields of SUBSCRIBE."""
        client = self.client()
        client.say(subscribe(**keys), flow(permits))
        return client
