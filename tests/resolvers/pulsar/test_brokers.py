"""Tests for sniproxy.resolvers.pulsar.brokers."""

from __future__ import annotations

import itertools

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Target, Unavailable
from sniproxy.resolvers.pulsar.brokers import MAX_NOTES, MAX_SPARES, AdvertisedName, LiveBroker, LiveBrokers, Rank
from sniproxy.routing.brokernames import BrokerName

ONE = LiveBroker("one.internal:8080", "broker-1.test", "one.internal", 6651)
TWO = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661)
ILL = LiveBroker("two.internal:8080", "broker-2.test", "10.0.0.2", 6661, healthy=False)


def named(broker: LiveBroker, host: str, rank: Rank, port: int = 6651) -> AdvertisedName:
    listener = {Rank.CLIENTS: "external", Rank.TLS: "dns", Rank.PLAIN: "internal", Rank.OWN: ""}[rank]
    return AdvertisedName(BrokerName(host, listener, rank <= Rank.TLS), rank, Target(broker.host, port))


def several(broker: LiveBroker, **hosts: str) -> LiveBroker:
    """The broker with names by rank, in lower case; without any, with an internal one."""
    ranks = {Rank[rank.upper()]: host for rank, host in (hosts or {"plain": "int.test"}).items()}
    names = tuple(named(broker, host, rank) for rank, host in {Rank.CLIENTS: broker.name, **ranks}.items())
    return attrs.evolve(broker, names=names, places=frozenset({(one.name.host, 1) for one in names}))


