"""The topics of the demo cluster: messages, subscriptions and consumers, in memory. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from attrs import Factory, define, frozen

#: Maximum size of a topic, in bytes of payload sections. Beyond it, the oldest messages are dropped.
MAX_KEPT_BYTES = 16 * 1024 * 1024


@frozen
class Stored:
    """One entry of a topic: a payload section as the producer sent it, and its number of messages."""

    section: bytes
    count: int


@define(eq=False)
class DemoConsumer:
    """A consumer of one subscription.

    ``deliver(entry id, entry, previous deliveries)`` sends an entry. ``permits``: the number of messages that it may
    still receive. ``unacknowledged``: the ids of delivered entries that it has not acknowledged.
    """

    deliver: Callable[[int, Stored, int], None]
    permits: int = 0
    unacknowledged: set[int] = Factory(set)


class Topic:
    """Messages in order, and the subscriptions that read them.

    Entry ids count from 0. The topic keeps at most `max_bytes` bytes, but always the newest entry.
    """

    def __init__(self, ledger: int, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.ledger = ledger
        self.subscriptions: dict[str, Subscription] = {}
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[int, Stored] = {}
        self.oldest = 0
        self.end = 0

    def publish(self, section: bytes, count: int) -> int:
        """Store one entry and deliver it. @return: its id."""
        entry = self.end
        self._entries[entry] = Stored(section, count)
        self._bytes += len(section)
        self.end += 1
        while self._bytes > self._max_bytes and self.oldest < entry:
            self._bytes -= len(self._entries.pop(self.oldest).section)
            self.oldest += 1
        for subscription in self.subscriptions.values():
            subscription.dispatch()
        return entry

    def entry(self, entry: int) -> Stored | None:
        """An entry; None if it was dropped or does not exist yet."""
        return self._entries.get(entry)

    def subscribe(self, name: str, earliest: bool, shared: bool) -> Subscription:
        """The subscription of this name. A new one starts with the oldest entry or with the next one."""
        if name not in self.subscriptions:
            start = self.oldest if earliest else self.end
            self.subscriptions[name] = Subscription(self, name, start, shared)
        return self.subscriptions[name]


class Subscription:
    """A position in a topic, and the consumers that read from it.

    ``shared``: whether consumers take turns; else the first one gets all entries. An entry is delivered again if its
    consumer disconnects without acknowledging it.
    """

    def __init__(self, topic: Topic, name: str, start: int, shared: bool) -> None:
        self._topic = topic
        self._name = name
        self._next = start
        self._redeliver: list[int] = []
        self._delivered: dict[int, int] = {}
        self.shared = shared
        self.consumers: list[DemoConsumer] = []

    def detach(self, consumer: DemoConsumer) -> None:
        """Remove a consumer, and redeliver the entries that it has not acknowledged."""
        self.consumers.remove(consumer)
        for entry in consumer.unacknowledged:
            heapq.heappush(self._redeliver, entry)
        self.dispatch()

    def end(self) -> None:
        """Delete the subscription."""
        self._topic.subscriptions.pop(self._name, None)

    def acknowledge(self, consumer: DemoConsumer, entry: int, cumulative: bool) -> None:
        """Acknowledge an entry, or with `cumulative` also all entries before it."""
        done = {sent for sent in consumer.unacknowledged if sent <= entry} if cumulative else {entry}
        consumer.unacknowledged -= done
        for sent in done:
            self._delivered.pop(sent, None)

    def dispatch(self) -> None:
        """Deliver entries while there are entries and permits."""
        while (due := self._due()) is not None and (consumer := self._next_consumer()) is not None:
            entry, stored = due
            if entry == self._next:
                self._next += 1
            else:
                heapq.heappop(self._redeliver)
            before = self._delivered.get(entry, 0)
            self._delivered[entry] = before + 1
            # A batch is delivered whole, even if it has more messages than permits.
            consumer.permits -= stored.count
            consumer.unacknowledged.add(entry)
            consumer.deliver(entry, stored, before)

    def _due(self) -> tuple[int, Stored] | None:
        """The next entry to deliver. Skips entries that the topic has dropped."""
        while self._redeliver:
            if (stored := self._topic.entry(self._redeliver[0])) is not None:
                return self._redeliver[0], stored
            self._delivered.pop(heapq.heappop(self._redeliver))
        self._next = max(self._next, self._topic.oldest)
        stored = self._topic.entry(self._next)
        return None if stored is None else (self._next, stored)

    def _next_consumer(self) -> DemoConsumer | None:
        for consumer in self.consumers if self.shared else self.consumers[:1]:
            if consumer.permits > 0:
                if self.shared:
                    self.consumers.remove(consumer)
                    self.consumers.append(consumer)
                return consumer
        return None
