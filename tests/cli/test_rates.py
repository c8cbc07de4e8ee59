"""Tests for sniproxy.cli.rates."""

from __future__ import annotations

import copy

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.rates import Rates, added, failed_connects, rates, same_rates, tunnel_rates
from tests.support.statusfixture import status, target, tunnel


class RateTests(SynchronousTestCase):
    """Two documents of /status."""

    def test_rates(self) -> None:
        """Connections, bytes, refusals by result and failed connects by target, per second."""
        before = status()
        after = copy.deepcopy(before)
        after["live"] += 4
        after["totals"] |= {"ended": 5006, "refused": 10, "bytes_up": 30_000_200, "bytes_down": 270_000_400}
        after["refusals_by"] = {"no_route": 8, "connect_failed": 2}
        after["targets"][2]["connects"] |= {"refused": 3, "timeout": 1, "ok": 2000}
        self.assertEqual(
            Rates(5.0, 2.0, 100.0, 200.0, {"no_route": 1.0, "connect_failed": 1.0}, {"10.0.0.3:6651": 2.0}),
            rates(before, after, 2.0),
        )

    def test_unchanged(self) -> None:
        """Without change all rates are 0, and no result or target is listed."""
        self.assertEqual(Rates(0.0, 0.0, 0.0, 0.0), rates(status(), status(), 2.0))

    def test_restart(self) -> None:
        """After a restart, or without time in between, nothing is known."""
        self.assertEqual(Rates(), rates(status(), status(started=1.0), 2.0))
        self.assertEqual(Rates(), rates(status(), status(), 0.0))

    def test_older(self) -> None:
        """Of an older release, what it does not count is unknown."""
        older = {"started": 1.0, "totals": {"refused": 1}, "targets": [{"target": "a:1"}]}
        self.assertEqual(Rates(refused=0.0), rates(older, older, 2.0))

    def test_never_negative(self) -> None:
        """A count that falls is no negative rate: totals may be a second old."""
        self.assertEqual(0.0, rates(status(live=203), status(live=200), 1.0).new)

    def test_failed(self) -> None:
        """Failed connects are those with any result but ok."""
        connects = {"ok": 5, "refused": 1, "timeout": 2, "unreachable": 3, "failed": 4}
        self.assertEqual(10, failed_connects(target(1, connects=connects)))
        self.assertIsNone(failed_connects({}))

    def test_added(self) -> None:
        """Rates of several instances are added up; unknown ones do not count."""
        self.assertEqual(Rates(), added([Rates(), Rates()]))
        one = Rates(1.0, 2.0, None, 4.0, {"no_route": 1.0}, {"a:1": 1.0})
        two = Rates(1.0, None, None, 4.0, {"no_route": 1.0, "denied": 2.0}, {"a:1": 2.0})
        self.assertEqual(Rates(2.0, 2.0, None, 8.0, {"no_route": 2.0, "denied": 2.0}, {"a:1": 3.0}), added([one, two]))


class TunnelTests(SynchronousTestCase):
    """Two lists of tunnels."""

    def test_rates(self) -> None:
        """Bytes per second of each tunnel; unknown of a new one."""
        before = [tunnel(1, bytes_up=100, bytes_down=1000)]
        after = [tunnel(2), tunnel(1, bytes_up=300, bytes_down=1000)]
        found = tunnel_rates(before, after, 2.0)
        self.assertEqual([(None, None), (100.0, 0.0)], [(one["up_per_s"], one["down_per_s"]) for one in found])
        self.assertEqual(["abc-2", "abc-1"], [one["id"] for one in found])
        self.assertIsNone(tunnel_rates(before, before, 0.0)[0]["up_per_s"])

    def test_same(self) -> None:
        """The rates of an earlier list are taken over."""
        found = same_rates([tunnel(1, up_per_s=5.0, down_per_s=6.0)], [tunnel(1), tunnel(2)])
        self.assertEqual([(5.0, 6.0), (None, None)], [(one["up_per_s"], one["down_per_s"]) for one in found])