class NameTests(SynchronousTestCase):
    """Names of several listeners, and who gets a name that several claim."""

    def owner(self, *brokers: LiveBroker, name: str = "n.test") -> tuple[str, list[tuple[str, int]]]:
        """The listener that has a name, with hosts and weights of its targets."""
        live = LiveBrokers(["vip.test"], brokers)
        backwards = LiveBrokers(["vip.test"], brokers[::-1])
        self.assertEqual(live.targets(name), backwards.targets(name))
        self.assertEqual(live.notes, backwards.notes)
        self.notes = live.notes
        return live.described[name], [(target.host, target.weight) for target in live.targets(name)]

    notes: tuple[str, ...]

    def test_all_names(self) -> None:
        """Each name leads to its broker; the description has the listener."""
        one = several(ONE, tls="n.test", plain="int.test", own="own.test")
        live = LiveBrokers(["vip.test"], [one, TWO])
        for name, what in {
            "broker-1.test": "listener external",
            "n.test": "listener dns",
            "int.test": "listener internal, plaintext",
            "own.test": "its own address",
        }.items():
            self.assertEqual((Target("one.internal", 6651),), live.targets(name))
            self.assertEqual(f"one.internal:8080, {what}", live.described[name])
        self.assertEqual("service name: all brokers", live.described["vip.test"])
        self.assertEqual((), live.notes)
        error = self.assertRaises(Refused, live.resolution, "x.test", None, 2.0)
        self.assertIn("known: broker-1.test, broker-2.test, vip.test", error.reason)

    def test_names_of(self) -> None:
        """Any URL of a broker finds all its names; one that two brokers advertise finds none."""
        one, two = several(ONE, plain="int.test"), several(TWO, plain="int.test")
        names = LiveBrokers([], [one]).names_of("int.test", 1)
        self.assertEqual(
            [BrokerName("broker-1.test", "external", True), BrokerName("int.test", "internal", False)], names
        )
        both = LiveBrokers([], [one, two])
        self.assertEqual((), both.names_of("int.test", 1))
        self.assertEqual("broker-2.test", both.names_of("broker-2.test", 1)[0].host)
        self.assertEqual((), both.names_of("broker-2.test", 2))

    def test_rank(self) -> None:
        """The clients' listener gets a name before another TLS listener, a plaintext one, and an own address."""
        ranks = ["tls", "plain", "own"]
        for better, worse in itertools.pairwise(ranks):
            found = self.owner(several(TWO, **{better: "n.test"}), several(ONE, **{worse: "n.test"}))
            self.assertEqual([("10.0.0.2", 1)], found[1])
        named_so = attrs.evolve(TWO, name="n.test")
        self.assertEqual([("10.0.0.2", 1)], self.owner(named_so, several(ONE, tls="n.test"))[1])
        self.assertEqual(
            (
                "n.test is a name of 2 brokers: one.internal:8080, two.internal:8080; "
                "it leads to two.internal:8080, its own address",
            ),
            self.notes,
        )

    def test_equal(self) -> None:
        """Among equal claims a healthy broker wins, then the one that started last, then the lower id.

        The others are spares.
        """
        one, two = (attrs.evolve(each, name="n.test") for each in (ONE, TWO))
        self.assertEqual([("one.internal", 1), ("10.0.0.2", 0)], self.owner(one, two)[1])
        newer = attrs.evolve(two, started=2)
        self.assertEqual([("10.0.0.2", 1), ("one.internal", 0)], self.owner(attrs.evolve(one, started=1), newer)[1])
        many = [attrs.evolve(one, web_id=f"{n}.internal:8080", host=f"{n}.internal") for n in range(9)]
        self.assertEqual(1 + MAX_SPARES, len(self.owner(*many)[1]))
        ill = attrs.evolve(newer, healthy=False)
        self.assertEqual([("one.internal", 1), ("10.0.0.2", 0)], self.owner(attrs.evolve(one, started=1), ill)[1])

    def test_listeners(self) -> None:
        """If two TLS listeners of a broker have a name and other ports, the first rank wins, with a note."""
        names = (named(ONE, "n.test", Rank.CLIENTS), named(ONE, "n.test", Rank.TLS, 6661))
        one = attrs.evolve(ONE, name="n.test", names=names)
        self.assertEqual([("one.internal", 1)], self.owner(one)[1])
        self.assertEqual(
            (
                "n.test is a name of several listeners: dns, external; "
                "it leads to one.internal:8080, listener external, port 6651",
            ),
            self.notes,
        )
        two = tuple(named(ONE, "n.test", Rank.TLS, port) for port in (6661, 6671))
        self.assertEqual([("one.internal", 1)], self.owner(attrs.evolve(one, name="broker-1.test", names=two))[1])
        for other in (named(ONE, "n.test", Rank.TLS), named(ONE, "n.test", Rank.PLAIN, 6661)):
            self.owner(attrs.evolve(one, names=(names[0], other)))
            self.assertEqual((), self.notes)

    def test_bounded(self) -> None:
        """At most MAX_NOTES notes of each kind are kept."""
        pairs = [
            LiveBroker(f"{n % 2}.internal:{n}", f"b{n // 2}.test", "h", 1, notes=("a",))
            for n in range(2 * MAX_NOTES + 2)
        ]
        self.assertEqual(2 * MAX_NOTES, len(LiveBrokers([], pairs).notes))


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
            error = self.assertRaises(Unavailable, live.resolution, "vip.test", None, 2.0)
            self.assertEqual(not live.unknown, error.authoritative)
        unread = self.assertRaises(Unavailable, LiveBrokers([], [], unknown=1).resolution, "vip.test", None, 2.0)
        self.assertFalse(unread.authoritative)
        self.assertTrue(LiveBrokers([], [ONE], unknown=1).resolution("broker-1.test", None, 2.0).targets)

    def test_summary(self) -> None:
        """The summary has the number of brokers and their state."""
        self.assertEqual("2 brokers", LiveBrokers([], [ONE, TWO]).summary())
        self.assertEqual(
            "2 brokers, 1 unhealthy, 3 with unknown names",
            LiveBrokers([], [ONE, ILL], 3).summary(),
        )

    def test_listeners_changed(self) -> None:
        """The text has brokers with other names, and those that have restarted."""
        before = LiveBrokers([], [attrs.evolve(several(ONE), started=5)])
        self.assertEqual(
            "; broker-1.test (one.internal:8080) has other names",
            LiveBrokers([], [attrs.evolve(ONE, started=5)]).changes(before),
        )
        self.assertEqual(
            "; broker-1.test (one.internal:8080) restarted",
            LiveBrokers([], [attrs.evolve(several(ONE), started=6)]).changes(before),
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
