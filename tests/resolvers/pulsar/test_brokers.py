"""Tests for sniproxy.resolvers.pulsar.brokers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Target, Unavailable
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers

ONE = LiveBroker("one.internal:8080", "broker-1.test", "one.internal", 6651)
TWO = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661)
ILL = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661, healthy=False)


class LiveBrokersTests(SynchronousTestCase):
    """The targets of names."""

    def test_names(self) -> None:
        """A service name leads to all brokers, a broker's name to that broker."""
        live = LiveBrokers(["vip.test"], [ONE, TWO])
        first, second = Target("one.internal", 6651), Target("10.0.0.2", 6661)
        for name, targets in {
            "vip.test": (first, second),
            "broker-1.test": (first,),
            "broker-2.test": (second,),
        }.items():
            answer = live.resolution(name, 7.0, 2.0)
            self.assertEqual((targets, 7.0), (answer.targets, answer.ttl), name)

    def test_not_healthy(self) -> None:
        """An unhealthy broker is a backup for the service name; its own name leads to it."""
        live = LiveBrokers(["vip.test"], [ONE, ILL])
        self.assertEqual([1, 0], [target.weight for target in live.targets("vip.test")])
        self.assertEqual([1], [target.weight for target in live.targets("broker-2.test")])

    def test_same_name(self) -> None:
        """All brokers that advertise a name are its targets."""
        twin = LiveBroker("two.internal:8080", "broker-1.test", "10.0.0.2", 6661)
        self.assertEqual(2, len(LiveBrokers([], [ONE, twin]).targets("broker-1.test")))

    def test_refused(self) -> None:
        """An unknown name is refused with the first known names."""
        live = LiveBrokers(["vip.test"], [ONE, TWO])
        error = self.assertRaises(Refused, live.resolution, "broker-3.test", None, 2.0)
        there = "known: broker-1.test, broker-2.test, vip.test"
        self.assertEqual((f"no live broker named broker-3.test; {there}", 2.0), (error.reason, error.ttl))
        many = LiveBrokers([], [LiveBroker(f"{n}.internal:1", f"b{n}.test", "h", 1) for n in range(9)])
        error = self.assertRaises(Refused, many.resolution, "a.test", None, 2.0)
        self.assertTrue(error.reason.endswith("b4.test and 4 more"), error.reason)

    def test_not_known(self) -> None:
        """Without a broker, or with one whose name is unknown, names are unavailable, not refused."""
        for live in (LiveBrokers(["vip.test"], []), LiveBrokers([], [ONE], unknown=1)):
            self.assertRaises(Unavailable, live.resolution, "vip.test", None, 2.0)
        self.assertTrue(LiveBrokers([], [ONE], unknown=1).resolution("broker-1.test", None, 2.0).targets)

    def test_summary(self) -> None:
        """The summary has the number of brokers and their state."""
        self.assertEqual("2 brokers", LiveBrokers([], [ONE, TWO]).summary())
        self.assertEqual(
            "2 brokers, 1 unhealthy, 3 with unknown names",
            LiveBrokers([], [ONE, ILL], 3).summary(),
        )

    def test_changes(self) -> None:
        """The text has the differences between two lists."""
        both, first = LiveBrokers([], [ONE, TWO]), LiveBrokers([], [ONE])
        ill = LiveBrokers([], [ONE, ILL])
        moved = LiveBrokers([], [LiveBroker(ONE.web_id, ONE.name, "10.0.0.1", 6651)])
        name = "broker-2.test (two.internal:8080)"
        self.assertEqual(f"; {name} added", both.changes(first))
        self.assertEqual(f"; {name} removed", first.changes(both))
        self.assertEqual(f"; {name} unhealthy", ill.changes(both))
        self.assertEqual(f"; {name} healthy again", both.changes(ill))
        self.assertEqual("; broker-1.test (one.internal:8080) moved", moved.changes(first))
        self.assertEqual("; broker-1.test (one.internal:8080) added", first.changes(None))
        self.assertEqual(("", False), (both.changes(both), both.differs(LiveBrokers([], [ONE, TWO]))))
        self.assertTrue(both.differs(LiveBrokers([], [ONE, TWO], 1)))
