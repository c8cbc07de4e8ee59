"""Tests for sniproxy.admin.livecounts."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.livecounts import LiveCounts, listener_entries
from sniproxy.admin.recentrates import RecentRates
from sniproxy.admin.sources import ListenerStatus, RouteStatus, TargetStatus
from sniproxy.admin.tally import Tally
from tests.admin.sample import target_stats

KEY = ("public", "a.test")


class LiveCountsTests(SynchronousTestCase):
    """The JSON of targets, routes and listeners."""

    def setUp(self) -> None:
        self.rates = RecentRates()
        self.rates.add(Tally(), {})
        self.tally = Tally(
            up=Counter({KEY: 100}),
            down=Counter({KEY: 200}),
            routed=Counter({KEY: 3}),
            routed_total=Counter({KEY: 40}),
            refused=Counter({KEY: 5, ("inside", "a.test"): 6}),
            open=Counter({"public": 4}),
            refused_by=Counter({"public": 7}),
            accepted=Counter({"public": 50}),
            target_up=Counter({"a:1": 100}),
            target_down=Counter({"a:1": 200}),
            time=10.0,
        )

    def test_target(self) -> None:
        """A target has its state, its counts, its rates and its connect times."""
        stats = target_stats(a=2).known["a:1"]
        for seconds in (0.0006, 0.0008):
            stats.record_connect(seconds, 1.0)
        stats.record_failure("timeout", "no answer", 2.0)
        row = TargetStatus("a:1", "down", 2, "no answer", 7.0, 8.0, ["a.test"], ["a.test", "default"], stats, False)
        (found,) = LiveCounts(self.tally, self.rates, [row], 1).document()["targets"]
        self.assertEqual(
            {
                "target": "a:1",
                "state": "down",
                "since": 7.0,
                "checked": 8.0,
                "why": "no answer",
                "names": ["a.test"],
                "routes": ["a.test", "default"],
                "connections": 2,
                "most": 2,
                "new_per_s": 0.2,
                "connects": {"ok": 2, "refused": 0, "timeout": 1, "unreachable": 0, "failed": 0},
                "connect_p50_s": 0.00075,
                "connect_p99_s": 0.000995,
                "bytes_up": 100,
                "bytes_down": 200,
                "up_per_s": 10.0,
                "down_per_s": 20.0,
            },
            found,
        )

    def test_uncounted_target(self) -> None:
        """A target without counts of its own has zeros, and no connect times."""
        (found,) = LiveCounts(self.tally, self.rates, [TargetStatus("b:1", "unchecked", 0, "")]).document()["targets"]
        self.assertEqual(
            (0, 0, None, None), tuple(found[key] for key in ("most", "bytes_up", "connect_p50_s", "since"))
        )
        self.assertEqual({"ok": 0, "refused": 0, "timeout": 0, "unreachable": 0, "failed": 0}, found["connects"])

    def test_route(self) -> None:
        """A route has the sums of its listeners."""
        row = RouteStatus("a.test", None, ["a:1"], "all down", [KEY, ("inside", "a.test")])
        document = LiveCounts(self.tally, self.rates, routes=[row], route_count=9).document()
        (found,) = document["routes"]
        expected = {
            "server_name": "a.test",
            "listener": None,
            "targets": ["a:1"],
            "connections": 3,
            "new_per_s": 4.0,
            "refused": 11,
            "up_per_s": 10.0,
            "down_per_s": 20.0,
            "error": "all down",
        }
        self.assertEqual((expected, 9), (found, document["route_count"]))

    def test_listener(self) -> None:
        """A listener has its address, and what it accepted; another one has zeros."""
        listeners = [ListenerStatus("public", "tcp:1", ("::1", 1)), ListenerStatus("unix", "unix:/s", None)]
        public, unix = listener_entries(listeners, self.tally, self.rates)
        expected = {
            "name": "public",
            "endpoint": "tcp:1",
            "address": "[::1]:1",
            "closed": False,
            "connections": 4,
            "new_per_s": 5.0,
        }
        self.assertEqual({**expected, "refused": 7}, public)
        self.assertEqual((None, False, 0, 0.0, 0), tuple(list(unix.values())[2:]))
