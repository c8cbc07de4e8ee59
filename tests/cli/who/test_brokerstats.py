"""Tests for sniproxy.cli.who.brokerstats, against a small HTTP server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.who.brokerstats import BrokerClient, BrokerError, clients_of
from tests.cli.who.stats import AdminAPI, segment_stats, stats

BASE = "/admin/v2/persistent/public/default/t"
SCALABLE = "/admin/v2/scalable/public/default/t"
PARTITIONED = f"{BASE}/partitioned-stats?perPartition=true"


class ClientsTests(SynchronousTestCase):
    """clients_of."""

    def asked(self, answers: dict[str, Any], topic: str = "t", token: str | None = None) -> list[BrokerClient]:
        self.api = AdminAPI(self, answers)
        return clients_of(self.api.url, topic, token)

    def test_topic(self) -> None:
        """Producers and consumers, each with its address as the broker shows it."""
        found = self.asked({f"{BASE}/stats": stats("/10.0.0.5:1", "/[fd00::5]:2", sub="/10.0.0.5:3")}, token="secret")
        self.assertEqual(
            [
                BrokerClient("producer p0", "10.0.0.5:1"),
                BrokerClient("producer p1", "[fd00::5]:2"),
                BrokerClient("consumer sub/c", "10.0.0.5:3"),
            ],
            found,
        )
        self.assertEqual([(f"{BASE}/stats", "Bearer secret")], self.api.heard)

    def test_partitions(self) -> None:
        """The clients of all partitions."""
        parts = {f"persistent://public/default/t-partition-{n}": stats(f"/10.0.0.5:{n}") for n in (1, 2)}
        found = self.asked({PARTITIONED: {"partitions": parts}})
        self.assertEqual(["producer p0 of 1", "producer p0 of 2"], [one.what for one in found])

    def test_scalable(self) -> None:
        """The clients of all segments of a scalable topic; a segment that was removed meanwhile is left out."""
        layout = {str(number): {"name": f"segment://public/default/t/{number}"} for number in (0, 2, 3)}
        found = self.asked(
            {
                f"{SCALABLE}/stats": {"layout": {"epoch": 4, "segments": layout}, "producers": [], "subscriptions": {}},
                f"{SCALABLE}/segments/0/stats": segment_stats("/10.0.0.5:1", sub="/10.0.0.5:2"),
                f"{SCALABLE}/segments/3/stats": segment_stats("/[0:0:0:0:0:0:0:1]:3"),
            },
            "topic://public/default/t",
        )
        self.assertEqual(
            [
                BrokerClient("producer p0 of segment 0", "10.0.0.5:1"),
                BrokerClient("consumer sub/c of segment 0", "10.0.0.5:2"),
                BrokerClient("producer p0 of segment 3", "[::1]:3"),
            ],
            found,
        )

    def test_segment(self) -> None:
        """The clients of one segment."""
        answers = {f"{SCALABLE}/segments/12/stats": segment_stats("/10.0.0.5:1")}
        found = self.asked(answers, "segment://public/default/t/0000-7fff-12")
        self.assertEqual([BrokerClient("producer p0 of segment 12", "10.0.0.5:1")], found)

    def test_unknown_scalable(self) -> None:
        """An unknown scalable topic or segment is named, with the releases that have such topics."""
        for topic in ("topic://public/default/t", "segment://public/default/t/0000-7fff-12"):
            error = str(self.assertRaises(BrokerError, self.asked, {}, topic))
            self.assertEqual(
                f"the broker knows no topic {topic}; only brokers of Pulsar 5.0 and newer have scalable topics", error
            )
            self.assertTrue(self.api.heard[0][0].startswith(SCALABLE))
        wrong: tuple[dict[str, Any], ...] = ({}, {"layout": []}, {"layout": {"segments": []}})
        for bad in wrong:
            answers = {f"{SCALABLE}/stats": bad}
            error = str(self.assertRaises(BrokerError, self.asked, answers, "topic://public/default/t"))
            self.assertEqual("unexpected answer: it has no segments", error)

    def test_redirect(self) -> None:
        """A broker that does not own the topic redirects to one that does."""
        owner = AdminAPI(self, {f"{BASE}/stats": stats("/10.0.0.5:1")})
        self.assertEqual(1, len(self.asked({f"{BASE}/stats": f"{owner.url}{BASE}/stats"}, token="secret")))
        self.assertEqual([(f"{BASE}/stats", "Bearer secret")], owner.heard)

    def test_names(self) -> None:
        """Characters of a topic's name are escaped."""
        self.assertRaises(BrokerError, self.asked, {}, "persistent://a/b/x y?z/1")
        self.assertEqual("/admin/v2/persistent/a/b/x%20y%3Fz/1/stats", self.api.heard[0][0])

    def test_forms(self) -> None:
        """Addresses are in the shortest form, also those of Netty's PROXY protocol headers, without brackets."""
        shown = ("/[0:0:0:0:0:0:0:1]:39152", "2001:db8:0:0:0:0:0:7:5", "2001:db8::7:5", "/[::ffff:10.0.0.5]:1", "local")
        found = self.asked({f"{BASE}/stats": stats(*shown)})
        self.assertEqual(
            ["[::1]:39152", "[2001:db8::7]:5", "[2001:db8::7]:5", "10.0.0.5:1", "local"], [one.address for one in found]
        )

    def test_no_address(self) -> None:
        """A client without an address is kept, without one."""
        found = self.asked({f"{BASE}/stats": {"publishers": [{"producerName": "p"}]}})
        self.assertEqual([BrokerClient("producer p", "")], found)

    def test_errors(self) -> None:
        """Each failure is named."""
        for answers, why in (
            ({}, "knows no topic persistent://public/default/t"),
            ({f"{BASE}/stats": 401}, "HTTP 401"),
            ({f"{BASE}/stats": b"{"}, "Expecting property name"),
            ({f"{BASE}/stats": []}, "not a JSON object"),
            ({f"{BASE}/stats": {"publishers": [1]}}, "unexpected answer"),
            ({PARTITIONED: {"partitions": []}}, "it has no partitions"),
            ({f"{BASE}/stats": "ftp://x/"}, ""),
        ):
            self.assertIn(why, str(self.assertRaises(BrokerError, self.asked, answers)))
        self.assertIn("write the URL", str(self.assertRaises(BrokerError, clients_of, "broker:8080", "t")))
        self.assertRaises(BrokerError, clients_of, "http://127.0.0.1:1", "t")
        self.assertRaises(BrokerError, clients_of, "https://127.0.0.1:1", "t", None, "/nowhere.pem")
        self.assertRaises(ValueError, clients_of, "http://127.0.0.1:1", "a/b")
