"""Tests for sniproxy.inspector.ledger: scalable topics, coordinators and migrated topics."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.entries import TopicEntry
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event, Fields

TOPIC = "topic://public/default/orders"
LEFT, RIGHT = (f"segment://public/default/orders/{name}" for name in ("0000-7fff-0", "8000-ffff-1"))
OLDER = "persistent://public/default/orders"
COORDINATOR = "persistent://pulsar/system/transaction_coordinator_assign-partition-3"


def urls(broker: int | None, tls: bool = True) -> dict[str, Any]:
    if broker is None:
        return {"broker_url": None, "broker_url_tls": None}
    return {
        "broker_url": f"pulsar://b{broker}:6650",
        "broker_url_tls": f"pulsar+ssl://b{broker}:6651" if tls else None,
    }


def lookup(topic: str, broker: int | None, time: float = 1.0, **more: Any) -> Event:
    fields: dict[str, Any] = {
        "topic": topic,
        "response": "connect",
        **urls(broker),
        "authoritative": True,
        "proxy_through_service_url": False,
        "latency_s": 0.1,
        "error": None,
    }
    return Event("lookup", time, "c1", {**fields, **more})


def segment(number: int, broker: int | None, *parents: int, epoch: int = 0, **more: Any) -> dict[str, Any]:
    """A segment in an event. Layouts have no TLS URLs."""
    fields: dict[str, Any] = {
        "segment_id": number,
        "topic": None,
        "segment_topic": (LEFT, RIGHT)[number] if number < 2 else f"segment://public/default/orders/0-0-{number}",
        "hash_start": 0x8000 * number,
        "hash_end": 0x8000 * number + 0x7FFF,
        "sealed": False,
        "parents": [*parents],
        "created_epoch": epoch,
        "created": 100.0 + epoch,
        **urls(broker, tls=False),
    }
    return {**fields, **more}


def layout(epoch: int, *segments: Fields, controller: int | None = 9, time: float = 1.0, **more: Any) -> Event:
    fields: dict[str, Any] = {
        "topic": TOPIC,
        "resolved_topic": TOPIC,
        "status": "success",
        "epoch": epoch,
        "segments": [*segments],
        "segments_total": len(segments),
        **{f"controller_{name}": value for name, value in urls(controller, tls=False).items()},
    }
    return Event("scalable_topic", time, "c2", {**fields, **more})


class LedgerCase(SynchronousTestCase):
    """A ledger of one place."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def learn(self, *events: Event, place: str = "vip.test") -> list[str]:
        """The names of the events that follow."""
        return [each.name for event in events for each in self.ledger.learn(event, place)]

    def entry(self, topic: str) -> TopicEntry:
        [entry] = [entry for entry in self.ledger.topics() if entry.topic == topic]
        return entry


