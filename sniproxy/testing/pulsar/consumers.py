"""Consumers: subscriptions, permits, acknowledgements and positions. Pure."""

from __future__ import annotations

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError
from sniproxy.testing.pulsar.hidden import add_bytes, has, ids_of, number_of
from sniproxy.testing.pulsar.schemas import store_schema
from sniproxy.testing.pulsar.session import MAX_OPEN, NO_REQUEST, ClientSession
from sniproxy.testing.pulsar.state import MAX_ATTACHED, RequestError, partition_number, require_short
from sniproxy.testing.pulsar.topics import AttachedConsumer, Stored, Subscription, Topic

#: Maximum permits of a consumer, which its client sets.
MAX_PERMITS = 1_000_000

_DURABLE, _START = 8, 9  # of SUBSCRIBE
_SEEK_ID, _SEEK_TIME = 3, 4
_ACK_SET = 5  # of a message id: a part of a batch
_REDELIVERED = 2
_LAST_ID, _MARK_DELETE = 1, 3  # of GET_LAST_MESSAGE_ID_RESPONSE


def subscribe(session: ClientSession, request: pb.CommandSubscribe) -> None:
    """SUBSCRIBE."""
    session.require_ownership(request.topic)
    number = request.consumer_id
    if number in session.consumers:
        raise CommandError(f"a second consumer {number}")
    topic = session.cluster.topic(request.topic)
    require_short(request.subscription)
    if len(session.consumers) >= MAX_OPEN or len(topic.subscriptions) >= MAX_ATTACHED:
        raise RequestError(pb.NotAllowedError, "too many consumers or subscriptions")
    existing = topic.subscriptions.get(request.subscription)
    if existing is not None and existing.consumers:
        if pb.CommandSubscribe.Exclusive in (existing.kind, request.subType):
            raise RequestError(pb.ConsumerBusy, "the exclusive subscription has a consumer already")
        if existing.kind != request.subType:
            raise RequestError(pb.ConsumerBusy, "the subscription has consumers of another type")
    store_schema(session, request)
    durable = bool(number_of(request, _DURABLE, 1))
    subscription = topic.subscribe(request.subscription, _start(topic, request), request.subType, durable)
    subscription.kind = request.subType
    session.report("SUBSCRIBE", request.topic)
    consumer = _consumer(session, request, topic)
    session.consumers[number] = (request.topic, subscription, consumer)
    session.answer(pb.CommandSuccess(request_id=request.request_id))
    subscription.attach(consumer)


def _start(topic: Topic, request: pb.CommandSubscribe) -> int:
    """The id of the first entry for a new subscription. A reader has a message id: it skips that message itself."""
    for where in ids_of(request, _START):
        return topic.entry_of(where)
    return topic.oldest if request.initialPosition == pb.CommandSubscribe.Earliest else topic.end


def _consumer(session: ClientSession, request: pb.CommandSubscribe, topic: Topic) -> AttachedConsumer:
    number, partition = request.consumer_id, partition_number(request.topic)

    def deliver(entry: int, stored: Stored, before: int) -> None:
        where = pb.MessageIdData(ledgerId=topic.ledger, entryId=entry)
        if partition >= 0:
            where.partition = partition
        message = pb.CommandMessage(consumer_id=number, message_id=where, redelivery_count=before)
        session.send(message, stored.section)
        session.report("MESSAGE", request.topic)

    def close_command() -> pb.CommandCloseConsumer:
        return pb.CommandCloseConsumer(consumer_id=number, request_id=NO_REQUEST)

    def activate(active: bool) -> None:
        session.answer(pb.CommandActiveConsumerChange(consumer_id=number, is_active=active))

    endings = session.endings(number, session.detach_consumer, close_command, pb.CommandTopicMigrated.Consumer)
    return AttachedConsumer(deliver, *endings, activate, session.writable)


def flow(session: ClientSession, request: pb.CommandFlow) -> None:
    """FLOW."""
    if request.consumer_id in session.consumers:
        _, subscription, consumer = session.consumers[request.consumer_id]
        consumer.permits = min(MAX_PERMITS, consumer.permits + request.messagePermits)
        subscription.dispatch()


