"""Tests for sniproxy.resolvers.pulsar.brokers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Target, Unavailable
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers

ONE = LiveBroker("one.internal:8080", "broker-1.test", "one.internal", 6651)
TWO = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661)
ILL = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661, healthy=False)


class LiveBrokersTests(SynchronousTestCase):
    """Where names lead."""

    def test_names(self) -> None:
        """A service name leads to all brokers, a broker's name to it."""
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
        """A broker that is not healthy is dialled for the service when all others fail, and for its own name."""
        live = LiveBrokers(["vip.test"], [ONE, ILL])
        self.assertEqual([1, 0], [target.weight for target in live.targets("vip.test")])
        self.assertEqual([1], [target.weight for target in live.targets("broker-2.test")])

    def test_same_name(self) -> None:
        """Brokers that advertise the same name are all its targets."""
        twin = LiveBroker("two.internal:8080", "broker-1.test", "10.0.0.2", 6661)
        self.assertEqual(2, len(LiveBrokers([], [ONE, twin]).targets("broker-1.test")))

    def test_refused(self) -> None:
        """A name that no broker has is refused, with the names that there are: the first ones."""
        live = LiveBrokers(["vip.test"], [ONE, TWO])
        error = self.assertRaises(Refused, live.resolution, "broker-3.test", None, 2.0)
        there = "there are broker-1.test, broker-2.test, vip.test"
        self.assertEqual((f"no live broker is called broker-3.test; {there}", 2.0), (error.reason, error.ttl))
        many = LiveBrokers([], [LiveBroker(f"{n}.internal:1", f"b{n}.test", "h", 1) for n in range(9)])
        error = self.assertRaises(Refused, many.resolution, "a.test", None, 2.0)
        self.assertTrue(error.reason.endswith("b4.test and 4 more"), error.reason)

    def test_not_known(self) -> None:
        """While there is no broker, or one of which nothing is known, no name is refused for good."""
        for live in (LiveBrokers(["vip.test"], []), LiveBrokers([], [ONE], unknown=1)):
            self.assertRaises(Unavailable, live.resolution, "vip.test", None, 2.0)
        self.assertTrue(LiveBrokers([], [ONE], unknown=1).resolution("broker-1.test", None, 2.0).targets)

    def test_summary(self) -> None:
        """In words, how many there are, and in which state."""
        self.assertEqual("2 brokers", LiveBrokers([], [ONE, TWO]).summary())
        self.assertEqual(
            "2 brokers, 1 of them not healthy, and 3 of which nothing is known",
            LiveBrokers([], [ONE, ILL], 3).summary(),
        )

    def test_changes(self) -> None:
        """In words, what is other than before."""
        both, first = LiveBrokers([], [ONE, TWO]), LiveBrokers([], [ONE])
        ill = LiveBrokers([], [ONE, ILL])
        moved = LiveBrokers([], [LiveBroker(ONE.web_id, ONE.name, "10.0.0.1", 6651)])
        name = "broker-2.test (two.internal:8080)"
        self.assertEqual(f"; {name} came", both.changes(first))
        self.assertEqual(f"; {name} left", first.changes(both))
        self.assertEqual(f"; {name} is not healthy", ill.changes(both))
        self.assertEqual(f"; {name} is healthy again", both.changes(ill))
        self.assertEqual("; broker-1.test (one.internal:8080) moved", moved.changes(first))
        self.assertEqual("; broker-1.test (one.internal:8080) came", first.changes(None))
        self.assertEqual(("", False), (both.changes(both), both.differs(LiveBrokers([], [ONE, TWO]))))
        self.assertTrue(both.differs(LiveBrokers([], [ONE, TWO], 1)))