class ScalableTests(LedgerCase):
    """Scalable topics."""

    def test_controller(self) -> None:
        """A controller is not the owner: it has its own place, and neither moves the other."""
        self.assertEqual(self.learn(layout(0), lookup(TOPIC, 2), layout(0, controller=1), lookup(TOPIC, 2)), [])
        entry = self.entry(TOPIC)
        assert entry.layout is not None
        self.assertEqual((entry.broker_url, entry.layout.controller_url), ("pulsar://b2:6650", "pulsar://b1:6650"))
        self.assertEqual((entry.source, entry.moves_total, entry.lookups), ("lookup", 0, 2))

    def test_no_lookup(self) -> None:
        """A topic that no lookup has named has no owner; a redirect may name one."""
        self.learn(layout(0))
        entry = self.entry(TOPIC)
        self.assertEqual((entry.has_owner, entry.source, entry.since), (False, "", 1.0))
        self.assertEqual(self.learn(lookup(TOPIC, 2, 5.0, response="redirect")), [])
        self.assertEqual((entry.source, entry.since), ("redirect", 5.0))

    def test_segments(self) -> None:
        """Each segment is one entry under its real name, or the name of the older topic that it is."""
        older = segment(2, 3, segment_topic=OLDER, topic=OLDER, hash_start=None, hash_end=None)
        self.learn(layout(0, segment(0, 1), segment(1, None, sealed=True), older, segment(3, 1, segment_topic=None)))
        found = {entry.topic: (entry.broker_url, entry.source) for entry in self.ledger.topics()}
        expected = {TOPIC: (None, ""), LEFT: ("pulsar://b1:6650", "scalable_topic"), RIGHT: (None, "")}
        self.assertEqual(found, {**expected, OLDER: ("pulsar://b3:6650", "scalable_topic")})
        left, right = self.entry(LEFT).segment, self.entry(RIGHT).segment
        assert left is not None and right is not None
        self.assertEqual((left.scalable_topic, left.segment_id, left.hash_end, left.sealed), (TOPIC, 0, 0x7FFF, False))
        self.assertTrue(right.sealed)
        self.learn(lookup(LEFT, 1))
        self.assertEqual(len(self.ledger), 4)

    def test_lookup_decides(self) -> None:
        """A lookup's URL stands for a segment's owner; the layout's, of another listener, is no move."""
        self.assertEqual(self.learn(layout(0, segment(0, 1)), lookup(LEFT, 5)), [])
        self.assertEqual(self.learn(layout(0, segment(0, 1)), layout(0, segment(0, 2))), [])
        self.assertEqual((self.entry(LEFT).broker_url, self.entry(LEFT).source), ("pulsar://b5:6650", "lookup"))
        self.assertEqual(self.learn(lookup(LEFT, 6)), ["moved"])

    def test_layout_moves(self) -> None:
        """Without a lookup, another broker in a layout is a move."""
        self.assertEqual(self.learn(layout(0, segment(0, 1)), layout(0, segment(0, 1))), [])
        self.assertEqual(self.learn(layout(0, segment(0, 2))), ["moved"])
        self.assertEqual(self.entry(LEFT).moves[0].source, "scalable_topic")

    @given(st.lists(st.tuples(st.booleans(), st.integers(1, 3))))
    def test_any_order(self, told: list[tuple[bool, int]]) -> None:
        """In any order, a segment moves with its lookups, and with its layouts only before the first lookup."""
        self.ledger = Ledger()
        owner, by_lookup, moves = 0, False, 0
        for is_lookup, broker in told:
            self.learn(lookup(LEFT, broker) if is_lookup else layout(0, segment(0, broker)))
            if is_lookup or not by_lookup:
                moves += owner not in (0, broker) and is_lookup == by_lookup
                owner, by_lookup = broker, is_lookup
        found = [(entry.broker_url, entry.moves_total) for entry in self.ledger.topics() if entry.topic == LEFT]
        self.assertEqual(found, [(f"pulsar://b{owner}:6650", moves)] if told else [])

    def test_unloaded(self) -> None:
        """A segment that its broker gives up is unsettled until a lookup names the next owner."""
        self.learn(layout(0, segment(0, 1)), lookup(LEFT, 1))
        close = {"by": "broker", "kind": "producer", "id": 1, "topic": LEFT, **urls(None)}
        self.assertEqual(self.learn(Event("close", 2.0, "c", close)), [])
        self.assertTrue(self.entry(LEFT).unsettled)
        self.assertEqual(self.learn(layout(0, segment(0, 2)), lookup(LEFT, 2)), ["moved"])
        self.assertFalse(self.entry(LEFT).unsettled)

    def test_split_and_merge(self) -> None:
        """Splits and merges are told once, although each session has its own update."""
        first = layout(0, segment(0, 1), segment(1, 1))
        split = layout(1, segment(0, None, sealed=True), segment(1, 1), *(segment(at, 2, 0, epoch=1) for at in (2, 3)))
        self.assertEqual(self.learn(first, first, split, split), ["split"])
        merged = layout(2, segment(1, 1), segment(4, 2, 2, 3, epoch=2))
        [event] = self.ledger.learn(merged, "vip.test")
        self.assertEqual((event.name, event.fields["topic"], event.fields["epoch"]), ("merged", TOPIC, 2))
        self.assertEqual((event.fields["cluster"], event.connection), ("vip.test", "c2"))

    def test_no_changes(self) -> None:
        """Changes before the first layout are not told: a capture may begin in the middle."""
        self.assertEqual(self.learn(layout(5, segment(4, 2, 2, 3, epoch=5))), [])

    def test_older_layout(self) -> None:
        """An older layout, as of a slow session, changes nothing."""
        self.learn(layout(1, segment(0, 2, sealed=True)))
        self.assertEqual(self.learn(layout(0, segment(0, 1), controller=3)), [])
        entry, left = self.entry(TOPIC), self.entry(LEFT)
        assert entry.layout is not None and left.segment is not None
        self.assertEqual((entry.layout.epoch, entry.layout.controller_url), (1, "pulsar://b9:6650"))
        self.assertEqual((left.segment.sealed, left.broker_url), (True, "pulsar://b2:6650"))

    def test_unnamed(self) -> None:
        """A layout without the topic's name, or a failed answer, adds no topics."""
        self.learn(layout(0, segment(0, 1), topic=None, resolved_topic=None), layout(0, status="failed"))
        self.assertEqual(len(self.ledger), 0)

    def test_namespace(self) -> None:
        """Lookups of a topic and of its segments count for their namespace."""
        self.learn(layout(0, segment(0, 1)), lookup(TOPIC, 1), lookup(LEFT, 1), lookup(LEFT, 2))
        counts = [(one.namespace, one.lookups, one.moves) for one in self.ledger.namespaces()]
        self.assertEqual(counts, [("public/default", 3, 1)])

    def test_fold(self) -> None:
        """Folded, a scalable topic and its segments are one entry with all brokers and the layout."""
        self.learn(layout(0, segment(0, 1), segment(1, 2), time=9.0), lookup(TOPIC, 3, 10.0), lookup(LEFT, 1, 11.0))
        [entry] = self.ledger.topics(fold_partitions=True)
        assert entry.layout is not None
        self.assertEqual((entry.topic, entry.segments, entry.partitions, entry.lookups), (TOPIC, 2, 0, 2))
        self.assertEqual(entry.brokers, ("pulsar+ssl://b1:6651", "pulsar+ssl://b3:6651", "pulsar://b2:6650"))
        self.assertEqual((entry.last_seen, entry.layout.segments), (11.0, 2))

    def test_clusters(self) -> None:
        """A controller and the brokers of segments belong to the topic's cluster."""
        self.learn(lookup(TOPIC, 1), place="vip.test")
        self.learn(layout(0, segment(0, 4), controller=3), place="b1")
        for number in (3, 4):
            self.learn(lookup(f"elsewhere {number}", 4 + number), place=f"b{number}:6650")
        self.assertEqual({entry.cluster for entry in self.ledger.topics()}, {"vip.test"})

    def test_loopback(self) -> None:
        """Internal listeners on loopback, which brokers of two clusters may have alike, do not join these."""
        inside: dict[str, Any] = {"broker_url": "pulsar://127.0.0.1:6650"}
        for number, place in enumerate(("east.test", "west.test", "east.test", "west.test")):
            led: Fields = {"tc_id": 3, **inside, "broker_url_tls": None}
            told = layout(0, segment(0, None, **inside), controller_broker_url="pulsar://localhost:6650")
            events = lookup(LEFT, 1 + number % 2), told, Event("coordinators", 1.0, "c", {"assignments": [led]})
            self.assertEqual(self.learn(*events, place=place), [])
        self.assertEqual({entry.cluster for entry in self.ledger.topics()}, {"east.test", "west.test"})

    def test_merged_clusters(self) -> None:
        """Clusters that turn out to be one: the owner that a lookup named stays, and is no move."""
        self.learn(lookup(LEFT, 5, 1.0), place="tap")
        self.learn(layout(0, segment(0, 1), time=2.0), place="internal")
        self.assertEqual(self.learn(lookup("other", 5, 3.0), lookup("another", 5, 3.0, **urls(1)), place="tap"), [])
        self.assertEqual((self.entry(LEFT).broker_url, self.entry(LEFT).moves_total), ("pulsar://b5:6650", 0))
        self.assertIsNotNone(self.entry(LEFT).segment)

    def test_bounded(self) -> None:
        """A large layout drops the topics seen longest ago."""
        self.ledger = Ledger(max_topics=5)
        self.learn(layout(0, *(segment(number, 1) for number in range(2, 200))))
        self.assertEqual(len(self.ledger), 5)


