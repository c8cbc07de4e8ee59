"""Tests for sniproxy.testing.pulsar.state."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import state
from sniproxy.testing.pulsar.state import ClusterState, RequestError, assign, owner_name, partition_number
from sniproxy.testing.pulsar.topics import Topic
from tests.testing.pulsar.embedded import B1, B2, OURS, URLS


class StateTests(SynchronousTestCase):
    """ClusterState."""

    def setUp(self) -> None:
        self.state = ClusterState(urls=dict(URLS))

    def test_owner(self) -> None:
        """A topic's owner is the same in every run and for any order of the brokers, until the topic is moved."""
        self.assertEqual(owner_name("persistent://public/default/orders", URLS), B1)
        self.assertEqual(owner_name(OURS, dict(reversed(URLS.items()))), B1)
        self.assertEqual(B1, self.state.owner(OURS))
        assign(self.state.owners, OURS, B2)
        self.assertEqual(B2, self.state.owner(OURS))
        self.assertEqual(B2, self.state.owner(OURS.rpartition("/")[2]))

    def test_partitions(self) -> None:
        """A broker of a partitioned topic is that of its partitions, until one of them is given another."""
        orders = "persistent://public/default/orders"
        brokers = self.state.redirects
        assign(brokers, "orders", B2)
        assign(brokers, "orders-partition-1", B1)
        found = [self.state.redirect(name) for name in ("orders", f"{orders}-partition-0", f"{orders}-partition-1")]
        self.assertEqual([B2, B2, B1], found)
        self.assertIsNone(self.state.redirect("order"))
        assign(brokers, "orders", B1)
        self.assertEqual({orders: B1}, brokers)
        assign(brokers, orders, None)
        self.assertEqual({}, brokers)

    def test_used(self) -> None:
        """The topics that a short name means: itself, and its partitions by number."""
        names = [f"persistent://public/default/t-partition-{n}" for n in (10, 9)]
        ten, nine = map(self.state.topic, names)
        self.state.topic("persistent://public/default/t2")
        self.assertEqual([nine, ten], self.state.used("t"))
        self.assertEqual([ten], self.state.used("t-partition-10"))
        itself = self.state.topic("persistent://public/default/t")
        self.assertEqual([itself, nine, ten], self.state.used("t"))

    def test_topics(self) -> None:
        """A topic is made on first use, with a ledger of its own, up to a bound."""
        self.patch(state, "MAX_TOPICS", 2)
        one, two = self.state.topic("a"), self.state.topic("b")
        self.assertEqual((1, 2, one), (one.ledger, two.ledger, self.state.topic("a")))
        self.assertEqual(pb.NotAllowedError, self.assertRaises(RequestError, self.state.topic, "c").error)

    def test_bytes(self) -> None:
        """The bytes of all topics are bounded; what a topic drops makes room."""
        self.patch(state, "MAX_CLUSTER_BYTES", 100)
        self.state.topics["a"] = Topic(1, max_bytes=60)
        for _ in range(3):
            self.state.publish("a", b"x" * 50, 1, 0, b"")
        self.assertEqual(50, self.state.kept_bytes)
        self.state.publish("b", b"x" * 50, 1, 0, b"")
        error = self.assertRaises(RequestError, self.state.publish, "b", b"x", 1, 0, b"")
        self.assertEqual((pb.ProducerBlockedQuotaExceededError, 100), (error.error, self.state.kept_bytes))

    def test_names(self) -> None:
        """A name that is too long is refused."""
        self.assertRaises(RequestError, self.state.topic, "x" * 5000)

    def test_tokens(self) -> None:
        """Only clients with one of the tokens are accepted, if there are any."""
        self.assertTrue(self.state.accepts("none", b""))
        self.state.tokens = {"secret"}
        methods = [("token", b"secret"), ("token", b"other"), ("tls", b"secret"), ("token", b"\xff"), ("none", b"")]
        self.assertEqual([True, False, False, False, False], [self.state.accepts(*each) for each in methods])

    def test_deduplication(self) -> None:
        """With deduplication a sequence id of a producer counts once; the memory of it is bounded."""
        self.state.remember("t", "p", 1)
        self.assertFalse(self.state.is_repeated("t", "p", 1))
        self.assertEqual(-1, self.state.last_sequence_id("t", "p"))
        self.state.deduplication = True
        self.assertFalse(self.state.is_repeated("t", "p", 0))
        self.state.remember("t", "p", 3)
        self.assertEqual([True, True, False], [self.state.is_repeated("t", "p", each) for each in (2, 3, 4)])
        self.assertEqual(3, self.state.last_sequence_id("t", "p"))
        self.patch(state, "MAX_ATTACHED", 1)
        self.state.remember("t", "q", 0)
        self.assertEqual(-1, self.state.last_sequence_id("t", "p"))

    def test_schemas(self) -> None:
        """Equal schemas have one version; partitions share those of their topic; their bytes are bounded."""
        versions = [self.state.add_schema("t", schema) for schema in (b"a", b"b", b"a")]
        self.assertEqual(([0, 1, 0], 1), (versions, self.state.add_schema("t-partition-3", b"b")))
        self.assertEqual(0, self.state.add_schema("u", b"b"))
        self.patch(state, "MAX_SCHEMA_BYTES", 5000)
        self.assertRaises(RequestError, self.state.add_schema, "v", b"x" * 5000)
        self.assertEqual(0, self.state.add_schema("v", b"x"))

    def test_partition_number(self) -> None:
        """The number of a partition is read from its name."""
        names = ("t", "t-partition-0", "t-partition-12", "t-partition-", "t-partition-" + "9" * 30)
        self.assertEqual([-1, 0, 12, -1, -1], [partition_number(name) for name in names])
