"""What the real Python client does with a broker beyond a round trip, run by an interpreter that has it.

Arguments: the service URL. It fails by an assertion, and else prints "done".
"""

from __future__ import annotations

import re
import sys

import pulsar  # type: ignore[import-not-found]

TIMEOUT_MS = 30_000
EARLIEST = pulsar.InitialPosition.Earliest
NAMESPACE = "persistent://public/features"


def positions(client: pulsar.Client) -> None:
    """Batches, seeks by id and by time, the last message id, readers and redelivery."""
    topic = f"{NAMESPACE}/positions"
    producer = client.create_producer(topic, batching_enabled=True)
    sent = [producer.send(b"%d" % number) for number in range(5)]
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    received = [consumer.receive(TIMEOUT_MS) for _ in range(5)]
    assert [message.data() for message in received] == [b"%d" % number for number in range(5)]
    assert consumer.get_last_message_id().entry_id() == 4
    for where, first in ((sent[2], b"3"), (pulsar.MessageId.earliest, b"0"), (received[0].publish_timestamp(), b"0")):
        consumer.seek(where)
        found = consumer.receive(TIMEOUT_MS).data()
        assert found == first, (where, found, first)
    consumer.acknowledge_cumulative(sent[1])
    consumer.unsubscribe()
    reader = client.create_reader(topic, sent[2])
    rest = []
    while reader.has_message_available():
        rest.append(reader.read_next(TIMEOUT_MS).data())
    assert rest == [b"3", b"4"], rest
    reader.close()


def subscriptions(client: pulsar.Client) -> None:
    """Two consumers of a shared subscription, and one that refuses a message."""
    topic = f"{NAMESPACE}/shared"
    options = {"consumer_type": pulsar.ConsumerType.Shared, "receiver_queue_size": 1}
    consumers = [client.subscribe(topic, "s", negative_ack_redelivery_delay_ms=100, **options) for _ in range(2)]
    producer = client.create_producer(topic)
    for number in range(4):
        producer.send(b"%d" % number)
    first = consumers[0].receive(TIMEOUT_MS)
    consumers[0].negative_acknowledge(first)
    consumers[0].close()
    found: set[bytes] = set()
    while len(found) < 4:
        message = consumers[1].receive(TIMEOUT_MS)
        consumers[1].acknowledge(message)
        found.add(message.data())
    try:
        client.subscribe(topic, "s", consumer_type=pulsar.ConsumerType.Exclusive)
    except pulsar.ConsumerBusy:
        return
    raise AssertionError("a second type of consumer")


def schemas_and_patterns(client: pulsar.Client) -> None:
    """A schema, and a consumer of a pattern."""
    schema = pulsar.schema.StringSchema()
    producer = client.create_producer(f"{NAMESPACE}/text", schema=schema)
    producer.send("text")
    consumer = client.subscribe(f"{NAMESPACE}/text", "s", schema=schema, initial_position=EARLIEST)
    assert consumer.receive(TIMEOUT_MS).value() == "text"
    names = client.subscribe(re.compile(f"{NAMESPACE}/(text|shared)"), "pattern", initial_position=EARLIEST)
    found = {names.receive(TIMEOUT_MS).data() for _ in range(5)}
    assert found == {b"text", b"0", b"1", b"2", b"3"}, found


def main() -> None:
    """Do all of it."""
    client = pulsar.Client(sys.argv[1], operation_timeout_seconds=30)
    positions(client)
    subscriptions(client)
    schemas_and_patterns(client)
    client.close()
    print("done")


if __name__ == "__main__":
    main()
