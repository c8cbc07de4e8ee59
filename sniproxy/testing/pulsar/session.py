"""What one client has at one broker: its producers and consumers, and a way to send it commands. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar.state import ClusterState, RequestError
from sniproxy.testing.pulsar.topics import AttachedConsumer, AttachedProducer, Subscription

#: Maximum producers of a connection, and the same of consumers.
MAX_OPEN = 1000

Resource = pb.CommandTopicMigrated.ResourceType

#: The request id of an ERROR about the connection.
NO_REQUEST = (1 << 64) - 1


class ClientSession:
    """One client at one broker.

    ``send(command, payload section)`` sends it a command. ``report(command, subject)`` reports what the broker does.
    ``writable()``: whether the connection accepts more messages.
    """

    def __init__(
        self,
        broker: str,
        cluster: ClusterState,
        client: str,
        send: Callable[[Message, bytes], None],
        report: Callable[[str, str], None],
        writable: Callable[[], bool],
    ) -> None:
        self.broker = broker
        self.cluster = cluster
        self.client = client
        self.send = send
        self.report = report
        self.writable = writable
        #: By the client's number: the name of the topic, and the producer.
        self.producers: dict[int, tuple[str, AttachedProducer]] = {}
        self.consumers: dict[int, tuple[str, Subscription, AttachedConsumer]] = {}

    def answer(self, message: Message) -> None:
        """Send a command without a payload."""
        self.send(message, b"")

    def require_ownership(self, topic: str) -> None:
        """Raise `RequestError` unless this broker owns the topic. Clients then repeat the lookup."""
        if self.cluster.owner(topic) != self.broker:
            raise RequestError(pb.ServiceNotReady, f"{self.broker} does not serve {topic}")

    def topic_of(self, fields: Any) -> str | None:
        """The topic that a command is about, by its name, producer or consumer. None: another command."""
        names = fields.DESCRIPTOR.fields_by_name
        if "topic" in names and isinstance(fields.topic, str):  # not a list of topics
            return fields.topic
        if "producer_id" in names and fields.producer_id in self.producers:
            return self.producers[fields.producer_id][0]
        if "consumer_id" in names and fields.consumer_id in self.consumers:
            return self.consumers[fields.consumer_id][0]
        return None

    def detach_producer(self, number: int) -> None:
        """Forget a producer, if there is one with this number."""
        if number in self.producers:
            name, producer = self.producers.pop(number)
            topic = self.cluster.topics[name]
            if topic.producers.get(producer.name) is producer:
                del topic.producers[producer.name]

    def detach_consumer(self, number: int) -> None:
        """Forget a consumer, if there is one with this number."""
        if number in self.consumers:
            _, subscription, consumer = self.consumers.pop(number)
            subscription.detach(consumer)

    def endings(
        self, number: int, detach: Callable[[int], None], close_command: Callable[[], Any], resource: Resource
    ) -> tuple[Callable[[str | None], None], Callable[[str], None]]:
        """How this broker ends a producer or consumer: ``close(url)``, ``migrate(url)``. The URL is of its next broker.

        ``number``: the client's. ``detach``: forgets it. ``close_command()``: CLOSE_PRODUCER or CLOSE_CONSUMER.
        """

        def close(url: str | None) -> None:
            detach(number)
            command = close_command()
            if url is not None:
                with_url(command, "assignedBrokerServiceUrl", "assignedBrokerServiceUrlTls", url)
            self.answer(command)

        def migrate(url: str) -> None:
            command = pb.CommandTopicMigrated(resource_id=number, resource_type=resource)
            with_url(command, "brokerServiceUrl", "brokerServiceUrlTls", url)
            self.answer(command)
            close(None)

        return close, migrate

    def end(self) -> None:
        """Forget all producers and consumers."""
        for number in list(self.producers):
            self.detach_producer(number)
        for number in list(self.consumers):
            self.detach_consumer(number)


def with_url(message: Any, plain: str, tls: str, url: str) -> None:
    """Set one of two fields of a command to a URL, by its scheme."""
    setattr(message, tls if url.startswith("pulsar+ssl:") else plain, url)
