"""The topics of the stand-in cluster: messages, subscriptions and consumers, in memory. No I/O here."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from attrs import Factory, define, frozen

#: How much a topic keeps, in bytes of payload sections; then its oldest messages go.
MAX_KEPT_BYTES = 16 * 1024 * 1024


@frozen
class Stored:
    """One entry of a topic: a payload section as its producer sent it, and how many messages are in it."""

    section: bytes
    count: int


@define(eq=False)
class DemoConsumer:
    """Takes entries of one subscription.

    ``deliver(entry id, entry, times delivered before)`` sends one on. ``permits``: how many messages may
    still be sent. ``unacknowledged``: what was sent, by entry id.
    """

    deliver: Callable[[int, Stored, int], None]
    permits: int = 0
    unacknowledged: set[int] = Factory(set)


class Topic:
    """Messages in the order in which they came, and the subscriptions that read them.

    Entry ids count from 0. At most `kept` bytes are kept (the newest entry always is).
    """

    def __init__(self, ledger: int, kept: int = MAX_KEPT_BYTES) -> None:
        self.ledger = ledger
        self.subscriptions: dict[str, Subscription] = {}
        self._kept = kept
        self._bytes = 0
        self._entries: dict[int, Stored] = {}
        self.oldest = 0
        self.end = 0

    def publish(self, section: bytes, count: int) -> int:
        """Store one entry, hand it to whoever waits for it, and return its id."""
        entry = self.end
        self._entries[entry] = Stored(section, count)
        self._bytes += len(section)
        self.end += 1
        while self._bytes > self._kept and self.oldest < entry:
            self._bytes -= len(self._entries.pop(self.oldest).section)
            self.oldest += 1
        for subscription in self.subscriptions.values():
            subscription.dispatch()
        return entry

    def entry(self, entry: int) -> Stored | None:
        """An entry; None when it is gone or not there yet."""
        return self._entries.get(entry)

    def subscribe(self, name: str, earliest: bool, shared: bool) -> Subscription:
        """The subscription of that name; a new one begins with the oldest entry, or with the next to come."""
        if name not in self.subscriptions:
            start = self.oldest if earliest else self.end
            self.subscriptions[name] = Subscription(self, name, start, shared)
        return self.subscriptions[name]


class Subscription:
    """A place in a topic, and the consumers that read from there.

    ``shared``: consumers take turns; else the first one gets everything. Each entry is delivered once, and
    once more when its consumer leaves without having acknowledged it.
    """

    def __init__(self, topic: Topic, name: str, start: int, shared: bool) -> None:
        self._topic = topic
        self._name = name
        self._next = start
        self._again: list[int] = []
        self._delivered: dict[int, int] = {}
        self.shared = shared
        self.consumers: list[DemoConsumer] = []

    def detach(self, consumer: DemoConsumer) -> None:
        """The consumer has left; what it has not acknowledged goes to the others."""
        self.consumers.remove(consumer)
        for entry in consumer.unacknowledged:
            heapq.heappush(self._again, entry)
        self.dispatch()

    def end(self) -> None:
        """The topic forgets this subscription; its consumers get nothing more."""
        self._topic.subscriptions.pop(self._name, None)

    def acknowledge(self, consumer: DemoConsumer, entry: int, cumulative: bool) -> None:
        """An entry, or also all before it, need not be delivered to this consumer again."""
        done = {sent for sent in consumer.unacknowledged if sent <= entry} if cumulative else {entry}
        consumer.unacknowledged -= done
        for sent in done:
            self._delivered.pop(sent, None)

    def dispatch(self) -> None:
        """Deliver as long as there are entries and permits."""
        while (due := self._due()) is not None and (consumer := self._whose_turn()) is not None:
            entry, stored = due
            if entry == self._next:
                self._next += 1
            else:
                heapq.heappop(self._again)
            before = self._delivered.get(entry, 0)
            self._delivered[entry] = before + 1
            # A batch is delivered whole, even when it holds more messages than were permitted.
            consumer.permits -= stored.count
            consumer.unacknowledged.add(entry)
            consumer.deliver(entry, stored, before)

    def _due(self) -> tuple[int, Stored] | None:
        """What is to be delivered next; entries that the topic has dropped are passed over."""
        while self._again:
            if (stored := self._topic.entry(self._again[0])) is not None:
                return self._again[0], stored
            self._delivered.pop(heapq.heappop(self._again))
        self._next = max(self._next, self._topic.oldest)
        stored = self._topic.entry(self._next)
        return None if stored is None else (self._next, stored)

    def _whose_turn(self) -> DemoConsumer | None:
        for consumer in self.consumers if self.shared else self.consumers[:1]:
            if consumer.permits > 0:
                if self.shared:
                    self.consumers.remove(consumer)
                    self.consumers.append(consumer)
                return consumer
        return None
