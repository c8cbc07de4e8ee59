"""The topics of the embedded cluster: messages, subscriptions, consumers and producers, in memory. Pure."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterable

from attrs import Factory, define, frozen

from sniproxy.pulsar import commands_pb2 as pb

#: Maximum size of a topic, in bytes of payload sections. Beyond it, the oldest messages are dropped.
MAX_KEPT_BYTES = 16 * 1024 * 1024

#: Maximum entries of a topic.
MAX_ENTRIES = 100_000

#: Maximum entries that a consumer may hold without an acknowledgement; the default of real brokers.
MAX_UNACKNOWLEDGED = 50_000

_SHARED = (pb.CommandSubscribe.Shared, pb.CommandSubscribe.Key_Shared)


@frozen
class Stored:
    """One entry of a topic: a payload section as the producer sent it, and its number of messages.

    ``published_ms``: the producer's time, in milliseconds since 1970. ``key``: the key of the message, or empty.
    """

    section: bytes
    count: int
    published_ms: int = 0
    key: bytes = b""


@define(eq=False)
class AttachedProducer:
    """A producer of a topic.

    ``epoch``: how often its client has opened it again. ``close(url)`` closes it by CLOSE_PRODUCER; None: without the
    URL of another broker. ``migrate(url)`` sends TOPIC_MIGRATED and closes it.
    """

    name: str
    epoch: int
    close: Callable[[str | None], None]
    migrate: Callable[[str], None]


@define(eq=False)
class AttachedConsumer:
    """A consumer of one subscription.

    ``deliver(entry id, entry, previous deliveries)`` sends an entry. ``activate(active)`` says whether it is the one
    that gets the entries. ``writable()``: whether its connection accepts more. ``permits``: the number of messages that
    it may still receive. ``unacknowledged``: the ids of delivered entries that it has not acknowledged.
    """

    deliver: Callable[[int, Stored, int], None]
    close: Callable[[str | None], None] = lambda url: None
    migrate: Callable[[str], None] = lambda url: None
    activate: Callable[[bool], None] = lambda active: None
    writable: Callable[[], bool] = lambda: True
    permits: int = 0
    unacknowledged: set[int] = Factory(set)


class Topic:
    """Messages in order, the subscriptions that read them, and the producers.

    Entry ids count from 0. The topic keeps at most `max_bytes` bytes, and `MAX_ENTRIES`, but always the newest entry.
    """

    def __init__(self, ledger: int, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.ledger = ledger
        self.subscriptions: dict[str, Subscription] = {}
        #: By name.
        self.producers: dict[str, AttachedProducer] = {}
        #: Of the payload sections that it has.
        self.kept_bytes = 0
        self._max_bytes = max_bytes
        self._entries: dict[int, Stored] = {}
        self.oldest = 0
        self.end = 0

    def publish(self, section: bytes, count: int, published_ms: int = 0, key: bytes = b"") -> int:
        """Store one entry and deliver it. @return: its id."""
        entry = self.end
        self._entries[entry] = Stored(section, count, published_ms, key)
        self.kept_bytes += len(section)
        self.end += 1
        while (self.kept_bytes > self._max_bytes or len(self._entries) > MAX_ENTRIES) and self.oldest < entry:
            self.kept_bytes -= len(self._entries.pop(self.oldest).section)
            self.oldest += 1
        for subscription in list(self.subscriptions.values()):
            subscription.dispatch()
        return entry

    @property
    def entries(self) -> list[Stored]:
        """The entries that the topic has, oldest first."""
        return list(self._entries.values())

    def entry(self, entry: int) -> Stored | None:
        """An entry; None if it was dropped or does not exist yet."""
        return self._entries.get(entry)

    def entry_at(self, published_ms: int) -> int:
        """The id of the first entry that was published at this time or later; of the next one if there is none."""
        found = (entry for entry, stored in self._entries.items() if stored.published_ms >= published_ms)
        return next(found, self.end)

    def entry_of(self, where: pb.MessageIdData) -> int:
        """The id of the entry that a message id names, or of the nearest one that the topic can have."""
        # The earliest id is -1:-1, which is 2^64 - 1 here; the latest one is 2^63 - 1.
        if where.ledgerId >= 1 << 63 or where.ledgerId < self.ledger or where.entryId >= 1 << 63:
            return self.oldest
        return self.end if where.ledgerId > self.ledger else max(self.oldest, min(where.entryId, self.end))

    def subscribe(self, name: str, start: int, kind: int, durable: bool = True) -> Subscription:
        """The subscription of this name. A new one starts with the entry of the id `start`."""
        if name not in self.subscriptions:
            self.subscriptions[name] = Subscription(self, name, start, kind, durable)
        return self.subscriptions[name]


class Subscription:
    """A position in a topic, and the consumers that read from it.

    ``kind``: the type of the subscription. The consumers of a shared one take turns, those of a key-shared one divide
    the keys, else the first one gets all entries. An entry is delivered again if its consumer disconnects without
    acknowledging it. ``durable``: whether it outlives its consumers.
    """

    def __init__(self, topic: Topic, name: str, start: int, kind: int, durable: bool = True) -> None:
        self._topic = topic
        self._name = name
        self._next = start
        self._due: list[int] = []  # a heap of entries to deliver again, in which acknowledged ones may remain
        self._again: set[int] = set()
        self._delivered: dict[int, int] = {}
        self._active: AttachedConsumer | None = None
        self._dispatching = False
        self.kind = kind
        self.durable = durable
        self.consumers: list[AttachedConsumer] = []

    @property
    def acknowledged_before(self) -> int:
        """All entries before this id are acknowledged."""
        held = [min(each) for each in (self._again, *(one.unacknowledged for one in self.consumers)) if each]
        return min([self._next, *held])

    @property
    def backlog(self) -> int:
        """The entries that are not acknowledged."""
        held = len(self._again) + sum(len(each.unacknowledged) for each in self.consumers)
        return held + self._topic.end - max(self._next, self._topic.oldest)

    def attach(self, consumer: AttachedConsumer) -> None:
        """Add a consumer."""
        self.consumers.append(consumer)
        if self.kind == pb.CommandSubscribe.Failover:
            self._activate(consumer)

    def detach(self, consumer: AttachedConsumer) -> None:
        """Remove a consumer, and redeliver the entries that it has not acknowledged."""
        self.consumers.remove(consumer)
        self._repeat(consumer, list(consumer.unacknowledged))
        if not self.durable and not self.consumers:
            self.end()
        if self.kind == pb.CommandSubscribe.Failover and self.consumers and self._active is consumer:
            self._activate(self.consumers[0])
        self.dispatch()

    def end(self) -> None:
        """Delete the subscription."""
        if self._topic.subscriptions.get(self._name) is self:
            del self._topic.subscriptions[self._name]

    def acknowledge(self, entry: int, cumulative: bool = False) -> None:
        """Acknowledge an entry, or with `cumulative` also all entries before it."""
        done = {entry}
        if cumulative:
            held = [self._again, *(consumer.unacknowledged for consumer in self.consumers)]
            done = {sent for each in held for sent in each if sent <= entry}
            self._next = max(self._next, min(entry + 1, self._topic.end))
        for consumer in self.consumers:
            consumer.unacknowledged -= done
        self._again -= done
        for sent in done:
            self._delivered.pop(sent, None)
        self.dispatch()

    def redeliver(self, consumer: AttachedConsumer, entries: Iterable[int] | None = None) -> None:
        """Deliver entries again that a consumer holds without an acknowledgement. None: all of them."""
        held = consumer.unacknowledged
        self._repeat(consumer, list(held) if entries is None else [entry for entry in set(entries) if entry in held])
        self.dispatch()

    def seek(self, entry: int) -> None:
        """Continue with the entry of this id, as if the entries before it, and no others, were acknowledged."""
        self._next = entry
        self._due.clear()
        self._again.clear()
        self._delivered.clear()
        for consumer in self.consumers:
            consumer.unacknowledged.clear()
            consumer.permits = 0

    def dispatch(self) -> None:
        """Deliver entries while there are entries and permits."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while (due := self._next_entry()) is not None and (consumer := self._next_consumer(due[1])) is not None:
                entry, stored = due
                if entry == self._next:
                    self._next += 1
                else:
                    self._again.discard(heapq.heappop(self._due))
                before = self._delivered.get(entry, 0)
                self._delivered[entry] = before + 1
                # A batch is delivered whole, even if it has more messages than permits.
                consumer.permits -= stored.count
                consumer.unacknowledged.add(entry)
                consumer.deliver(entry, stored, before)
        finally:
            self._dispatching = False

    def _activate(self, consumer: AttachedConsumer) -> None:
        """Say to a consumer of a failover subscription whether it is the active one."""
        self._active = self.consumers[0]
        consumer.activate(consumer is self._active)

    def _repeat(self, consumer: AttachedConsumer, entries: list[int]) -> None:
        consumer.unacknowledged.difference_update(entries)
        for entry in entries:
            heapq.heappush(self._due, entry)
        self._again.update(entries)

    def _next_entry(self) -> tuple[int, Stored] | None:
        """The next entry to deliver. Skips entries that are acknowledged, or that the topic has dropped."""
        while self._due:
            entry = self._due[0]
            if entry in self._again and (stored := self._topic.entry(entry)) is not None:
                return entry, stored
            self._again.discard(heapq.heappop(self._due))
            self._delivered.pop(entry, None)
        self._next = max(self._next, self._topic.oldest)
        stored = self._topic.entry(self._next)
        return None if stored is None else (self._next, stored)

    def _next_consumer(self, stored: Stored) -> AttachedConsumer | None:
        choice = self.consumers if self.kind in _SHARED else self.consumers[:1]
        if self.kind == pb.CommandSubscribe.Key_Shared and choice and stored.key:
            choice = [choice[zlib.crc32(stored.key) % len(choice)]]
        for consumer in choice:
            if consumer.permits > 0 and len(consumer.unacknowledged) < MAX_UNACKNOWLEDGED and consumer.writable():
                if self.kind == pb.CommandSubscribe.Shared:
                    self.consumers.remove(consumer)
                    self.consumers.append(consumer)
                return consumer
        return None
