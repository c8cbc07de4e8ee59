"""Tests for sniproxy.inspector.ledger."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.entries import MAX_MOVES, TopicEntry
from sniproxy.inspector.ledger import MAX_FAILURES, MAX_NAMESPACES, Ledger
from sniproxy.pulsar.events import Event, Value
from tests.inspector.inspecting import inspect
from tests.pulsar import streams

ORDERS = "persistent://public/default/orders"


def urls(broker: int | None) -> dict[str, Value]:
    if broker is None:
        return {"broker_url": None, "broker_url_tls": None}
    return {"broker_url": f"pulsar://b{broker}:6650", "broker_url_tls": f"pulsar+ssl://b{broker}:6651"}


def lookup(broker: int | None = 1, topic: str | None = ORDERS, time: float = 1.0, **more: Any) -> Event:
    """The event of a lookup's answer, which names an owner by default."""
    fields: dict[str, Any] = {
        "topic": topic,
        "response": "connect",
        **urls(broker),
        "authoritative": True,
        "proxy_through_service_url": False,
        "advertised_listener": None,
        "latency_s": 0.25,
        "error": None,
        "message": None,
    }
    return Event("lookup", time, "c1", {**fields, **more})


def closed(broker: int | None, topic: str | None = ORDERS, by: str = "broker") -> Event:
    return Event("close", 2.0, "c2", {"by": by, "kind": "producer", "id": 1, "topic": topic, **urls(broker)})


