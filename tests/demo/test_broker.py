"""Tests for sniproxy.demo.broker."""

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.demo.broker import KEEP_ALIVE_S, BrokerEvent, DemoBroker, owner_name
from sniproxy.demo.topics import Topic
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader, encode_section, read_section

URLS = {
    "broker-1.pulsar.test": "pulsar+ssl://broker-1.pulsar.test:6651",
    "broker-2.pulsar.test": "pulsar+ssl://broker-2.pulsar.test:6651",
}
CONNECT = pb.CommandConnect(client_version="test", protocol_version=21)
METADATA = pb.MessageMetadata(producer_name="p", sequence_id=0, publish_time=0).SerializeToString()


def topic_of(name: str) -> str:
    """A topic owned by the broker with this name."""
    topics = (f"persistent://public/default/t{number}" for number in range(100))
    return next(topic for topic in topics if owner_name(topic, URLS) == name)


OURS = topic_of("broker-1.pulsar.test")
THEIRS = topic_of("broker-2.pulsar.test")


class Client:
    """The client's end of a connection to a broker."""

    def __init__(self, broker: DemoBroker) -> None:
        self.transport = StringTransport()
        self.end = broker.buildProtocol(None)
        self.end.makeConnection(self.transport)
        self.reader = FrameReader()
        self.payloads: list[bytes] = []

    def say(self, *messages: Message, section: bytes = b"") -> list[Message]:
        """Send commands. @return: the broker's answers, without BaseCommand."""
        for message in messages:
            self.end.dataReceived(write(message, section))
        return self.heard()

    def heard(self) -> list[Message]:
        """The broker's commands since the last call."""
        answers = []
        for frame in self.reader.feed(self.transport.value()):
            if frame.section:
                self.payloads.append(bytes(read_section(frame.section).payload))
            [(_, value)] = [pair for pair in read(frame.command).ListFields() if pair[0].name != "type"]
            answers.append(value)
        self.transport.clear()
        return answers

    def publish(self, payload: bytes, producer: int = 0, count: int = 1) -> list[Message]:
        """SEND one message."""
        send = pb.CommandSend(producer_id=producer, sequence_id=7, num_messages=count)
        return self.say(send, section=encode_section(METADATA, payload))

    def lose(self) -> None:
        """Close the client's connection."""
        self.end.connectionLost(Failure(ConnectionDone()))


def subscribe(topic: str = OURS, **keys: int) -> pb.CommandSubscribe:
    return pb.CommandSubscribe(
        topic=topic,
        subscription="s",
        subType=pb.CommandSubscribe.SubType.Name(keys.get("subType", pb.CommandSubscribe.Exclusive)),
        consumer_id=keys.get("consumer_id", 5),
        request_id=2,
        initialPosition=pb.CommandSubscribe.Earliest,
    )


