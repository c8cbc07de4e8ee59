"""Tests for sniproxy.admin.topics."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.topics import BATCH, MAX_RECENT, Topics, nothing_inspected
from sniproxy.inspector.entries import TopicEntry
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event, Fields, Value
from tests.admin.sample import NOW, lookup
from tests.support.reference import keys, rows, words

ONE, TWO = "pulsar+ssl://broker-1.pulsar.test:6651", "pulsar://broker-2:6650"


SEGMENT = "segment://a/b/t/0000-ffff"


def update(epoch: int, *segments: int, controller: str | None = None) -> Event:
    """An update of a scalable topic with these segments."""
    listed: list[Value] = [
        {
            "segment_id": number,
            "segment_topic": f"{SEGMENT}-{number}",
            "hash_start": 0,
            "hash_end": 65535,
            "sealed": False,
            "parents": [],
            "created_epoch": 0,
            "created": None,
            "broker_url": "pulsar://b:1",
            "broker_url_tls": None,
        }
        for number in reversed(segments)
    ]
    fields: Fields = {"topic": "topic://a/b/t", "resolved_topic": None, "status": "success", "epoch": epoch}
    fields |= {"segments": listed, "segments_total": len(segments)}
    fields |= {"controller_broker_url": controller, "controller_broker_url_tls": None}
    return Event("scalable_topic", 1.0 + epoch, "c", fields)


class TopicsTestCase(SynchronousTestCase):
    """A ledger and its JSON."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.topics = Topics(self.ledger)

    def tell(self, *events: Event, place: str = "") -> None:
        for event in events:
            for each in (event, *self.ledger.learn(event, place)):
                self.topics.event(each)

    def document(self, fold_partitions: bool = False, limit: int | None = None) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(json.dumps(self.topics.document(NOW, fold_partitions, limit)))
        return read


