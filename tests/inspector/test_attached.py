"""Tests for sniproxy.inspector.attached."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.attached import Attachments, Change
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event
from tests.admin.sample import lookup

TOPIC = "persistent://public/default/orders"
ADDED: Change = ("here", TOPIC, "producers", 1)
REMOVED: Change = ("here", TOPIC, "producers", -1)


def event(name: str, connection: str = "c", **fields: Any) -> Event:
    return Event(name, 1.0, connection, {"topic": TOPIC, **fields})


def producer(number: int = 1, status: str = "ready", connection: str = "c", **more: Any) -> Event:
    return event("producer", connection, status=status, producer_id=number, **more)


def consumer(number: int = 1, status: str = "ready", connection: str = "c") -> Event:
    return event("subscribe", connection, status=status, consumer_id=number)


def close(kind: str = "producer", number: int = 1, connection: str = "c") -> Event:
    urls: dict[str, Any] = {"broker_url": None, "broker_url_tls": None}
    return event("close", connection, by="client", kind=kind, id=number, **urls)


class AttachmentsTests(SynchronousTestCase):
    """Attachments."""

    def take(self, attached: Attachments, *events: Event) -> list[Change]:
        return [change for each in events for change in attached.take(each, "here")]

    def test_open_and_close(self) -> None:
        """A producer and a consumer count from their answer until they are closed, each by its own id."""
        attached = Attachments()
        self.assertEqual([ADDED, ("here", TOPIC, "consumers", 1)], self.take(attached, producer(), consumer()))
        self.assertEqual(2, len(attached))
        self.assertEqual([], self.take(attached, close("producer", 2), close("consumer", connection="other")))
        self.assertEqual([REMOVED], self.take(attached, close(), close()))
        self.assertEqual([("here", TOPIC, "consumers", -1)], self.take(attached, event("unsubscribe", consumer_id=1)))
        self.assertEqual(0, len(attached))

    def test_not_opened(self) -> None:
        """Only those that the broker accepts count, and only with a topic."""
        attached = Attachments()
        refused = [producer(status="queued"), producer(status="failed"), consumer(status="failed")]
        self.assertEqual(
            [], self.take(attached, *refused, event("producer", status="ready", producer_id=3, topic=None))
        )
        self.assertEqual([], self.take(attached, event("lookup", response="connect")))

    def test_again(self) -> None:
        """A producer that opens again with the same id counts once."""
        self.assertEqual([ADDED, REMOVED, ADDED], self.take(Attachments(), producer(), producer()))

    def test_migrated(self) -> None:
        """A producer of a migrated topic is gone: the client opens it in the other cluster."""
        self.assertEqual(
            [ADDED, REMOVED], self.take(Attachments(), producer(), event("migrated", kind="producer", id=1))
        )

    def test_ended(self) -> None:
        """The end of a connection, or of its inspection, closes all that it has open, and nothing of others."""
        for name in ("ended", "lost"):
            attached = Attachments()
            self.take(attached, producer(1), producer(2), consumer(1), producer(connection="other"))
            self.assertEqual(3, len(self.take(attached, event(name))))
            self.assertEqual((1, []), (len(attached), self.take(attached, event(name))))

    def test_bounded(self) -> None:
        """Beyond the maximum, further ones are not counted, until others close."""
        attached = Attachments(2)
        self.assertEqual(2, len(self.take(attached, *(producer(number) for number in range(5)))))
        self.assertEqual([REMOVED, ADDED], self.take(attached, close(number=0), producer(9)))


class LedgerCountsTests(SynchronousTestCase):
    """The counts of the ledger's entries."""

    def counts(self, ledger: Ledger) -> list[tuple[int, int]]:
        return [(entry.producers, entry.consumers) for entry in ledger.topics()]

    def test_counts(self) -> None:
        """An entry has the open producers and consumers of its topic; one without an entry is not counted."""
        ledger = Ledger()
        ledger.learn(producer(connection="early"))
        ledger.learn(lookup(topic=TOPIC))
        for each in (producer(1), producer(2), consumer(1)):
            ledger.learn(each)
        self.assertEqual([(2, 1)], self.counts(ledger))
        for each in (close("producer", 2), event("ended", "early")):
            ledger.learn(each)
        self.assertEqual([(1, 1)], self.counts(ledger))

    def test_folded(self) -> None:
        """A folded topic has the sums of its partitions."""
        ledger = Ledger()
        for number in range(3):
            topic = f"{TOPIC}-partition-{number}"
            ledger.learn(lookup(topic=topic))
            ledger.learn(producer(number, topic=topic))
        self.assertEqual([(3, 0)], [(entry.producers, entry.consumers) for entry in ledger.topics(True)])
