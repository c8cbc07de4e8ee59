"""Tests for sniproxy.inspector.clusters."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.clusters import MAX_PLACES, Clusters, brokers_of, is_loopback
from sniproxy.pulsar.events import Fields


def urls(plain: str | None, tls: str | None = None) -> Fields:
    return {"broker_url": plain, "broker_url_tls": tls}


def broker(number: int) -> Fields:
    return urls(f"pulsar://10.0.0.{number}:6650")


class ClustersTests(SynchronousTestCase):
    """Clusters: places and the brokers named there."""

    def setUp(self) -> None:
        self.clusters = Clusters()

    def named(self, place: str, number: int, redirect: bool = False) -> tuple[str, set[str]]:
        return self.clusters.add_broker(self.clusters.cluster_at(place), broker(number), redirect)

    def test_apart(self) -> None:
        """Places with different brokers are different clusters, named by their places."""
        self.assertFalse(self.clusters.is_known("a.test"))
        self.assertEqual(self.named("a.test", 1), ("a.test", set()))
        self.assertEqual(self.named("b.test", 2), ("b.test", set()))
        self.assertEqual(self.clusters.names(), {"a.test", "b.test"})
        self.assertTrue(self.clusters.is_known("a.test"))

    def test_same_broker(self) -> None:
        """Places with a common broker are one cluster with the name of the first; so are chains of them."""
        for place, number in (("a.test", 1), ("b.test", 2), ("c.test", 3)):
            self.named(place, number)
        self.assertEqual(self.named("b.test", 1), ("a.test", {"b.test"}))
        self.assertEqual(self.named("c.test", 2), ("a.test", {"c.test"}))
        self.assertEqual({self.clusters.cluster_at(place) for place in ("a.test", "b.test", "c.test")}, {"a.test"})

    def test_broker_is_a_place(self) -> None:
        """A connection to a broker's own URL is in its cluster."""
        self.named("a.test", 1)
        self.assertEqual(self.clusters.cluster_at("10.0.0.1:6650"), "a.test")
        self.clusters.cluster_at("10.0.0.2:6650")
        self.assertEqual(self.named("a.test", 2), ("a.test", {"10.0.0.2:6650"}))

    def test_redirect(self) -> None:
        """An authoritative redirect counts once an answer places a topic at its broker, before or after."""
        self.named("a.test", 1)
        self.assertEqual(self.named("b.test", 1, redirect=True), ("a.test", {"b.test"}))
        self.assertEqual(self.named("c.test", 2, redirect=True), ("c.test", set()))
        self.assertEqual(self.named("d.test", 2, redirect=True), ("d.test", set()))
        self.assertEqual(self.named("a.test", 2), ("a.test", {"c.test", "d.test"}))

    def test_bounded(self) -> None:
        """Memory is bounded, also for redirects; the oldest is dropped."""
        for number in range(MAX_PLACES + 50):
            self.clusters.add_broker("a.test", urls(f"pulsar://a:{number}"))
            self.clusters.add_broker("a.test", urls(f"pulsar://b:{number}"), redirect=True)
        self.assertEqual(len(self.clusters), MAX_PLACES)
        self.assertEqual(len(self.clusters._expected), MAX_PLACES)
        self.assertEqual(self.clusters.cluster_at("a:0"), "a:0")
        self.assertEqual(len(self.clusters), MAX_PLACES)

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 5), st.booleans()), max_size=30))
    def test_joined_for_good(self, told: list[tuple[str, int, bool]]) -> None:
        """Brokers named at a place stay in its cluster; without redirects, clusters share no broker."""
        clusters = Clusters()
        for place, number, redirect in told:
            before = clusters.names()
            name, gone = clusters.add_broker(clusters.cluster_at(place), broker(number), redirect)
            self.assertEqual(clusters.cluster_at(place), name)
            self.assertTrue(gone.isdisjoint(clusters.names()))
            self.assertLessEqual(before - gone, clusters.names())
        for place, number, redirect in told:
            if not redirect:
                self.assertEqual(clusters.cluster_at(place), clusters.cluster_at(f"10.0.0.{number}:6650"))


class BrokerTests(SynchronousTestCase):
    """brokers_of: the identities of a broker."""

    def test_urls(self) -> None:
        """The host name of a TLS URL, else host and port; nothing for an invalid URL."""
        for plain, tls, found in (
            ("pulsar://B1.test:6650", "pulsar+ssl://B1.test:6651", {"b1.test:6650", "b1.test"}),
            (None, "pulsar+ssl://10.0.0.1:6651", {"10.0.0.1:6651"}),
            ("pulsar://[::1]:6650", None, {"[::1]:6650"}),
            ("pulsar://b1", None, {"b1:0"}),
            ("pulsar://b1:x", "http://[", set()),
            (None, None, set()),
        ):
            self.assertEqual(brokers_of(urls(plain, tls)), found)

    def test_loopback(self) -> None:
        """A loopback address or localhost, not a name or an invalid URL."""
        for url, expected in (
            ("pulsar://127.0.0.1:6650", True),
            ("pulsar://[::1]:6650", True),
            ("pulsar://LOCALHOST:6650", True),
            ("pulsar://10.0.0.1:6650", False),
            ("pulsar://b1.test:6650", False),
            ("http://[", False),
            ("", False),
        ):
            self.assertEqual(is_loopback(url), expected, url)
