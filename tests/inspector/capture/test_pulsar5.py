"""Tests for captures of Pulsar 5.0: what the inspector and the ledger say about real clients and brokers."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.reading import CaptureEvents
from sniproxy.inspector.entries import TopicEntry
from sniproxy.inspector.layouts import tables
from sniproxy.pulsar.events import Event, Fields
from tests.inspector.capture.building import pcap
from tests.inspector.capture.recorded import framed_packets, reading, recorded

CAPTURES = ("layout", "migrated", "scalable", "subscribe-denied", "txn", "txn-disabled", "watch")
PORTS = 26650, 26660, 26670
CHANGES = "moved", "split", "merged"
TOPIC = "topic://public/default/orders407"


def read(name: str) -> tuple[list[Event], CaptureEvents]:
    return reading(recorded(f"pulsar5-{name}"))


def named(events: list[Event], *names: str) -> list[Fields]:
    """The fields of the events with these names."""
    return [event.fields for event in events if event.name in names]


def segments(fields: Fields, key: str = "segments") -> list[str]:
    """The segments in an event: their hashes and ids."""
    return [str(at["segment_topic"]).rpartition("/")[2] for at in tables(fields[key])]


def entries(capture: CaptureEvents) -> dict[str, TopicEntry]:
    return {entry.topic: entry for entry in capture.ledger.topics()}


class AllTests(SynchronousTestCase):
    """All captures."""

    def test_complete(self) -> None:
        """Every command is known, and every request has its answer."""
        for name in CAPTURES:
            events, _ = read(name)
            self.assertEqual(named(events, "unanswered", "lost", "gap"), [], name)
            for ended in named(events, "ended"):
                assert isinstance(ended["commands"], dict)
                self.assertFalse([command for command in ended["commands"] if command.startswith("TYPE_")], name)

    def test_changes(self) -> None:
        """Topics move, split and merge only where they did."""
        found = {name: [event.name for event in read(name)[0] if event.name in CHANGES] for name in CAPTURES}
        expected = {**{name: [] for name in CAPTURES}, "layout": ["split", "merged"], "migrated": ["moved"]}
        self.assertEqual(found, expected)

    def test_parts(self) -> None:
        """A capture that begins late or ends early shows no changes of its own."""
        for name in CAPTURES:
            whole = Counter(str(fields) for fields in named(read(name)[0], *CHANGES))
            packets = framed_packets(f"pulsar5-{name}")
            for at in range(0, len(packets), 1 + len(packets) // 8):
                for part in (packets[at:], packets[:at]):
                    events, _ = reading(pcap(part), *PORTS)
                    found = Counter(str(fields) for fields in named(events, *CHANGES))
                    self.assertEqual(found - whole, Counter(), name)


class ScalableTests(SynchronousTestCase):
    """Scalable topics."""

    def test_assignments(self) -> None:
        """Which consumer has which segments, as the controller says."""
        events, _ = read("scalable")
        found = [
            (fields["subscription"], fields["consumer_name"], fields["consumer_type"], segments(fields))
            for fields in named(events, "scalable_subscribe", "assignment")
        ]
        first, second, third = everything = ["0000-5554-0", "5555-aaa9-1", "aaaa-ffff-2"]
        self.assertEqual([one[2:] for one in found[:2]], [("STREAM", everything), ("CHECKPOINT", everything)])
        expected = [
            ("rb", "one", "STREAM", everything),
            ("rb", "one", "STREAM", [first, third]),
            ("rb", "two", "STREAM", [second]),
            ("rb", "one", "STREAM", everything),
        ]
        self.assertEqual(found[2:], expected)
        left = [fields["consumer_name"] for fields in named(events, "scalable_unsubscribe")]
        self.assertEqual(left[2:], ["two", "one"])

    def test_ledger(self) -> None:
        """The topic and its segments are one entry each; the controller has a place of its own."""
        _, capture = read("scalable")
        names = [f"segment://public/default/orders407/{name}" for name in ("0000-5554-0", "5555-aaa9-1", "aaaa-ffff-2")]
        found = entries(capture)
        self.assertEqual(set(found), {TOPIC, *names})
        layout = found[TOPIC].layout
        assert layout is not None
        self.assertEqual((found[TOPIC].broker_url, layout.controller_url),
                         ("pulsar://127.0.0.1:26660", "pulsar://127.0.0.1:26650"))  # fmt: skip
        self.assertEqual([namespace.namespace for namespace in capture.ledger.namespaces()], ["public/default"])

    def test_layout(self) -> None:
        """A split and a merge, with the segments before and after."""
        events, capture = read("layout")
        split, merged = named(events, "split", "merged")
        self.assertEqual((split["epoch"], segments(split, "parents")), (1, ["0000-7fff-0"]))
        self.assertEqual(segments(split, "children"), ["0000-3fff-2", "4000-7fff-3"])
        self.assertEqual((merged["epoch"], segments(merged, "parents")), (2, ["0000-3fff-2", "4000-7fff-3"]))
        self.assertEqual(segments(merged, "children"), ["0000-7fff-4"])
        found = entries(capture).values()
        sealed = [entry.segment.segment_id for entry in found if entry.segment is not None and entry.segment.sealed]
        self.assertEqual(sorted(sealed), [0, 2, 3])

    def test_watch(self) -> None:
        """A watch of a namespace: how many topics there are, one more, and one less."""
        events, _ = read("watch")
        [snapshot] = named(events, "topics")
        self.assertEqual((snapshot["namespace"], snapshot["topics"]), ("public/default", 5))
        changes = [(fields["added"], fields["removed"]) for fields in named(events, "topics_changed")]
        self.assertEqual(changes, [(1, 0), (0, 1)])


class RefusedTests(SynchronousTestCase):
    """Answers with an error."""

    def test_consumer(self) -> None:
        """A consumer that may not subscribe."""
        [refused] = named(read("subscribe-denied")[0], "scalable_subscribe")
        self.assertEqual((refused["status"], refused["error"]), ("failed", "AuthorizationError"))

    def test_coordinators(self) -> None:
        """Coordinators that are not there."""
        [refused] = named(read("txn-disabled")[0], "coordinators")
        self.assertEqual((refused["status"], refused["error"]), ("failed", "ServiceNotReady"))


class OtherTests(SynchronousTestCase):
    """Coordinators and migration."""

    def test_coordinators(self) -> None:
        """Leaders of coordinators are not the owners of topics."""
        _, capture = read("txn")
        found = {topic: entry for topic, entry in entries(capture).items() if "transaction_coordinator" in topic}
        self.assertEqual(len(found), 4)
        for entry in found.values():
            self.assertEqual(
                (entry.has_owner, entry.leader_url_tls), (False, "pulsar+ssl://broker-1.pulsar.test:26651")
            )

    def test_migrated(self) -> None:
        """A migrated topic belongs to the other cluster, in the entry of each cluster."""
        _, capture = read("migrated")
        owners = {(entry.cluster, entry.broker_url, entry.migrated) for entry in capture.ledger.topics()}
        green = "pulsar://127.0.0.1:26670"
        self.assertEqual(owners, {("127.0.0.1:26650", green, True), ("127.0.0.1:26670", green, False)})
