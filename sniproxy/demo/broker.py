"""A small stand-in for a Pulsar broker: enough of the protocol for real clients to produce and consume.

It owns some topics of a cluster and says for each topic who owns it. There are no partitioned topics, no
schemas, no authorization and no disk. A command that it does not know stays unanswered, with a log line.
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

#: Seconds between two PINGs, as real brokers have it.
KEEP_ALIVE_S = 30.0

_MAX_MESSAGE_BYTES = 5 * 1024 * 1024
_PROTOCOL_VERSION = 20


@frozen
class BrokerEvent:
    """What a broker was asked or did: its name, the protocol's word, and the topic or client it is about."""

    broker: str
    what: str
    about: str


def owner_name(topic: str, brokers: Mapping[str, str]) -> str:
    """The name of the broker that owns a topic: always the same one for the same topic and brokers."""
    names = sorted(brokers)
    return names[zlib.crc32(topic.encode()) % len(names)]


class DemoBroker(protocol.ServerFactory):
    """One broker of a cluster.

    ``brokers``: the name of each broker in the cluster and the URL that lookups answer for it, filled at the
    latest when the first client connects. ``topics``: the cluster's store. ``told``: hears what it sees.
    """

    noisy = False

    def __init__(
        self,
        name: str,
        brokers: Mapping[str, str],
        topics: dict[str, Topic],
        clock: IReactorTime,
        told: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        self.name = name
        self.brokers = brokers
        self.topics = topics
        self.clock = clock
        self._told = told
        self.conversations: set[DemoConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> DemoConnection:
        """One conversation for each connection."""
        return DemoConnection(self, f"{addr.host}:{addr.port}" if isinstance(addr, IPv4Address) else str(addr))

    def saw(self, what: str, about: str) -> None:
        """Tell whoever wants to hear it."""
        if self._told is not None:
            self._told(BrokerEvent(self.name, what, about))

    def topic(self, name: str) -> Topic:
        """A topic of this broker's; it is there from the moment somebody asks for it."""
        if name not in self.topics:
            self.topics[name] = Topic(ledger=len(self.topics) + 1)
        return self.topics[name]

    def stop(self) -> Deferred[list[None]]:
        """End all connections; fires when they are gone."""
        ends = []
        for conversation in list(self.conversations):
            ends.append(conversation.ended)
            conversation.end()
        return gatherResults(ends)


class DemoConnection(protocol.Protocol):
    """What a broker and one client say to each other."""

    _log = Logger()

    def __init__(self, broker: DemoBroker, client: str) -> None:
        self.ended: Deferred[None] = Deferred()
        self._broker = broker
        self._client = client
        self._reader = FrameReader()
        self._connected = False
        self._closing = False
        self._heard = True
        self._producers: dict[int, str] = {}
        self._consumers: dict[int, tuple[Subscription, DemoConsumer]] = {}
        self._keep_alive = LoopingCall(self._ping)
        self._keep_alive.clock = broker.clock

    def connectionMade(self) -> None:
        self._broker.conversations.add(self)
        self._keep_alive.start(KEEP_ALIVE_S, now=False)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._closing = True
        self._keep_alive.stop()
        self._broker.conversations.discard(self)
        for consumer_id in list(self._consumers):
            self._detach(consumer_id)
        if self._connected:
            self._broker.saw("closed", self._client)
        self.ended.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        if self._closing:
            return
        try:
            for frame in self._reader.each(data):
                self._obey(frame)
        except (FrameError, CommandError) as error:
            self._drop(str(error))

    def end(self) -> None:
        """End the connection at once."""
        self._closing = True
        cast(ITCPTransport, self.transport).abortConnection()

    def _drop(self, reason: str) -> None:
        assert self.transport is not None
        self._log.info(
            "{broker} closes the connection of {client}: {reason}",
            broker=self._broker.name,
            client=self._client,
            reason=reason,
        )
        self._closing = True
        self.transport.loseConnection()

    def _ping(self) -> None:
        if not self._heard:
            self._drop(f"no answer to a PING within {KEEP_ALIVE_S:.0f} s")
            return
        self._heard = False
        self._say(pb.CommandPing())

    def _say(self, message: Message, section: bytes = b"") -> None:
        # A consumer may still be served while its connection is on its way out.
        if not self._closing:
            assert self.transport is not None
            self.transport.write(write(message, section))

    def _refuse(self, request_id: int, error: pb.ServerError, message: str) -> None:
        self._say(pb.CommandError(request_id=request_id, error=error, message=message))

    def _obey(self, frame: Frame) -> None:
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
                self._say(pb.CommandSuccess(request_id=command.close_producer.request_id))
            case pb.BaseCommand.CLOSE_CONSUMER:
                self._detach(command.close_consumer.consumer_id)
                self._say(pb.CommandSuccess(request_id=command.close_consumer.request_id))
            case pb.BaseCommand.UNSUBSCRIBE:
                self._unsubscribe(command.unsubscribe)
            case pb.BaseCommand.PING:
                self._say(pb.CommandPong())
            case pb.BaseCommand.PONG:
                pass
            case _:
                self._log.info("{broker} does not know {command}", broker=self._broker.name, command=type_name(command))

    def _connect(self, connect: pb.CommandConnect) -> None:
        if self._connected:
            raise CommandError("a second CONNECT")
        self._connected = True
        self._broker.saw("CONNECT", self._client)
        self._say(
            pb.CommandConnected(
                server_version=f"sniproxy-stand-in {self._broker.name}",
                protocol_version=min(connect.protocol_version, _PROTOCOL_VERSION),
                max_message_size=_MAX_MESSAGE_BYTES,
            )
        )

    def _partitions(self, asked: pb.CommandPartitionedTopicMetadata) -> None:
        self._say(
            pb.CommandPartitionedTopicMetadataResponse(
                partitions=0,
                request_id=asked.request_id,
                response=pb.CommandPartitionedTopicMetadataResponse.Success,
            )
        )

    def _lookup(self, asked: pb.CommandLookupTopic) -> None:
        self._broker.saw("LOOKUP", asked.topic)
        url = self._broker.brokers[owner_name(asked.topic, self._broker.brokers)]
        answer = pb.CommandLookupTopicResponse(
            response=pb.CommandLookupTopicResponse.Connect,
            request_id=asked.request_id,
            authoritative=True,
        )
        if url.startswith("pulsar+ssl:"):
            answer.brokerServiceUrlTls = url
        else:
            answer.brokerServiceUrl = url
        self._say(answer)

    def _owns(self, topic: str, request_id: int) -> bool:
        """Whether this broker serves the topic; if not, the client hears it, and looks up again."""
        if owner_name(topic, self._broker.brokers) == self._broker.name:
            return True
        self._refuse(request_id, pb.ServiceNotReady, f"{self._broker.name} does not serve {topic}")
        return False

    def _produce(self, asked: pb.CommandProducer) -> None:
        if not self._owns(asked.topic, asked.request_id):
            return
        self._broker.saw("PRODUCER", asked.topic)
        self._producers[asked.producer_id] = asked.topic
        name = asked.producer_name or f"stand-in-{self._client}-{asked.producer_id}"
        self._say(pb.CommandProducerSuccess(request_id=asked.request_id, producer_name=name, schema_version=b""))

    def _store(self, send: pb.CommandSend, section: bytes) -> None:
        # What cannot be taken apart here could not be by a consumer.
        read_section(section)
        if send.producer_id not in self._producers:
            raise CommandError(f"SEND of a producer {send.producer_id} that is not there")
        name = self._producers[send.producer_id]
        topic = self._broker.topic(name)
        entry = topic.publish(section, max(1, send.num_messages))
        self._broker.saw("SEND", name)
        self._say(
            pb.CommandSendReceipt(
                producer_id=send.producer_id,
                sequence_id=send.sequence_id,
                highest_sequence_id=send.highest_sequence_id,
                message_id=pb.MessageIdData(ledgerId=topic.ledger, entryId=entry),
            )
        )

    def _subscribe(self, asked: pb.CommandSubscribe) -> None:
        if not self._owns(asked.topic, asked.request_id):
            return
        if asked.consumer_id in self._consumers:
            raise CommandError(f"a second consumer {asked.consumer_id}")
        topic = self._broker.topic(asked.topic)
        subscription = topic.subscribe(
            asked.subscription,
            earliest=asked.initialPosition == pb.CommandSubscribe.Earliest,
            shared=asked.subType in (pb.CommandSubscribe.Shared, pb.CommandSubscribe.Key_Shared),
        )
        if asked.subType == pb.CommandSubscribe.Exclusive and subscription.consumers:
            self._refuse(asked.request_id, pb.ConsumerBusy, "the exclusive subscription has a consumer already")
            return
        self._broker.saw("SUBSCRIBE", asked.topic)

        def deliver(entry: int, stored: Stored, before: int) -> None:
            where = pb.MessageIdData(ledgerId=topic.ledger, entryId=entry)
            message = pb.CommandMessage(consumer_id=asked.consumer_id, message_id=where, redelivery_count=before)
            self._say(message, stored.section)
            self._broker.saw("MESSAGE", asked.topic)

        consumer = DemoConsumer(deliver)
        subscription.consumers.append(consumer)
        self._consumers[asked.consumer_id] = (subscription, consumer)
        self._say(pb.CommandSuccess(request_id=asked.request_id))

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
            self._say(pb.CommandAckResponse(consumer_id=ack.consumer_id, request_id=ack.request_id))

    def _unsubscribe(self, asked: pb.CommandUnsubscribe) -> None:
        if asked.consumer_id in self._consumers:
            subscription, _ = self._consumers[asked.consumer_id]
            self._detach(asked.consumer_id)
            subscription.end()
        self._say(pb.CommandSuccess(request_id=asked.request_id))

    def _detach(self, consumer_id: int) -> None:
        if consumer_id in self._consumers:
            subscription, consumer = self._consumers.pop(consumer_id)
            subscription.detach(consumer)