class LedgerTests(TopicsTestCase):
    """The ledger as JSON."""

    def test_topic(self) -> None:
        """A topic has all fields of the ledger, its moves, and its broker."""
        self.tell(lookup(time=1.0), lookup(time=2.0, broker=2), lookup(time=3.0))
        (topic,) = self.document()["topics"]
        self.assertEqual({field.name for field in attrs.fields(TopicEntry)} | {"broker"}, set(topic))
        self.assertEqual(
            (ONE, ONE, 3, 2), (topic["broker"], topic["broker_url_tls"], topic["lookups"], topic["moves_total"])
        )
        self.assertEqual([2.0, 3.0], [move["time"] for move in topic["moves"]])
        self.assertEqual(ONE, topic["moves"][1]["to_url_tls"])

    def test_order(self) -> None:
        """Topics with the most lookups come first; a limit keeps those."""
        self.tell(lookup(topic="a"), lookup(topic="b"), lookup(topic="b"), lookup(topic="c"))
        self.assertEqual(["b", "a", "c"], [topic["topic"] for topic in self.document()["topics"]])
        document = self.document(limit=1)
        self.assertEqual((3, ["b"]), (document["count"], [topic["topic"] for topic in document["topics"]]))

    def test_brokers(self) -> None:
        """A broker is identified by its TLS URL, or by the other one; its counts are sums over its topics."""
        self.tell(lookup(topic="a"), lookup(topic="b"), lookup(topic="b"))
        self.tell(lookup(topic="c", broker=2, broker_url_tls=None))
        self.assertEqual(
            [
                {"cluster": "", "broker": ONE, "topics": 2, "lookups": 3},
                {"cluster": "", "broker": TWO, "topics": 1, "lookups": 1},
            ],
            self.document(limit=1)["brokers"],
        )

    def test_clusters(self) -> None:
        """Topics, brokers, moves, failures and sums are separate for each cluster."""
        self.tell(lookup(), lookup(broker=2), lookup("failed", "TopicNotFound", topic="x"), place="east.test")
        self.tell(lookup(broker=3), place="west.test")
        document = self.document()
        self.assertEqual(
            [
                {"cluster": "east.test", "topics": 1, "lookups": 2, "moves": 1},
                {"cluster": "west.test", "topics": 1, "lookups": 1, "moves": 0},
            ],
            document["clusters"],
        )
        for name in ("topics", "brokers"):
            self.assertEqual(["east.test", "west.test"], [one["cluster"] for one in document[name]], name)
        for name in ("moved", "failures"):
            self.assertEqual(["east.test"], [one["cluster"] for one in document[name]], name)
        self.assertEqual({"east.test": 1, "west.test": 1}, self.topics.by_cluster())

    def test_many(self) -> None:
        """Of many topics a limit keeps those with the most lookups; sums are of all."""
        names = [f"t{number}" for number in range(3 * BATCH)]
        self.tell(*(lookup(topic=name) for name in names))
        most = sorted([names[0], names[BATCH + 1], names[-1]])  # as topics with equal counts are
        self.tell(*(lookup(topic=name) for name in most))
        document = self.document(limit=3)
        self.assertEqual(most, [topic["topic"] for topic in document["topics"]])
        self.assertEqual((len(names), len(names) + 3), (document["count"], document["brokers"][0]["lookups"]))
        # One for each batch, one behind them, and one for each batch in which scalable topics are searched.
        self.assertEqual(7, sum(1 for _ in self.topics.document_steps(NOW)))

    def test_many_folded(self) -> None:
        """Many partitions are folded in several steps."""
        self.tell(*(lookup(topic=f"persistent://a/b/t-partition-{number}") for number in range(3 * BATCH)))
        (topic,) = self.document(fold_partitions=True)["topics"]
        self.assertEqual(3 * BATCH, topic["partitions"])

    def test_fold(self) -> None:
        """Partitions are separate entries, or one folded entry."""
        self.tell(*(lookup(topic=f"persistent://a/b/t-partition-{number}") for number in range(3)))
        self.assertEqual(3, self.document()["count"])
        folded = self.document(fold_partitions=True)
        self.assertEqual((1, 3), (folded["count"], folded["topics"][0]["partitions"]))

    def test_scalable(self) -> None:
        """A scalable topic is listed with its controller and the segments of its last layout, by their ids."""
        self.tell(update(0, 1, 0, controller=None), update(1, 1, 2, controller="pulsar://c:1"))
        self.tell(lookup(topic=f"{SEGMENT}-2", time=9.0))
        document = self.document()
        segment = {"topic": f"{SEGMENT}-1", "segment_id": 1, "hash_start": 0, "hash_end": 65535, "sealed": False}
        segment |= {"parents": [], "broker": "pulsar://b:1", "lookups": 0}
        expected = {
            "cluster": "",
            "topic": "topic://a/b/t",
            "epoch": 1,
            "listed": 2.0,
            "controller_url": "pulsar://c:1",
            "controller_url_tls": None,
            "segments": [segment, {**segment, "topic": f"{SEGMENT}-2", "segment_id": 2, "broker": ONE, "lookups": 1}],
            "segments_total": 2,
        }
        self.assertEqual([expected], document["scalable_topics"])
        self.assertEqual(1, self.document(limit=0)["left_out"]["scalable_topics"])
        topics = {one["topic"]: one for one in document["topics"]}
        self.assertEqual((1, None), (topics["topic://a/b/t"]["layout"]["epoch"], topics["topic://a/b/t"]["segment"]))
        self.assertEqual(2, topics[f"{SEGMENT}-2"]["segment"]["segment_id"])
        # The topic and segment 0 have no broker that is known, or not any more.
        self.assertEqual({"pulsar://b:1", ONE}, {broker["broker"] for broker in document["brokers"]})
        self.assertEqual({"": 3}, self.topics.by_cluster())

    def test_many_segments(self) -> None:
        """Segments are searched in several steps."""
        self.tell(update(0, *range(3 * BATCH)))
        (topic,) = self.document()["scalable_topics"]
        self.assertEqual([*range(3 * BATCH)], [segment["segment_id"] for segment in topic["segments"]])

    def test_namespaces(self) -> None:
        """Counts of each namespace."""
        self.tell(lookup(topic="persistent://a/b/t"), lookup(topic="persistent://a/b/t", broker=2))
        (namespace,) = self.document()["namespaces"]
        self.assertEqual(("a/b", 2, 1), (namespace["namespace"], namespace["lookups"], namespace["moves"]))

    def test_nothing_inspected(self) -> None:
        """Without inspection the document has the same keys, and a flag."""
        document = nothing_inspected(NOW)
        self.assertEqual(set(self.document()), set(document))
        self.assertEqual((False, []), (document["inspecting"], document["topics"]))