class LedgerTests(SynchronousTestCase):
    """Ledger: events in, topics out."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def entry(self, topic: str = ORDERS) -> TopicEntry:
        [entry] = [entry for entry in self.ledger.topics() if entry.topic == topic]
        return entry

    def test_lookup(self) -> None:
        """A lookup's answer sets the owner, the connection, the latency and the times."""
        self.assertEqual(self.ledger.learn(lookup(), service="pulsar-vip.test"), [])
        entry = self.entry()
        self.assertEqual((entry.broker_url, entry.broker_url_tls), ("pulsar://b1:6650", "pulsar+ssl://b1:6651"))
        self.assertEqual((entry.source, entry.connection, entry.service), ("lookup", "c1", "pulsar-vip.test"))
        self.assertEqual((entry.authoritative, entry.proxy_through_service_url, entry.latency_s), (True, False, 0.25))
        self.ledger.learn(lookup(time=5.0))
        entry = self.entry()
        self.assertEqual((entry.first_seen, entry.since, entry.last_seen, entry.lookups), (1.0, 1.0, 5.0, 2))
        self.assertEqual((len(entry.moves), len(self.ledger)), (0, 1))

    def test_move(self) -> None:
        """A different broker is a move, recorded and returned as an event."""
        self.ledger.learn(lookup(1))
        [event] = self.ledger.learn(lookup(2, time=9.0))
        self.assertEqual((event.name, event.time, event.connection), ("moved", 9.0, "c1"))
        expected = {
            "topic": ORDERS,
            "from_url": "pulsar://b1:6650",
            "from_url_tls": "pulsar+ssl://b1:6651",
            "to_url": "pulsar://b2:6650",
            "to_url_tls": "pulsar+ssl://b2:6651",
            "source": "lookup",
            "cluster": "",
        }
        self.assertEqual(event.fields, expected)
        entry = self.entry()
        self.assertEqual((entry.since, entry.moves_total, entry.moves[0].to_url), (9.0, 1, "pulsar://b2:6650"))
        [namespace] = self.ledger.namespaces()
        self.assertEqual((namespace.namespace, namespace.lookups, namespace.moves), ("public/default", 2, 1))

    def test_urls_that_are_absent(self) -> None:
        """A missing URL is no move."""
        self.ledger.learn(lookup(1))
        self.assertEqual(self.ledger.learn(lookup(1, broker_url=None)), [])
        self.assertEqual(self.ledger.learn(lookup(1)), [])
        self.assertEqual(len(self.ledger.learn(lookup(2, broker_url_tls=None))), 1)

    def test_close(self) -> None:
        """A broker's close may name the next owner or not; a client's close changes nothing."""
        self.ledger.learn(lookup(1))
        self.ledger.learn(closed(None, by="client"))
        self.assertFalse(self.entry().unsettled)
        self.ledger.learn(closed(None))
        self.assertTrue(self.entry().unsettled)
        [event] = self.ledger.learn(closed(2))
        self.assertEqual(
            (event.fields["source"], self.entry().unsettled, self.entry().source), ("close", False, "close")
        )
        self.assertEqual(self.entry().connection, "c2")
        self.ledger.learn(closed(None, topic="other"))
        self.ledger.learn(closed(2, topic=None))
        self.assertEqual(len(self.ledger), 1)

    def test_migrated(self) -> None:
        """A migrated topic belongs to the broker of the other cluster."""
        fields = {"kind": "producer", "id": 1, "topic": ORDERS, **urls(3)}
        self.ledger.learn(Event("migrated", 1.0, "c", fields))
        self.assertEqual((self.entry().broker_url, self.entry().source), ("pulsar://b3:6650", "migrated"))

    def test_redirect(self) -> None:
        """An authoritative redirect sets an owner if no better source has; other redirects do not."""
        self.ledger.learn(lookup(2, response="redirect", authoritative=False))
        self.assertEqual(len(self.ledger), 0)
        self.ledger.learn(lookup(2, response="redirect"))
        self.assertEqual((self.entry().broker_url, self.entry().source), ("pulsar://b2:6650", "redirect"))
        self.ledger.learn(lookup(2))
        self.assertEqual(self.ledger.learn(lookup(3, response="redirect")), [])
        entry = self.entry()
        self.assertEqual((entry.broker_url, entry.lookups, entry.redirects), ("pulsar://b2:6650", 3, 2))

    def test_no_url(self) -> None:
        """An answer without a URL keeps the owner, and a later move is still seen."""
        nowhere: dict[str, Any] = {"broker_url": None, "broker_url_tls": None}
        for response in ("connect", "redirect"):
            self.assertEqual(self.ledger.learn(lookup(None, response=response, **nowhere)), [])
        self.assertEqual(len(self.ledger), 0)
        self.ledger.learn(lookup(1))
        for response in ("connect", "redirect"):
            self.assertEqual(self.ledger.learn(lookup(None, response=response, **nowhere)), [])
            self.assertEqual(self.entry().broker_url, "pulsar://b1:6650")
        [moved] = self.ledger.learn(lookup(2))
        self.assertEqual((moved.fields["from_url"], self.entry().lookups), ("pulsar://b1:6650", 4))

    def test_failed_metadata(self) -> None:
        """A failed PARTITIONED_METADATA is a failed lookup with its step; a successful one is not counted."""
        fields: dict[str, Value] = {"topic": ORDERS, "status": "failed", "error": "TopicNotFound", "message": "m"}
        failed = Event("partitions", 1.0, "c1", fields)
        self.ledger.learn(failed)
        self.assertEqual(len(self.ledger), 0)
        self.ledger.learn(lookup(1))
        self.ledger.learn(failed)
        self.ledger.learn(Event("partitions", 1.0, "c1", {**fields, "status": "success"}))
        entry, [namespace] = self.entry(), self.ledger.namespaces()
        self.assertEqual((entry.lookups, entry.failures, entry.last_error), (2, 1, "TopicNotFound"))
        self.assertEqual((namespace.lookups, namespace.failures), (3, 2))
        self.assertEqual(
            [(one.step, one.topic) for one in self.ledger.failures], [("partitioned_metadata", ORDERS)] * 2
        )

    def test_error_answers(self) -> None:
        """An ERROR that answers a step of a lookup is a failed lookup; other ERRORs are not."""
        for request in ("LOOKUP", "PARTITIONED_METADATA", "PRODUCER", None):
            fields: dict[str, Value] = {"request": request, "topic": ORDERS, "error": "MetadataError", "message": "m"}
            self.ledger.learn(Event("error", 1.0, "c1", fields))
        self.assertEqual([one.step for one in self.ledger.failures], ["lookup", "partitioned_metadata"])
        self.assertEqual(self.ledger.namespaces()[0].failures, 2)

    def test_failures(self) -> None:
        """Failed lookups are recorded with their error; they neither add nor change topics."""
        failed = lookup(None, response="failed", error="ServiceNotReady", message="m")
        self.ledger.learn(failed)
        self.assertEqual(len(self.ledger), 0)
        self.ledger.learn(lookup(1))
        self.ledger.learn(failed)
        entry = self.entry()
        self.assertEqual((entry.broker_url, entry.failures, entry.lookups), ("pulsar://b1:6650", 1, 2))
        self.assertEqual(entry.last_error, "ServiceNotReady")
        failure = self.ledger.failures[0]
        self.assertEqual((failure.topic, failure.error, failure.message), (ORDERS, "ServiceNotReady", "m"))
        self.assertEqual(self.ledger.namespaces()[0].failures, 2)
        self.ledger.learn(lookup(None, topic=None, response="failed"))
        self.assertEqual(self.ledger.failures[-1].topic, None)

    def test_others(self) -> None:
        """Other events and lookups of unknown topics change nothing."""
        self.ledger.learn(lookup(1, topic=None))
        self.ledger.learn(Event("connect", 1.0, "c", {}))
        self.assertEqual((self.ledger.topics(), self.ledger.namespaces()), ([], []))

    def test_partitions(self) -> None:
        """Partitions are topics, or, folded, one entry with all their brokers."""
        for number, broker in enumerate((1, 2, 1)):
            self.ledger.learn(lookup(broker, topic=f"{ORDERS}-partition-{number}", time=1.0 + number))
        self.ledger.learn(lookup(2, topic=f"{ORDERS}-partition-0", time=7.0))
        self.ledger.learn(lookup(1, topic="other"))
        self.assertEqual(len(self.ledger.topics()), 4)
        folded, other = self.ledger.topics(fold_partitions=True)
        self.assertEqual((folded.topic, folded.partitions, folded.lookups), (ORDERS, 3, 4))
        self.assertEqual((folded.moves_total, len(folded.moves)), (1, 1))
        self.assertEqual(folded.brokers, ("pulsar+ssl://b1:6651", "pulsar+ssl://b2:6651"))
        self.assertEqual((folded.first_seen, folded.last_seen), (1.0, 7.0))
        self.assertEqual((other.topic, other.partitions), ("other", 0))

    def test_bounded(self) -> None:
        """The topics seen longest ago are dropped; moves, failures and namespaces are bounded, too."""
        ledger = Ledger(max_topics=3)
        for topic in ("a", "b", "c", "a", "d"):
            ledger.learn(lookup(1, topic=topic))
        self.assertEqual([entry.topic for entry in ledger.topics()], ["c", "a", "d"])
        for number in range(MAX_NAMESPACES + 5):
            ledger.learn(lookup(number, topic="a"))
            ledger.learn(lookup(None, topic=f"persistent://t/n{number}/x", response="failed"))
        [entry] = [entry for entry in ledger.topics() if entry.topic == "a"]
        self.assertEqual((len(entry.moves), entry.moves_total), (MAX_MOVES, MAX_NAMESPACES + 5))
        self.assertEqual((len(ledger.failures), len(ledger.namespaces())), (MAX_FAILURES, MAX_NAMESPACES))

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(1, 3), st.booleans()), max_size=30))
    def test_last_word(self, told: list[tuple[str, int | None, bool]]) -> None:
        """For any sequence of events, the last one decides the owner."""
        ledger, moves = Ledger(), 0
        expected: dict[str, int] = {}
        for topic, broker, by_close in told:
            if broker is not None:
                moves += expected.get(topic, broker) != broker
                expected[topic] = broker
            event = closed(broker, topic) if by_close else lookup(broker, topic)
            if broker is None and not by_close:
                event.fields["response"] = "failed"
            ledger.learn(event)
        found = {entry.topic: entry.broker_url for entry in ledger.topics()}
        self.assertEqual(found, {topic: f"pulsar://b{broker}:6650" for topic, broker in expected.items()})
        self.assertEqual(sum(entry.moves_total for entry in ledger.topics()), moves)

    def test_real_streams(self) -> None:
        """Recorded answers to Java and Python clients agree on each topic's owner, with or without tokens."""
        events = [event for name in streams.NAMES for event in inspect(name)]
        changes: list[str] = []
        for event in sorted(events, key=lambda event: event.time):
            if "geo" not in event.connection and "proxied" not in event.connection:
                changes += [each.name for each in self.ledger.learn(event)]
        self.assertEqual(changes, ["split", "merged"])
        found = [entry for entry in self.ledger.topics() if entry.broker_url_tls is not None]
        owners = {entry.topic.rpartition("/")[2]: entry.broker_url_tls for entry in found}
        first, second = "pulsar+ssl://broker-1.pulsar.test:6651", "pulsar+ssl://broker-2.pulsar.test:6661"
        there = dict.fromkeys(
            ("ka", "tok1", "m1", "m3", "m5", "fresh-1", "np2", "part4-partition-1", "part4-partition-3"), first
        )
        away = dict.fromkeys(("tok2", "c1", "m2", "m4", "m6", "py10", "part4-partition-0", "part4-partition-2"), second)
        self.assertEqual(owners, {**there, **away})
        steps = [failure.step for failure in self.ledger.failures]
        self.assertEqual((steps.count("lookup"), steps.count("partitioned_metadata")), (3, 2))


