"""What the brokers of an embedded cluster share: topics, owners and settings. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection

from attrs import Factory, define

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.topicname import full_name, is_topic, topic_of_partition
from sniproxy.testing.pulsar.topics import Topic

#: Maximum topics of a cluster, and subscriptions and producers of a topic.
MAX_TOPICS = 10_000
MAX_ATTACHED = 10_000

#: Maximum bytes of the payload sections of all topics.
MAX_CLUSTER_BYTES = 256 * 1024 * 1024

#: Maximum characters of the name of a topic, subscription or producer.
MAX_NAME_CHARS = 4096

#: Maximum bytes of the schemas of all topics.
MAX_SCHEMA_BYTES = 16 * 1024 * 1024

_PARTITION_NUMBER = re.compile(r"-partition-(\d{1,9})$")


class RequestError(Exception):
    """A request fails with a ``ServerError`` and a message."""

    def __init__(self, error: pb.ServerError, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


def require_short(name: str) -> None:
    """Raise `RequestError` if a name of a client is too long to be kept."""
    if len(name) > MAX_NAME_CHARS:
        raise RequestError(pb.InvalidTopicName, f"a name has over {MAX_NAME_CHARS} characters")


def owner_name(topic: str, brokers: Collection[str]) -> str:
    """The name of the broker that owns a topic. Deterministic for a topic and a set of brokers."""
    names = sorted(brokers)
    return names[zlib.crc32(topic.encode()) % len(names)]


def partition_number(topic: str) -> int:
    """The number of a partition; -1 for another topic."""
    found = _PARTITION_NUMBER.search(topic)
    return -1 if found is None else int(found[1])


@define(eq=False)
class ClusterState:
    """The topics of a cluster, and where they are.

    ``urls``: of each broker, by name. ``partitions``: their number, by partitioned topic. ``owners``: the brokers of
    topics that have been moved; others have `owner_name`. ``redirects``: the broker that lookups of a topic are sent
    to. The names of these topics are full ones, and an owner or redirect of a partitioned topic holds for its
    partitions. ``tokens``: the tokens that clients may have; None: anyone may connect. ``deduplication``: whether a
    message with a sequence id that the topic already has of its producer is not stored again.
    """

    urls: dict[str, str] = Factory(dict)
    topics: dict[str, Topic] = Factory(dict)
    partitions: dict[str, int] = Factory(dict)
    owners: dict[str, str] = Factory(dict)
    redirects: dict[str, str] = Factory(dict)
    schemas: dict[str, list[bytes]] = Factory(dict)
    sequences: dict[tuple[str, str], int] = Factory(dict)
    tokens: set[str] | None = None
    deduplication: bool = False
    schema_bytes: int = 0
    kept_bytes: int = 0

    def owner(self, topic: str) -> str:
        """The name of the broker that owns a topic."""
        name = full_name(topic)
        return _of_topic(self.owners, name) or owner_name(name, self.urls)

    def redirect(self, topic: str) -> str | None:
        """The name of the broker that lookups of a topic are sent to. None: no other one."""
        return _of_topic(self.redirects, full_name(topic))

    def partition_count(self, topic: str) -> int:
        """The number of partitions of a topic. 0: it is not partitioned."""
        return self.partitions.get(full_name(topic), 0)

    def used(self, topic: str) -> list[Topic]:
        """The topics of this name that clients have used: itself, then its partitions by number."""
        wanted = full_name(topic)
        return [self.topics[name] for name in sorted(self.topics, key=partition_number) if is_topic(wanted, name)]

    def topic(self, name: str) -> Topic:
        """A topic, created on first use. Raises `RequestError` if there are too many, or the name is too long."""
        require_short(name)
        if name not in self.topics:
            if len(self.topics) >= MAX_TOPICS:
                raise RequestError(pb.NotAllowedError, f"the embedded cluster has {MAX_TOPICS} topics already")
            self.topics[name] = Topic(ledger=len(self.topics) + 1)
        return self.topics[name]

    def publish(self, name: str, section: bytes, count: int, published_ms: int, key: bytes) -> int:
        """Store an entry in a topic. @return: its id. Raises `RequestError` if the topics have too many bytes."""
        topic = self.topic(name)
        if self.kept_bytes + len(section) > MAX_CLUSTER_BYTES:
            message = f"the embedded cluster has {MAX_CLUSTER_BYTES} bytes of messages"
            raise RequestError(pb.ProducerBlockedQuotaExceededError, message)
        self.kept_bytes -= topic.kept_bytes
        try:
            return topic.publish(section, count, published_ms, key)
        finally:
            self.kept_bytes += topic.kept_bytes

    def accepts(self, method: str, data: bytes) -> bool:
        """Whether a client may connect with these credentials."""
        return self.tokens is None or (method == "token" and data.decode("latin-1") in self.tokens)

    def is_repeated(self, topic: str, producer: str, sequence_id: int) -> bool:
        """Whether a message is a duplicate."""
        return self.deduplication and sequence_id <= self.last_sequence_id(topic, producer)

    def remember(self, topic: str, producer: str, sequence_id: int) -> None:
        """Note the sequence id of a stored message, for deduplication."""
        if self.deduplication:
            self.sequences[topic, producer] = sequence_id
            while len(self.sequences) > MAX_ATTACHED:
                del self.sequences[next(iter(self.sequences))]

    def last_sequence_id(self, topic: str, producer: str) -> int:
        """The sequence id of a producer's last message; -1 without one, and without deduplication."""
        return self.sequences.get((topic, producer), -1)

    def add_schema(self, topic: str, schema: bytes) -> int:
        """Store a schema of a topic. @return: its version, from 0. Equal schemas have one version.

        Raises `RequestError` if the schemas are too large.
        """
        name = schema_topic(topic)
        known = self.schemas.get(name, [])
        if schema in known:
            return known.index(schema)
        # The name and the list take memory, too.
        self.schema_bytes += len(schema) + 1000
        if self.schema_bytes > MAX_SCHEMA_BYTES:
            self.schema_bytes -= len(schema) + 1000
            raise RequestError(pb.IncompatibleSchema, f"the schemas have over {MAX_SCHEMA_BYTES} bytes")
        self.schemas[name] = [*known, schema]
        return len(known)


def assign(brokers: dict[str, str], topic: str, broker: str | None) -> None:
    """Set the broker of a topic and its partitions, in owners or redirects. None: no longer."""
    wanted = full_name(topic)
    for name in [name for name in brokers if is_topic(wanted, name)]:
        del brokers[name]
    if broker is not None:
        brokers[wanted] = broker


def _of_topic(brokers: dict[str, str], name: str) -> str | None:
    """The broker of a topic, or else of its partitioned topic."""
    return brokers.get(name) or brokers.get(topic_of_partition(name) or "")


def schema_topic(topic: str) -> str:
    """The topic whose schemas a topic has: partitions share those of their topic."""
    return topic_of_partition(topic) or topic
