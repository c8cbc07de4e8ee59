"""Produces and consumes single messages on the broker that owns a topic."""

from __future__ import annotations

import time

import attrs
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.redirects import refusal
from sniproxy.client.session import BrokerSession
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.frames import FrameError, encode_section, read_section

_COMPRESSION = 8  # the field number of compression in MessageMetadata


@attrs.frozen
class Message:
    """A stored message. Its repr omits the payload."""

    ledger: int
    entry: int
    payload: bytes = attrs.field(repr=False)


class Producer:
    """Sends messages to one topic, one at a time. Created by `produce`."""

    def __init__(self, session: BrokerSession, number: int, name: str) -> None:
        self.name = name
        self._session = session
        self._number = number
        self._queue = session.open_queue("producer", number)
        self._sequence = 0

    async def send(self, payload: bytes) -> Message:
        """Send one message, and wait for its receipt. @raise ClientError: the broker did not store it."""
        metadata = pb.MessageMetadata(
            producer_name=self.name, sequence_id=self._sequence, publish_time=int(time.time() * 1000)
        )
        section = encode_section(metadata.SerializeToString(), payload)
        self._session.raise_if_ended()
        self._session.send(pb.CommandSend(producer_id=self._number, sequence_id=self._sequence), section)
        self._sequence += 1
        command, _ = await self._queue.take()
        if command.type == pb.BaseCommand.SEND_ERROR:
            error = command.send_error
            raise refusal(error_name(error), text(error, "message"), f"{self._session.peer} to a message")
        if command.type != pb.BaseCommand.SEND_RECEIPT:
            raise _closed(self._session, "producer")
        where = command.send_receipt.message_id
        return Message(where.ledgerId, where.entryId, payload)

    async def close(self) -> None:
        """Close the producer. @raise ClientError: the request failed."""
        self._session.close_queue("producer", self._number)
        await self._session.ask(pb.CommandCloseProducer(producer_id=self._number), pb.CommandSuccess)


class Consumer:
    """Receives messages of one subscription. Created by `subscribe`."""

    def __init__(self, session: BrokerSession, number: int) -> None:
        self._session = session
        self._number = number
        self._queue = session.open_queue("consumer", number)
        self._permitted = False

    async def receive(self) -> Message:
        """Wait for the next message.

        @raise ClientError: no message arrived in time, it is a batch or compressed, or the session has ended.
        """
        self._session.raise_if_ended()
        # Permit one message at a time. The permit stays valid after a timeout.
        if not self._permitted:
            self._permitted = True
            self._session.send(pb.CommandFlow(consumer_id=self._number, messagePermits=1))
        command, section = await self._queue.take()
        self._permitted = False
        if command.type != pb.BaseCommand.MESSAGE:
            raise _closed(self._session, "consumer")
        where = command.message.message_id
        try:
            read = read_section(section)
            metadata = pb.MessageMetadata.FromString(read.metadata)
        except (FrameError, DecodeError) as error:
            raise ClientError(FailureKind.NOT_PULSAR, f"{self._session.peer}: invalid message: {error}") from None
        if metadata.HasField("num_messages_in_batch") or _compressed(metadata):
            raise ClientError(
                FailureKind.NOT_PULSAR,
                f"{self._session.peer}: message {where.ledgerId}:{where.entryId} is a batch or compressed",
                "this client supports neither: turn batching and compression off in the producer",
            )
        return Message(where.ledgerId, where.entryId, bytes(read.payload))

    def acknowledge(self, message: Message) -> None:
        """Acknowledge a message."""
        where = pb.MessageIdData(ledgerId=message.ledger, entryId=message.entry)
        self._session.raise_if_ended()
        self._session.send(
            pb.CommandAck(consumer_id=self._number, ack_type=pb.CommandAck.Individual, message_id=[where])
        )

    async def unsubscribe(self) -> None:
        """Delete the subscription. @raise ClientError: the request failed."""
        await self._session.ask(pb.CommandUnsubscribe(consumer_id=self._number), pb.CommandSuccess)
        self._session.close_queue("consumer", self._number)

    async def close(self) -> None:
        """Close the consumer and keep the subscription. @raise ClientError: the request failed."""
        self._session.close_queue("consumer", self._number)
        await self._session.ask(pb.CommandCloseConsumer(consumer_id=self._number), pb.CommandSuccess)


async def produce(session: BrokerSession, topic: str) -> Producer:
    """Create a producer of a topic or a partition, on the session with its owner.

    @raise ClientError: the broker refused it.
    """
    number = session.next_id()
    answer = await session.ask(pb.CommandProducer(topic=topic, producer_id=number), pb.CommandProducerSuccess)
    return Producer(session, number, answer.producer_name)


async def subscribe(session: BrokerSession, topic: str, subscription: str, earliest: bool = False) -> Consumer:
    """Create an exclusive consumer of a topic or a partition, on the session with its owner.

    @param earliest: whether a new subscription starts with the oldest message or with the next one.
    @raise ClientError: the broker refused it, for example because another consumer is connected.
    """
    number = session.next_id()
    consumer = Consumer(session, number)
    where = pb.CommandSubscribe.Earliest if earliest else pb.CommandSubscribe.Latest
    try:
        await session.ask(
            pb.CommandSubscribe(
                topic=topic,
                subscription=subscription,
                subType=pb.CommandSubscribe.Exclusive,
                consumer_id=number,
                initialPosition=where,
            ),
            pb.CommandSuccess,
        )
    except BaseException:
        session.close_queue("consumer", number)
        raise
    return consumer


def _compressed(metadata: pb.MessageMetadata) -> bool:
    unknowns = UnknownFieldSet(metadata)
    return any(unknowns[at].field_number == _COMPRESSION and unknowns[at].data != 0 for at in range(len(unknowns)))


def _closed(session: BrokerSession, what: str) -> ClientError:
    return ClientError(
        FailureKind.CLOSED,
        f"{session.peer}: the broker closed the {what}",
        "the topic has moved to another broker: look it up again",
    )