class ClusterTests(SynchronousTestCase):
    """Ledger: topics of several clusters."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.moves: list[Event] = []

    def learn(self, place: str, *events: Event) -> None:
        for event in events:
            self.moves += self.ledger.learn(event, place)

    def places(self) -> dict[str, str | None]:
        """The owner of the topic in each cluster."""
        return {entry.cluster: entry.broker_url for entry in self.ledger.topics() if entry.topic == ORDERS}

    def test_two(self) -> None:
        """The same topic in two clusters is two independent entries."""
        for _ in range(2):
            self.learn("east.test", lookup(1))
            self.learn("west.test", lookup(8))
        self.assertEqual(self.moves, [])
        self.learn("west.test", lookup(9), lookup(None, response="failed", error="ServiceNotReady"))
        self.assertEqual([event.fields["cluster"] for event in self.moves], ["west.test"])
        self.assertEqual(self.places(), {"east.test": "pulsar://b1:6650", "west.test": "pulsar://b9:6650"})
        self.assertEqual([failure.cluster for failure in self.ledger.failures], ["west.test"])
        counts = {one.cluster: (one.lookups, one.failures, one.moves) for one in self.ledger.namespaces()}
        self.assertEqual(counts, {"east.test": (2, 0, 0), "west.test": (4, 1, 1)})
        folded = {entry.cluster for entry in self.ledger.topics(fold_partitions=True)}
        self.assertEqual(folded, {"east.test", "west.test"})

    def test_brokers_of_one(self) -> None:
        """Lookups through several brokers of a cluster share an entry, and a move between them is a move."""
        self.learn("vip.test", lookup(1), lookup(2, topic="other"))
        self.learn("b2", lookup(1))  # by its name
        self.learn("10.0.0.1:6650", lookup(2, topic="other"))  # by an address that is not advertised
        self.learn("10.0.0.1:6650", lookup(2, time=9.0))
        self.assertEqual(self.places(), {"vip.test": "pulsar://b2:6650"})
        self.assertEqual([(event.fields["from_url"], event.fields["cluster"]) for event in self.moves],
                         [("pulsar://b1:6650", "vip.test")])  # fmt: skip

    def test_redirect(self) -> None:
        """A redirect and the lookup at the picked broker belong to one cluster."""
        self.learn("vip.test", lookup(2, response="redirect"))
        self.learn("10.0.0.2:6650", lookup(2, response="connect"))
        self.assertEqual((self.places(), self.moves), ({"vip.test": "pulsar://b2:6650"}, []))
        self.assertEqual([entry.lookups for entry in self.ledger.topics()], [2])

    def test_redirect_to_another_cluster(self) -> None:
        """A redirect to the service URL of another cluster does not merge the two."""
        self.learn("east.test", lookup(1))
        there: dict[str, Any] = {"broker_url": None, "broker_url_tls": "pulsar+ssl://west.test:6651"}
        self.learn("east.test", lookup(None, topic="away", response="redirect", **there))
        self.learn("west.test", lookup(8))
        self.learn("west.test", lookup(8, topic="away"))
        self.assertEqual(self.places(), {"east.test": "pulsar://b1:6650", "west.test": "pulsar://b8:6650"})
        self.assertEqual(self.moves, [])

    def test_known_late(self) -> None:
        """Clusters that turn out to be one are merged: counts, failures, and a move not seen before."""
        failed = lookup(None, response="failed", error="ServiceNotReady", topic="x")
        self.learn("10.0.0.1:6650", lookup(1), failed)
        self.learn("10.0.0.2:6650", lookup(2, time=5.0), failed)
        self.assertEqual((len(self.places()), self.moves), (2, []))
        self.learn("10.0.0.1:6650", lookup(2, topic="other", time=6.0))
        self.assertEqual(self.places(), {"10.0.0.1:6650": "pulsar://b2:6650"})
        self.assertEqual([(event.name, event.fields["to_url"]) for event in self.moves],
                         [("moved", "pulsar://b2:6650")])  # fmt: skip
        [orders] = [entry for entry in self.ledger.topics() if entry.topic == ORDERS]
        self.assertEqual((orders.lookups, orders.moves_total), (2, 1))
        self.assertEqual({failure.cluster for failure in self.ledger.failures}, {"10.0.0.1:6650"})
        counts = {one.namespace: (one.lookups, one.failures, one.moves) for one in self.ledger.namespaces()}
        self.assertEqual(counts, {"public/default": (5, 2, 1)})

    def test_close_elsewhere(self) -> None:
        """A broker that closes a producer belongs to the cluster that has the topic, if only one has it."""
        self.learn("vip.test", lookup(1))
        self.learn("10.0.0.1:6650", closed(2))
        self.assertEqual((self.places(), len(self.moves)), ({"vip.test": "pulsar://b2:6650"}, 1))
        self.learn("west.test", lookup(8))
        self.learn("10.0.0.7:6650", closed(None))
        self.assertEqual([entry.unsettled for entry in self.ledger.topics()], [False, False])

    def test_migrated(self) -> None:
        """A migrating topic moves, and its new broker still belongs to the other cluster."""
        self.learn("blue.test", lookup(1))
        self.learn("green.test", lookup(8, topic="other"))
        self.learn("blue.test", Event("migrated", 3.0, "c", {"kind": "producer", "id": 1, "topic": ORDERS, **urls(8)}))
        self.assertEqual((self.places(), len(self.moves)), ({"blue.test": "pulsar://b8:6650"}, 1))
        self.learn("green.test", lookup(8))
        self.assertEqual(self.places(), dict.fromkeys(("blue.test", "green.test"), "pulsar://b8:6650"))

    def test_listeners(self) -> None:
        """A broker that has other URLs for another advertised listener keeps its topics (PIP-95)."""
        outside: dict[str, Any] = {"broker_url": None, "broker_url_tls": "pulsar+ssl://one.example.com:6651"}
        for _ in range(2):
            self.learn("vip.test", lookup(1), lookup(None, advertised_listener="external", **outside))
        self.assertEqual(self.moves, [])
        self.assertEqual(set(self.places()), {"vip.test", "vip.test (external)"})
