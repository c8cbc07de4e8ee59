"""A small in-memory Pulsar broker: real clients can produce and consume.

It owns some topics of a cluster, and answers lookups for all of them. It has no partitioned topics, schemas,
authorization or disk. It logs and ignores unknown commands.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import cast

from attrs import frozen
from google.protobuf.message import Message
from twisted.internet import protocol
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.demo.topics import DemoConsumer, Stored, Subscription, Topic
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, read, type_name, write
from sniproxy.pulsar.frames import Frame, FrameError, FrameReader, read_section

#: Seconds between two PINGs; the default of real brokers.
KEEP_ALIVE_S = 30.0

_MAX_MESSAGE_BYTES = 5 * 1024 * 1024
_PROTOCOL_VERSION = 20


@frozen
class BrokerEvent:
    """A command that a broker received or sent: the name of the broker, the command, and the topic or client."""

    broker: str
    command: str
    subject: str


def owner_name(topic: str, brokers: Mapping[str, str]) -> str:
    """The name of the broker that owns a topic. Deterministic for a topic and a set of brokers."""
    names = sorted(brokers)
    return names[zlib.crc32(topic.encode()) % len(names)]


class DemoBroker(protocol.ServerFactory):
    """One broker of a cluster.

    ``brokers``: the URL of each broker of the cluster, by name; complete before the first client connects.
    ``topics``: the topics of the cluster. ``on_event``: called with each `BrokerEvent`.
    """

    noisy = False

    def __init__(
        self,
        name: str,
        brokers: Mapping[str, str],
        topics: dict[str, Topic],
        clock: IReactorTime,
        on_event: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        self.name = name
        self.brokers = brokers
        self.topics = topics
        self.clock = clock
        self._on_event = on_event
        self.connections: set[DemoConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> DemoConnection:
        """The protocol of a new connection."""
        return DemoConnection(self, f"{addr.host}:{addr.port}" if isinstance(addr, IPv4Address) else str(addr))

    def report(self, command: str, subject: str) -> None:
        """Report a command to the observer, if there is one."""
        if self._on_event is not None:
            self._on_event(BrokerEvent(self.name, command, subject))

    def topic(self, name: str) -> Topic:
        """A topic of this broker, created on first use."""
        if name not in self.topics:
            self.topics[name] = Topic(ledger=len(self.topics) + 1)
        return self.topics[name]

    def stop(self) -> Deferred[list[None]]:
        """Close all connections. @return: fires when they are closed."""
        ends = []
        for connection in list(self.connections):
            ends.append(connection.ended)
            connection.end()
        return gatherResults(ends)


class DemoConnection(protocol.Protocol):
    """The connection of one client to a broker."""

    _log = Logger()

    def __init__(self, broker: DemoBroker, client: str) -> None:
        self.ended: Deferred[None] = Deferred()
        self._broker = broker
        self._client = client
        self._reader = FrameReader()
        self._connected = False
        self._closing = False
        self._received = True
        self._producers: dict[int, str] = {}
        self._consumers: dict[int, tuple[Subscription, DemoConsumer]] = {}
        self._keep_alive = LoopingCall(self._ping)
        self._keep_alive.clock = broker.clock

    def connectionMade(self) -> None:
        self._broker.connections.add(self)
        self._keep_alive.start(KEEP_ALIVE_S, now=False)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._closing = True
        self._keep_alive.stop()
        self._broker.connections.discard(self)
        for consumer_id in list(self._consumers):
            self._detach(consumer_id)
        if self._connected:
            self._broker.report("closed", self._client)
        self.ended.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._received = True
        if self._closing:
            return
        try:
            for frame in self._reader.each(data):
                self._handle(frame)
        except (FrameError, CommandError) as error:
            self._drop(str(error))

    def end(self) -> None:
        """Abort the connection."""
        self._closing = True
        cast(ITCPTransport, self.transport).abortConnection()

    def _drop(self, reason: str) -> None:
        assert self.transport is not None
        self._log.info(
            "{broker}: closing the connection of {client}: {reason}",
            broker=self._broker.name,
            client=self._client,
            reason=reason,
        )
        self._closing = True
        self.transport.loseConnection()

    def _ping(self) -> None:
        if not self._received:
            self._drop(f"no answer to PING within {KEEP_ALIVE_S:.0f} s")
            return
        self._received = False
        self._send(pb.CommandPing())

    def _send(self, message: Message, section: bytes = b"") -> None:
        # Messages may still be delivered while the connection is closing.
        if not self._closing:
            assert self.transport is not None
            self.transport.write(write(message, section))

    def _refuse(self, request_id: int, error: pb.ServerError, message: str) -> None:
        self._send(pb.CommandError(request_id=request_id, error=error, message=message))

    def _handle(self, frame: Frame) -> None:
        command = read(frame.command)
        if not self._connected and command.type != pb.BaseCommand.CONNECT:
            raise CommandError(f"{type_name(command)} before CONNECT")
        match command.type:
            case pb.BaseCommand.CONNECT:
                self._connect(command.connect)
            case pb.BaseCommand.PARTITIONED_METADATA:
                self._partitions(command.partitionMetadata)
            case pb.BaseCommand.LOOKUP:
                self._lookup(command.lookupTopic)
            case pb.BaseCommand.PRODUCER:
                self._produce(command.producer)
            case pb.BaseCommand.SEND:
                self._store(command.send, frame.section)
            case pb.BaseCommand.SUBSCRIBE:
                self._subscribe(command.subscribe)
            case pb.BaseCommand.FLOW:
                self._flow(command.flow)
            case pb.BaseCommand.ACK:
                self._acknowledge(command.ack)
            case pb.BaseCommand.CLOSE_PRODUCER:
                self._producers.pop(command.close_producer.producer_id, None)
                self._send(pb.CommandSuccess(request_id=command.close_producer.request_id))
            case pb.BaseCommand.CLOSE_CONSUMER:
                self._detach(command.close_consumer.consumer_id)
                self._send(pb.CommandSuccess(request_id=command.close_consumer.request_id))
            case pb.BaseCommand.UNSUBSCRIBE:
                self._unsubscribe(command.unsubscribe)
            case pb.BaseCommand.PING:
                self._send(pb.CommandPong())
            case pb.BaseCommand.PONG:
                pass
            case _:
                self._log.info(
                    "{broker}: unsupported command {command}", broker=self._broker.name, command=type_name(command)
                )

    def _connect(self, connect: pb.CommandConnect) -> None:
        if self._connected:
            raise CommandError("a second CONNECT")
        self._connected = True
        self._broker.report("CONNECT", self._client)
        self._send(
            pb.CommandConnected(
                server_version=f"sniproxy-stand-in {self._broker.name}",
                protocol_version=min(connect.protocol_version, _PROTOCOL_VERSION),
                max_message_size=_MAX_MESSAGE_BYTES,
            )
        )

    def _partitions(self, request: pb.CommandPartitionedTopicMetadata) -> None:
        self._send(
            pb.CommandPartitionedTopicMetadataResponse(
                partitions=0,
                request_id=request.request_id,
                response=pb.CommandPartitionedTopicMetadataResponse.Success,
            )
        )

    def _lookup(self, request: pb.CommandLookupTopic) -> None:
        self._broker.report("LOOKUP", request.topic)
        url = self._broker.brokers[owner_name(request.topic, self._broker.brokers)]
        answer = pb.CommandLookupTopicResponse(
            response=pb.CommandLookupTopicResponse.Connect,
            request_id=request.request_id,
            authoritative=True,
        )
        if url.startswith("pulsar+ssl:"):
            answer.brokerServiceUrlTls = url
        else:
            answer.brokerServiceUrl = url
        self._send(answer)

    def _owns(self, topic: str, request_id: int) -> bool:
        """Whether this broker owns the topic. If not, sends an error, after which clients repeat the lookup."""
        if owner_name(topic, self._broker.brokers) == self._broker.name:
            return True
        self._refuse(request_id, pb.ServiceNotReady, f"{self._broker.name} does not serve {topic}")
        return False

    def _produce(self, request: pb.CommandProducer) -> None:
        if not self._owns(request.topic, request.request_id):
            return
        self._broker.report("PRODUCER", request.topic)
        self._producers[request.producer_id] = request.topic
        name = request.producer_name or f"stand-in-{self._client}-{request.producer_id}"
        self._send(pb.CommandProducerSuccess(request_id=request.request_id, producer_name=name, schema_version=b""))

    def _store(self, send: pb.CommandSend, section: bytes) -> None:
        # Validate the section, or consumers would fail to parse it.
        read_section(section)
        if send.producer_id not in self._producers:
            raise CommandError(f"SEND for unknown producer {send.producer_id}")
        name = self._producers[send.producer_id]
        topic = self._broker.topic(name)
        entry = topic.publish(section, max(1, send.num_messages))
        self._broker.report("SEND", name)
        self._send(
            pb.CommandSendReceipt(
                producer_id=send.producer_id,
                sequence_id=send.sequence_id,
                highest_sequence_id=send.highest_sequence_id,
                message_id=pb.MessageIdData(ledgerId=topic.ledger, entryId=entry),
            )
        )

    def _subscribe(self, request: pb.CommandSubscribe) -> None:
        if not self._owns(request.topic, request.request_id):
            return
        if request.consumer_id in self._consumers:
            raise CommandError(f"a second consumer {request.consumer_id}")
        topic = self._broker.topic(request.topic)
        subscription = topic.subscribe(
            request.subscription,
            earliest=request.initialPosition == pb.CommandSubscribe.Earliest,
            shared=request.subType in (pb.CommandSubscribe.Shared, pb.CommandSubscribe.Key_Shared),
        )
        if request.subType == pb.CommandSubscribe.Exclusive and subscription.consumers:
            self._refuse(request.request_id, pb.ConsumerBusy, "the exclusive subscription has a consumer already")
            return
        self._broker.report("SUBSCRIBE", request.topic)

        def deliver(entry: int, stored: Stored, before: int) -> None:
            where = pb.MessageIdData(ledgerId=topic.ledger, entryId=entry)
            message = pb.CommandMessage(consumer_id=request.consumer_id, message_id=where, redelivery_count=before)
            self._send(message, stored.section)
            self._broker.report("MESSAGE", request.topic)

        consumer = DemoConsumer(deliver)
        subscription.consumers.append(consumer)
        self._consumers[request.consumer_id] = (subscription, consumer)
        self._send(pb.CommandSuccess(request_id=request.request_id))

    def _flow(self, flow: pb.CommandFlow) -> None:
        if flow.consumer_id in self._consumers:
            subscription, consumer = self._consumers[flow.consumer_id]
            consumer.permits += flow.messagePermits
            subscription.dispatch()

    def _acknowledge(self, ack: pb.CommandAck) -> None:
        if ack.consumer_id in self._consumers:
            subscription, consumer = self._consumers[ack.consumer_id]
            for where in ack.message_id:
                subscription.acknowledge(consumer, where.entryId, ack.ack_type == pb.CommandAck.Cumulative)
        if ack.HasField("request_id"):
            self._send(pb.CommandAckResponse(consumer_id=ack.consumer_id, request_id=ack.request_id))

    def _unsubscribe(self, request: pb.CommandUnsubscribe) -> None:
        if request.consumer_id in self._consumers:
            subscription, _ = self._consumers[request.consumer_id]
            self._detach(request.consumer_id)
            subscription.end()
        self._send(pb.CommandSuccess(request_id=request.request_id))

    def _detach(self, consumer_id: int) -> None:
        if consumer_id in self._consumers:
            subscription, consumer = self._consumers.pop(consumer_id)
            subscription.detach(consumer)