class BrokerTests(SynchronousTestCase):
    """Broker: each test is a conversation."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen: list[BrokerEvent] = []
        self.topics: dict[str, Topic] = {}
        self.broker = DemoBroker("broker-1.pulsar.test", URLS, self.topics, self.clock, self.seen.append)

    def client(self) -> Client:
        """A client that has sent CONNECT."""
        client = Client(self.broker)
        client.say(CONNECT)
        return client

    def producer(self) -> Client:
        """A client with a producer."""
        client = self.client()
        client.say(pb.CommandProducer(topic=OURS, producer_id=0, request_id=1))
        return client

    def test_connect(self) -> None:
        """The answer to CONNECT has the server version, the common protocol version and the maximum message size."""
        [connected] = Client(self.broker).say(CONNECT)
        self.assertEqual(
            connected,
            pb.CommandConnected(
                server_version="sniproxy-stand-in broker-1.pulsar.test",
                protocol_version=20,
                max_message_size=5242880,
            ),
        )

    def test_partitions(self) -> None:
        """Every topic is unpartitioned."""
        [answer] = self.client().say(pb.CommandPartitionedTopicMetadata(topic=OURS, request_id=9))
        self.assertEqual(
            answer, pb.CommandPartitionedTopicMetadataResponse(partitions=0, request_id=9, response="Success")
        )

    def test_lookup(self) -> None:
        """Each broker answers LOOKUP with the owner's URL."""
        for topic, name in ((OURS, "broker-1.pulsar.test"), (THEIRS, "broker-2.pulsar.test")):
            [answer] = self.client().say(pb.CommandLookupTopic(topic=topic, request_id=9))
            self.assertEqual(
                answer,
                pb.CommandLookupTopicResponse(
                    brokerServiceUrlTls=URLS[name], response="Connect", request_id=9, authoritative=True
                ),
            )
        self.assertIn(BrokerEvent("broker-1.pulsar.test", "LOOKUP", THEIRS), self.seen)

    def test_owner(self) -> None:
        """A topic's owner is the same in every run and for any order of the brokers; each broker owns some topics."""
        self.assertEqual(owner_name("persistent://public/default/orders", URLS), "broker-1.pulsar.test")
        self.assertEqual(owner_name(OURS, dict(reversed(URLS.items()))), "broker-1.pulsar.test")

    def test_not_the_owner(self) -> None:
        """A producer or consumer on a broker that does not own the topic gets an error."""
        producer = pb.CommandProducer(topic=THEIRS, producer_id=0, request_id=2)
        for message in (producer, subscribe(THEIRS)):
            [answer] = self.client().say(message)
            assert isinstance(answer, pb.CommandError)
            self.assertEqual((answer.request_id, answer.error), (2, pb.ServiceNotReady))

    def test_produce(self) -> None:
        """A producer gets a name, and a receipt for each message."""
        client = self.client()
        [success] = client.say(pb.CommandProducer(topic=OURS, producer_id=3, request_id=1))
        assert isinstance(success, pb.CommandProducerSuccess)
        self.assertTrue(success.producer_name)
        for entry in (0, 1):
            [receipt] = client.publish(b"hello", producer=3)
            self.assertEqual(
                receipt,
                pb.CommandSendReceipt(
                    producer_id=3,
                    sequence_id=7,
                    highest_sequence_id=0,
                    message_id=pb.MessageIdData(ledgerId=1, entryId=entry),
                ),
            )

    def test_named_producer(self) -> None:
        """A producer keeps its own name."""
        [success] = self.client().say(pb.CommandProducer(topic=OURS, producer_id=3, request_id=1, producer_name="me"))
        assert isinstance(success, pb.CommandProducerSuccess)
        self.assertEqual(success.producer_name, "me")

    def test_consume(self) -> None:
        """A consumer gets as many messages as it permits, unchanged."""
        producer = self.producer()
        producer.publish(b"one")
        producer.publish(b"two")
        client = self.client()
        self.assertEqual(client.say(subscribe()), [pb.CommandSuccess(request_id=2)])
        [message] = client.say(pb.CommandFlow(consumer_id=5, messagePermits=1))
        self.assertEqual(
            message,
            pb.CommandMessage(consumer_id=5, message_id=pb.MessageIdData(ledgerId=1, entryId=0), redelivery_count=0),
        )
        client.say(pb.CommandFlow(consumer_id=5, messagePermits=5))
        producer.publish(b"three")
        client.heard()
        self.assertEqual(client.payloads, [b"one", b"two", b"three"])

    def test_acknowledge(self) -> None:
        """Acknowledged messages are not redelivered to the next consumer; others are."""
        producer = self.producer()
        for payload in (b"one", b"two", b"three"):
            producer.publish(payload)
        first, second = self.client(), self.client()
        first.say(subscribe(), pb.CommandFlow(consumer_id=5, messagePermits=3))
        where = pb.MessageIdData(ledgerId=1, entryId=1)
        ack = pb.CommandAck(consumer_id=5, ack_type=pb.CommandAck.Individual, message_id=[where])
        self.assertEqual(first.say(ack), [])
        first.lose()
        second.say(subscribe(), pb.CommandFlow(consumer_id=5, messagePermits=3))
        self.assertEqual(second.payloads, [b"one", b"three"])

    def test_acknowledge_with_request(self) -> None:
        """An ACK with a request id is answered."""
        client = self.client()
        client.say(subscribe())
        ack = pb.CommandAck(consumer_id=5, ack_type=pb.CommandAck.Cumulative, request_id=77)
        self.assertEqual(client.say(ack), [pb.CommandAckResponse(consumer_id=5, request_id=77)])

    def test_exclusive(self) -> None:
        """An exclusive subscription has one consumer at a time."""
        first, second = self.client(), self.client()
        first.say(subscribe())
        [answer] = second.say(subscribe())
        assert isinstance(answer, pb.CommandError)
        self.assertEqual(answer.error, pb.ConsumerBusy)
        first.say(pb.CommandCloseConsumer(consumer_id=5, request_id=8))
        self.assertEqual(second.say(subscribe()), [pb.CommandSuccess(request_id=2)])

    def test_shared(self) -> None:
        """The consumers of a shared subscription share its messages."""
        clients = self.client(), self.client()
        for client in clients:
            client.say(
                subscribe(subType=pb.CommandSubscribe.Shared),
                pb.CommandFlow(consumer_id=5, messagePermits=9),
            )
        producer = self.producer()
        for payload in (b"one", b"two"):
            producer.publish(payload)
        for client in clients:
            client.heard()
        self.assertEqual([client.payloads for client in clients], [[b"one"], [b"two"]])

    def test_close(self) -> None:
        """Closing and unsubscribing are answered, also a second time."""
        client = self.producer()
        client.say(subscribe())
        for message in (
            pb.CommandCloseProducer(producer_id=0, request_id=3),
            pb.CommandCloseProducer(producer_id=0, request_id=3),
            pb.CommandUnsubscribe(consumer_id=5, request_id=3),
            pb.CommandCloseConsumer(consumer_id=5, request_id=3),
            pb.CommandUnsubscribe(consumer_id=5, request_id=3),
        ):
            self.assertEqual(client.say(message), [pb.CommandSuccess(request_id=3)])
        self.assertEqual(self.topics[OURS].subscriptions, {})

    def test_ping(self) -> None:
        """PING is answered with PONG."""
        self.assertEqual(self.client().say(pb.CommandPing()), [pb.CommandPong()])

    def test_keep_alive(self) -> None:
        """The broker pings every 30 seconds, and closes a connection from which it receives nothing."""
        client = self.client()
        for _ in range(3):
            self.clock.advance(KEEP_ALIVE_S)
            self.assertEqual(client.heard(), [pb.CommandPing()])
            client.say(pb.CommandPong())
        self.clock.advance(KEEP_ALIVE_S)
        self.assertFalse(client.transport.disconnecting)
        self.clock.advance(KEEP_ALIVE_S)
        self.assertTrue(client.transport.disconnecting)
        client.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unknown_command(self) -> None:
        """An unknown command is ignored; the connection stays open."""
        client = self.client()
        client.end.dataReceived(bytes.fromhex("00000009 00000005 0814 a20100"))
        self.assertEqual(client.heard(), [])
        self.assertEqual(client.say(pb.CommandPing()), [pb.CommandPong()])

    def test_bad_bytes(self) -> None:
        """An invalid frame, an invalid command, and one out of order close the connection; later bytes are ignored."""
        ping = write(pb.CommandPing())
        send = pb.CommandSend(producer_id=0, sequence_id=0)
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n",
            bytes.fromhex("00000006 00000002 ffff"),
            write(CONNECT),
            write(send, encode_section(METADATA, b"no such producer")),
        ):
            client = self.client()
            client.end.dataReceived(ping + bad + ping)
            client.end.dataReceived(ping)
            self.assertTrue(client.transport.disconnecting, bad)
            self.assertEqual(client.heard(), [pb.CommandPong()])

    def test_bad_section(self) -> None:
        """A message with an invalid payload section is not stored."""
        client = self.producer()
        client.say(pb.CommandSend(producer_id=0, sequence_id=0), section=b"\x00\x00\x00\x09")
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(self.topics, {})

    def test_connect_first(self) -> None:
        """A command before CONNECT gets no answer."""
        client = Client(self.broker)
        self.assertEqual(client.say(pb.CommandPing()), [])
        self.assertTrue(client.transport.disconnecting)

    def test_consumer_on_its_way_out(self) -> None:
        """A consumer whose connection is closing gets nothing; the next consumer does."""
        client, producer = self.client(), self.producer()
        client.say(subscribe(), pb.CommandFlow(consumer_id=5, messagePermits=9))
        client.end.dataReceived(b"\xff" * 8)
        producer.publish(b"late")
        self.assertEqual(client.heard(), [])
        client.lose()
        second = self.client()
        second.say(subscribe(), pb.CommandFlow(consumer_id=5, messagePermits=9))
        self.assertEqual(second.payloads, [b"late"])

    @given(st.lists(st.binary(max_size=30), max_size=4))
    def test_any_command(self, commands: list[bytes]) -> None:
        """Any commands raise nothing; the connection stays open or is closed."""
        client = self.producer()
        for command in commands:
            size = len(command)
            client.end.dataReceived((size + 4).to_bytes(4, "big") + size.to_bytes(4, "big") + command)
        client.lose()
        self.assertEqual(self.broker.connections, set())

    def test_told(self) -> None:
        """The optional observer gets each command."""
        client = self.producer()
        client.publish(b"hello")
        client.lose()
        self.assertEqual([seen.command for seen in self.seen], ["CONNECT", "PRODUCER", "SEND", "closed"])
        quiet = Client(DemoBroker("broker-1.pulsar.test", URLS, {}, self.clock))
        self.assertEqual(len(quiet.say(CONNECT)), 1)