def acknowledge(session: ClientSession, request: pb.CommandAck) -> None:
    """ACK. An acknowledgement of a part of a batch does nothing: the batch is acknowledged as a whole."""
    if request.consumer_id in session.consumers:
        _, subscription, _ = session.consumers[request.consumer_id]
        for where in request.message_id:
            if not has(where, _ACK_SET):
                subscription.acknowledge(where.entryId, request.ack_type == pb.CommandAck.Cumulative)
    if request.HasField("request_id"):
        session.answer(pb.CommandAckResponse(consumer_id=request.consumer_id, request_id=request.request_id))


def redeliver(session: ClientSession, request: pb.CommandRedeliverUnacknowledgedMessages) -> None:
    """REDELIVER_UNACKNOWLEDGED_MESSAGES: those with the message ids, or all."""
    if request.consumer_id in session.consumers:
        _, subscription, consumer = session.consumers[request.consumer_id]
        wanted = ids_of(request, _REDELIVERED)
        subscription.redeliver(consumer, [where.entryId for where in wanted] if wanted else None)


def seek(session: ClientSession, request: pb.CommandSeek) -> None:
    """SEEK: set the position, and close the consumers, which then subscribe again, as real brokers do."""
    topic, subscription = _found(session, request.consumer_id)
    time = number_of(request, _SEEK_TIME, -1)
    for where in ids_of(request, _SEEK_ID):
        subscription.seek(topic.entry_of(where))
        break
    else:
        if time < 0:
            raise RequestError(pb.MetadataError, "SEEK without a message id and without a time")
        subscription.seek(topic.entry_at(time))
    # A subscription that is not durable would end with its last consumer.
    durable, subscription.durable = subscription.durable, True
    for consumer in list(subscription.consumers):
        consumer.close(None)
    subscription.durable = durable
    session.answer(pb.CommandSuccess(request_id=request.request_id))


def answer_last_id(session: ClientSession, request: pb.CommandGetLastMessageId) -> None:
    """GET_LAST_MESSAGE_ID."""
    topic, subscription = _found(session, request.consumer_id)
    partition = partition_number(session.consumers[request.consumer_id][0])
    last = pb.MessageIdData(ledgerId=topic.ledger, entryId=(topic.end - 1) % (1 << 64), partition=partition)
    stored = topic.entry(topic.end - 1)
    if stored is not None and stored.count > 1:
        last.batch_index = stored.count - 1
    before = (subscription.acknowledged_before - 1) % (1 << 64)
    answer = pb.CommandGetLastMessageIdResponse(request_id=request.request_id)
    add_bytes(answer, _LAST_ID, last.SerializeToString())
    add_bytes(answer, _MARK_DELETE, pb.MessageIdData(ledgerId=topic.ledger, entryId=before).SerializeToString())
    session.answer(answer)


def close_consumer(session: ClientSession, request: pb.CommandCloseConsumer) -> None:
    """CLOSE_CONSUMER of the client."""
    session.detach_consumer(request.consumer_id)
    session.answer(pb.CommandSuccess(request_id=request.request_id))


def unsubscribe(session: ClientSession, request: pb.CommandUnsubscribe) -> None:
    """UNSUBSCRIBE: delete the subscription with its position."""
    if request.consumer_id in session.consumers:
        _, subscription, _ = session.consumers[request.consumer_id]
        if len(subscription.consumers) > 1:
            raise RequestError(pb.ConsumerBusy, "the subscription has other consumers")
        session.detach_consumer(request.consumer_id)
        subscription.end()
    session.answer(pb.CommandSuccess(request_id=request.request_id))


def _found(session: ClientSession, number: int) -> tuple[Topic, Subscription]:
    if number not in session.consumers:
        raise RequestError(pb.ConsumerNotFound, f"there is no consumer {number}")
    name, subscription, _ = session.consumers[number]
    return session.cluster.topics[name], subscription