class CoordinatorTests(LedgerCase):
    """Transaction coordinators."""

    def test_leader(self) -> None:
        """A coordinator's leader is not the owner of the topic that classic clients look up."""
        leaders = [Event("coordinators", 1.0, "c", {"assignments": [{"tc_id": 3, **urls(at)}]}) for at in (1, 4)]
        self.assertEqual(self.learn(leaders[0], lookup(COORDINATOR, 2), leaders[1], lookup(COORDINATOR, 2)), [])
        entry = self.entry(COORDINATOR)
        self.assertEqual((entry.broker_url, entry.leader_url), ("pulsar://b2:6650", "pulsar://b4:6650"))
        self.assertEqual(entry.leader_url_tls, "pulsar+ssl://b4:6651")

    def test_refused(self) -> None:
        """A refused watch names none."""
        self.assertEqual(self.learn(Event("coordinators", 1.0, "c", {"assignments": []})), [])
        self.assertEqual(len(self.ledger), 0)


class MigrationTests(LedgerCase):
    """Migrated topics (PIP-188)."""

    def migrated(self, kind: str = "producer", time: float = 2.0) -> Event:
        return Event("migrated", time, "c", {"kind": kind, "id": 1, "topic": OLDER, **urls(8)})

    def test_stays(self) -> None:
        """Clients of the old cluster that come later look the topic up there: these are no moves."""
        self.assertEqual(self.learn(lookup(OLDER, 1), self.migrated()), ["moved"])
        close = {"by": "broker", "kind": "producer", "id": 1, "topic": OLDER, **urls(None)}
        for _ in range(3):
            again = lookup(OLDER, 1, 3.0), self.migrated("consumer", 4.0), Event("close", 5.0, "c", close)
            self.assertEqual(self.learn(*again), [])
        entry = self.entry(OLDER)
        self.assertEqual((entry.broker_url, entry.lookups, entry.moves_total), ("pulsar://b8:6650", 4, 1))
        self.assertEqual((entry.migrated, entry.unsettled), (True, False))

    def test_moved_back(self) -> None:
        """Once the old cluster accepts a producer, the next lookup there is a move."""
        self.learn(lookup(OLDER, 1), self.migrated())
        for place, status, moves in (
            ("green", "ready", []),
            ("vip.test", "failed", []),
            ("vip.test", "ready", ["moved"]),
        ):
            self.learn(Event("producer", 3.0, "c", {"topic": OLDER, "status": status}), place=place)
            self.assertEqual(self.learn(lookup(OLDER, 1)), moves)

    def test_unknown(self) -> None:
        """A producer of an unknown topic changes nothing."""
        self.learn(lookup(OLDER, 1))
        for topic in ("other", None):
            self.assertEqual(self.learn(Event("producer", 3.0, "c", {"topic": topic, "status": "ready"})), [])
        self.assertEqual(len(self.ledger), 1)

    def test_merged_clusters(self) -> None:
        """If both clusters turn out to have the same brokers, the migration is no second move."""
        self.learn(lookup(OLDER, 1), self.migrated(), place="blue")
        self.learn(lookup(OLDER, 7, 5.0), place="green")
        self.assertEqual(self.learn(lookup("x", 1, 6.0), place="green"), [])
        self.assertEqual((self.entry(OLDER).broker_url, self.entry(OLDER).migrated), ("pulsar://b7:6650", False))