class ReferenceTests(TopicsTestCase):
    """docs/reference/admin-api.md."""

    def test_all(self) -> None:
        """The manual lists every key; the fields of events are in their own table."""
        self.tell(lookup(), lookup(broker=2), lookup("failed", "TopicNotFound"))
        recent = {"moved", "split", "merged", "unrouted", "lost"}
        self.tell(update(0, 1), *(Event(name, 8.0, "c", {}) for name in recent - {"moved"}))
        document = self.document()
        self.assertEqual(len(recent), sum(len(document.pop(name)) for name in recent))
        self.assertEqual(set(), set(keys(document)) - words("/topics"))
        self.assertEqual(set(document) | recent | set(document["topics"][0]), set(rows("/topics")))


class EventTests(TopicsTestCase):
    """Recent events."""

    def test_lookups(self) -> None:
        """Lookups are counted; failed ones are listed, newest first."""
        self.tell(
            lookup(), lookup("failed", "TopicNotFound", 5.0, topic=None), lookup("failed", "ServiceNotReady", 6.0)
        )
        document = self.document()
        self.assertEqual((3, 2), (document["lookups"], document["failed"]))
        self.assertEqual(["ServiceNotReady", "TopicNotFound"], [one["error"] for one in document["failures"]])
        fields: Fields = {"topic": "t", "status": "failed", "error": "TopicNotFound", "message": None}
        self.tell(
            Event("partitions", 7.0, "c1", fields), Event("partitions", 7.0, "c1", {**fields, "status": "success"})
        )
        document = self.document()
        self.assertEqual((4, 3), (document["lookups"], document["failed"]))
        self.assertEqual("partitioned_metadata", document["failures"][0]["step"])

    def test_remembered(self) -> None:
        """Recent moves, brokers without a route, and connections that could not be read are listed."""
        self.tell(lookup(), lookup(broker=2, time=7.0))
        self.tell(Event("unrouted", 8.0, "ab12-8", {"broker_url_tls": ONE, "message": "no route has it"}))
        self.tell(Event("lost", 9.0, "ab12-9", {"side": "client", "reason": "no frame", "offset": 0}))
        self.tell(Event("ended", 10.0, "ab12-9", {}))
        document = self.document()
        self.assertEqual(
            {
                "time": 7.0,
                "connection": "ab12cd34-1",
                "topic": "persistent://public/default/orders",
                "from_url": "pulsar://broker-1:6650",
                "from_url_tls": ONE,
                "to_url": TWO,
                "to_url_tls": "pulsar+ssl://broker-2.pulsar.test:6651",
                "source": "lookup",
                "cluster": "",
            },
            document["moved"][0],
        )
        self.assertEqual("no route has it", document["unrouted"][0]["message"])
        self.assertEqual((9.0, "no frame"), (document["lost"][0]["time"], document["lost"][0]["reason"]))

    def test_bounded(self) -> None:
        """The number of recent events is bounded."""
        for number in range(3 * MAX_RECENT):
            self.tell(
                lookup(broker=number % 2 + 1, time=float(number)), lookup("failed", "TopicNotFound", float(number))
            )
        document = self.document()
        self.assertEqual((MAX_RECENT, MAX_RECENT), (len(document["failures"]), len(document["moved"])))
        self.assertEqual(3.0 * MAX_RECENT - 1, document["moved"][0]["time"])
