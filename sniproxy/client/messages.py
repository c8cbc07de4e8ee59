"""Produce a message on a topic's owner, and read messages there."""

from __future__ import annotations

import itertools
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

_COMPRESSION = 8  # the number of MessageMetadata's field compression
_numbers = itertools.count(1)  # of producers and consumers: each in this process has its own


@attrs.frozen
class Message:
    """A message as it lies in its topic. The payload does not show when this is printed."""

    ledger: int
    entry: int
    payload: bytes = attrs.field(repr=False)


class Producer:
    """Sends messages to one topic, one at a time; made by `produce`."""

    def __init__(self, session: BrokerSession, number: int, name: str) -> None:
        self.name = name
        self._session = session
        self._number = number
        self._channel = session.channel("producer", number)
        self._sequence = 0

    async def send(self, payload: bytes) -> Message:
        """Send one message, and wait until the broker has stored it. Raises `ClientError`."""
        metadata = pb.MessageMetadata(
            producer_name=self.name, sequence_id=self._sequence, publish_time=int(time.time() * 1000)
        )
        section = encode_section(metadata.SerializeToString(), payload)
        self._session.check()
        self._session.tell(pb.CommandSend(producer_id=self._number, sequence_id=self._sequence), section)
        self._sequence += 1
        command, _ = await self._channel.take()
        if command.type == pb.BaseCommand.SEND_ERROR:
            said = command.send_error
            raise refusal(error_name(said), text(said, "message"), f"{self._session.peer} to a message")
        if command.type != pb.BaseCommand.SEND_RECEIPT:
            raise _closed(self._session, "producer")
        where = command.send_receipt.message_id
        return Message(where.ledgerId, where.entryId, payload)

    async def close(self) -> None:
        """End it. Raises `ClientError`."""
        self._session.forget("producer", self._number)
        await self._session.ask(pb.CommandCloseProducer(producer_id=self._number), pb.CommandSuccess)


class Consumer:
    """Reads messages of one subscription; made by `subscribe`."""

    def __init__(self, session: BrokerSession, number: int) -> None:
        self._session = session
        self._number = number
        self._channel = session.channel("consumer", number)
        self._permitted = False

    async def receive(self) -> Message:
        """The next message. Raises `ClientError`, when none comes in time too.

        Batches and compressed messages are not read: that is a failure.
        """
        self._session.check()
        # One by one: what was not asked for stays with the broker. After a wait in vain the permit still stands.
        if not self._permitted:
            self._permitted = True
            self._session.tell(pb.CommandFlow(consumer_id=self._number, messagePermits=1))
        command, section = await self._channel.take()
        self._permitted = False
        if command.type != pb.BaseCommand.MESSAGE:
            raise _closed(self._session, "consumer")
        where = command.message.message_id
        try:
            read = read_section(section)
            metadata = pb.MessageMetadata.FromString(read.metadata)
        except (FrameError, DecodeError) as error:
            raise ClientError(
                FailureKind.NOT_PULSAR, f"{self._session.peer}: a message that cannot be read: {error}"
            ) from None
        if metadata.HasField("num_messages_in_batch") or _compressed(metadata):
            raise ClientError(
                FailureKind.NOT_PULSAR,
                f"{self._session.peer}: message {where.ledgerId}:{where.entryId} is a batch or compressed",
                "this small client reads single messages: turn batching and compression off in the producer",
            )
        return Message(where.ledgerId, where.entryId, bytes(read.payload))

    def acknowledge(self, message: Message) -> None:
        """It need not be delivered again."""
        where = pb.MessageIdData(ledgerId=message.ledger, entryId=message.entry)
        self._session.check()
        self._session.tell(
            pb.CommandAck(consumer_id=self._number, ack_type=pb.CommandAck.Individual, message_id=[where])
        )

    async def unsubscribe(self) -> None:
        """End the subscription: its place in the topic is forgotten. Raises `ClientError`."""
        await self._session.ask(pb.CommandUnsubscribe(consumer_id=self._number), pb.CommandSuccess)
        self._session.forget("consumer", self._number)

    async def close(self) -> None:
        """End it; the subscription keeps its place. Raises `ClientError`."""
        self._session.forget("consumer", self._number)
        await self._session.ask(pb.CommandCloseConsumer(consumer_id=self._number), pb.CommandSuccess)


async def produce(session: BrokerSession, topic: str) -> Producer:
    """Create a producer for a topic, or for one partition, on the session with its owner. Raises `ClientError`."""
    number = next(_numbers)
    answer = await session.ask(pb.CommandProducer(topic=topic, producer_id=number), pb.CommandProducerSuccess)
    return Producer(session, number, answer.producer_name)


async def subscribe(session: BrokerSession, topic: str, subscription: str, earliest: bool = False) -> Consumer:
    """An exclusive consumer of a topic (one partition, where it has some), on the session with its owner.

    @param earliest: whether a new subscription begins with the oldest message, or with the next one to come.
    @raise ClientError: the broker refuses it, another consumer being there for one.
    """
    number = next(_numbers)
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
        session.forget("consumer", number)
        raise
    return consumer


def _compressed(metadata: pb.MessageMetadata) -> bool:
    unknowns = UnknownFieldSet(metadata)
    return any(unknowns[at].field_number == _COMPRESSION and unknowns[at].data != 0 for at in range(len(unknowns)))


def _closed(session: BrokerSession, what: str) -> ClientError:
    return ClientError(
        FailureKind.CLOSED,
        f"{session.peer} has closed the {what}",
        "the topic has moved to another broker: look it up again",
    )
