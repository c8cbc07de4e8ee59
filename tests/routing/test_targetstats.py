"""Tests for sniproxy.routing.targetstats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.routing.targetstats import (
    CONNECT_BUCKETS_S,
    FORGET_S,
    MAX_ALL_NAMES,
    MAX_LABELS,
    MAX_NAMES,
    MAX_TARGETS,
    OTHER,
    TargetStatsTable,
    address,
    quantile,
)

ONE, TWO = Target("10.0.0.1", 6651), Target("10.0.0.2", 6651, label="broker-2")
FORMED = Target("10.0.0.3", 6651, client_formed=True)


class CountTests(SynchronousTestCase):
    """What is counted."""

    def test_connections(self) -> None:
        """Open connections, the most at once, and all since the start; bytes count when a connection ends."""
        table = TargetStatsTable()
        for _ in range(3):
            table.add_connection(TWO)
        self.assertIs(table.find(TWO), table.add_planned(address(TWO)))
        table.remove_connection(TWO, 5, 7)
        table.remove_connection(TWO, 1, 0)
        stats = table.known[address(TWO)]
        self.assertEqual(("broker-2", 2, 4, 4), (stats.text, stats.connections, stats.most, stats.total))
        self.assertEqual(({"broker-2": 6}, {"broker-2": 7}), (dict(table.ended_up), dict(table.ended_down)))
        self.assertEqual((2, 0), (table.connections(TWO), table.connections(ONE)))

    def test_connects(self) -> None:
        """Connects by result, and the seconds of those that succeeded, each in its bucket."""
        table = TargetStatsTable()
        table.add_connection(ONE)
        stats = table.find(ONE)
        for seconds in (0.0, 0.0001, 0.0002, 11.0):
            stats.record_connect(seconds, 1.0)
        self.assertEqual([2, 1, 1], [stats.buckets[0], stats.buckets[1], stats.buckets[-1]])
        self.assertEqual(11.0003, stats.connect_s)
        stats.record_failure("refused", "Connection refused", 2.0)
        stats.record_failure("refused", "x" * 1000, 3.0)
        self.assertEqual({"refused": 2, "timeout": 0, "unreachable": 0, "failed": 0}, stats.failures)
        self.assertEqual((300, 3.0), (len(stats.why), stats.seen))
        stats.record_connect(0.1, 4.0)
        self.assertEqual("", stats.why)

    def test_aliases(self) -> None:
        """A target with and without a label is one entry; bytes count for its text, whatever the record says."""
        table = TargetStatsTable()
        unlabelled = Target(TWO.host, TWO.port)
        table.enter_configured(unlabelled)
        table.add_connection(TWO)
        table.remove_connection(TWO, 1, 2)
        table.add_connection(unlabelled)
        table.remove_connection(unlabelled, 1, 2)
        key = address(TWO)
        self.assertEqual(({key: 2}, {key: 4}, {"broker-2": key}), tuple(map(dict, table.ended_bytes())))
        table.forget(FORGET_S + 1, ())
        self.assertEqual({}, table.aliases)
        table.add_connection(TWO)
        table.add_planned(key)
        self.assertEqual({key: "broker-2"}, table.aliases)

    def test_one_label(self) -> None:
        """Of two targets with one label, the second has its address as its text; the first has the bytes of both."""
        table = TargetStatsTable()
        other = Target("10.0.0.9", 1, label=TWO.label)
        for target in (TWO, other):
            table.add_connection(target)
            table.remove_connection(target, 1, 1)
        self.assertEqual(["broker-2", "10.0.0.9:1"], [one.text for one in table.known.values()])
        self.assertEqual(({"broker-2": 2}, {}), (dict(table.ended_up), table.aliases))

    def test_formed(self) -> None:
        """Targets that clients form share one entry; their connections are still counted by address."""
        table = TargetStatsTable()
        table.add_connection(FORMED)
        table.add_connection(FORMED)
        table.record_answer(FORMED, 1.0, "a.test", "default")
        self.assertEqual({}, table.known)
        self.assertEqual((2, 2), (table.connections(FORMED), table.rest.connections))
        self.assertIs(table.rest, table.find(FORMED))
        table.remove_connection(FORMED, 3, 4)
        table.remove_connection(FORMED, 3, 4)
        self.assertEqual((0, 0, 2), (table.connections(FORMED), table.rest.connections, table.rest.total))
        self.assertEqual(({OTHER: 6}, {OTHER: 8}), (dict(table.ended_up), dict(table.ended_down)))

    def test_formed_and_configured(self) -> None:
        """A target gets its own entry when the configuration names it, with the connections that it has then."""
        table = TargetStatsTable()
        table.add_connection(FORMED)
        table.enter_configured(Target(FORMED.host, FORMED.port))
        table.enter_configured(Target(FORMED.host, FORMED.port))
        table.add_connection(FORMED)
        self.assertEqual((2, 0), (table.connections(FORMED), table.rest.connections))
        for _ in range(3):
            table.remove_connection(FORMED, 0, 0)
        self.assertEqual(0, table.connections(FORMED))

    def test_bound(self) -> None:
        """Further targets share the entry of the rest; the first ones are labels of metrics."""
        table = TargetStatsTable()
        for number in range(MAX_TARGETS + 2):
            table.add_planned(f"10.1.0.1:{number}")
        self.assertEqual((MAX_TARGETS, 2), (len(table.known), table.rest.connections))
        self.assertEqual(MAX_LABELS, sum(one.labelled for one in table.known.values()))

    def test_names(self) -> None:
        """The first names and routes of a resolver's target are remembered; a fixed answer has none."""
        table = TargetStatsTable()
        table.record_answer(ONE, 1.0, "a.test", None)
        self.assertEqual({}, table.known[address(ONE)].names)
        for number in range(MAX_NAMES + 5):
            table.record_answer(ONE, 2.0, f"{number}.test", f"*.{number}.test")
        table.record_answer(ONE, 3.0, None, "no_server_name")
        stats = table.known[address(ONE)]
        self.assertEqual((MAX_NAMES, MAX_NAMES, 3.0), (len(stats.names), len(stats.routes), stats.seen))
        for host in range(MAX_ALL_NAMES // MAX_NAMES + 1):
            for number in range(MAX_NAMES):
                table.record_answer(Target(f"10.2.0.{host}", 1), 3.0, f"{number}.test", "r")
        self.assertEqual(MAX_ALL_NAMES, sum(len(one.names) for one in table.known.values()))


class AdoptTests(SynchronousTestCase):
    """Connections that another process has dialled."""

    def test_bytes(self) -> None:
        """They are open, but their dial and their bytes so far are that process's: only what follows counts."""
        table = TargetStatsTable()
        table.adopt_connection(TWO, 100, 200)
        stats = table.find(TWO)
        self.assertEqual((1, 1, 0), (stats.connections, stats.most, stats.total))
        self.assertEqual(({"broker-2": -100}, {"broker-2": -200}), (dict(table.ended_up), dict(table.ended_down)))
        table.remove_connection(TWO, 101, 203)  # all bytes of its life
        self.assertEqual(({"broker-2": 1}, {"broker-2": 3}), (dict(table.ended_up), dict(table.ended_down)))
        self.assertEqual((0, 0), (stats.connections, stats.total))

    def test_no_bytes(self) -> None:
        """A tunnel may have moved nothing."""
        table = TargetStatsTable()
        table.adopt_connection(ONE, 0, 0)
        self.assertEqual({}, dict(table.ended_up))

    def test_formed(self) -> None:
        """A target that a client formed counts with all others."""
        table = TargetStatsTable()
        table.adopt_connection(FORMED, 5, 0)
        table.remove_connection(FORMED, 5, 0)
        self.assertEqual(({OTHER: 0}, 0, 0), (dict(table.ended_up), table.rest.connections, table.rest.total))


class ForgetTests(SynchronousTestCase):
    """Targets that are no longer used."""

    def test_forget(self) -> None:
        """A target is dropped without connections and answers, unless the configuration names it."""
        table = TargetStatsTable()
        for target in (ONE, TWO):
            table.record_answer(target, 0.0, "a.test", "r")
        table.add_connection(TWO)
        table.forget(FORGET_S + 1, {address(ONE)})
        self.assertEqual([address(ONE), address(TWO)], list(table.known))
        table.forget(FORGET_S, ())
        self.assertEqual([address(ONE), address(TWO)], list(table.known))
        table.forget(FORGET_S + 1, ())
        self.assertEqual([address(TWO)], list(table.known))
        table.remove_connection(TWO, 1, 2)
        table.forget(FORGET_S + 1, ())
        self.assertEqual(({}, {}, {}), (table.known, dict(table.ended_up), dict(table.ended_down)))

    def test_others_never_decrease(self) -> None:
        """Counts of a dropped target without a label stay in those of the rest; its label is free."""
        table = TargetStatsTable()
        for number in range(MAX_LABELS + 1):
            target = Target("10.1.0.1", number + 1)
            table.add_connection(target)
            table.find(target).record_connect(0.0, 0.0)
            table.find(target).record_failure("timeout", "x", 0.0)
            table.remove_connection(target, 1, 2)
        table.forget(FORGET_S + 1, ())
        self.assertEqual({}, table.known)
        self.assertEqual((1, 1, 1), (table.rest.total, table.rest.buckets[0], table.rest.failures["timeout"]))
        self.assertEqual(({OTHER: 1}, {OTHER: 2}), (dict(table.ended_up), dict(table.ended_down)))
        table.add_connection(ONE)
        self.assertTrue(table.find(ONE).labelled)


class QuantileTests(SynchronousTestCase):
    """quantile()."""

    def test_interpolated(self) -> None:
        """A quantile lies in its bucket as far as its rank does; beyond the last bound it is that bound."""
        buckets = [0] * (len(CONNECT_BUCKETS_S) + 1)
        self.assertIsNone(quantile(buckets, 0.5))
        buckets[3] = 4  # 0.5 to 1 ms
        self.assertEqual((0.00075, 0.001), (quantile(buckets, 0.5), quantile(buckets, 1.0)))
        buckets[-1] = 12
        self.assertEqual(10.0, quantile(buckets, 0.5))
        self.assertAlmostEqual(0.000625, quantile(buckets, 1 / 16) or 0.0)

    @given(st.lists(st.integers(0, 9), min_size=17, max_size=17), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
    def test_ordered(self, buckets: list[int], one: float, two: float) -> None:
        """A larger share has no smaller quantile, and all are within the bounds."""
        less, more = quantile(buckets, min(one, two)), quantile(buckets, max(one, two))
        if not any(buckets):
            self.assertEqual((None, None), (less, more))
            return
        assert less is not None and more is not None
        self.assertTrue(0.0 <= less <= more <= CONNECT_BUCKETS_S[-1], (less, more))
