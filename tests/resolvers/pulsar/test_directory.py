"""Tests for sniproxy.resolvers.pulsar.directory."""

from __future__ import annotations

from typing import Any

from twisted.logger import ILogObserver, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable, WatchState
from sniproxy.resolvers.pulsar import directory
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers
from sniproxy.resolvers.pulsar.directory import DEPARTED_S, BrokerDirectory
from sniproxy.routing.brokernames import BrokerName

ONE = LiveBroker("one.internal:8080", "broker-1.test", "one.internal", 6651, places=frozenset({("one.int.test", 6650)}))
TWO = LiveBroker("two.internal:8080", "broker-2.test", "two.internal", 6651)


def live(*brokers: LiveBroker) -> LiveBrokers:
    return LiveBrokers(["vip.test"], brokers)


class DirectoryTests(SynchronousTestCase):
    """Live and departed brokers."""

    def setUp(self) -> None:
        lines = self.lines = []

        @implementer(ILogObserver)
        def see(event: Any) -> None:
            lines.append(formatEvent(event))

        self.directory = BrokerDirectory(Logger(observer=see))

    lines: list[str]

    def targets(self, name: str, now: float) -> Resolution:
        return self.directory.resolution(name, now, 2.0)

    def test_before(self) -> None:
        """Without a refresh nothing is known."""
        self.assertEqual(WatchState("no brokers known", "silent"), self.directory.state("silent"))
        self.assertEqual((False, ()), (self.directory.knows("vip.test"), self.directory.names_of("one.int.test", 6650)))
        self.assertRaises(Unavailable, self.targets, "vip.test", 0.0)

    def test_update(self) -> None:
        """The log has each change, and the caller learns of it."""
        self.assertTrue(self.directory.update(live(ONE), 0.0))
        self.assertFalse(self.directory.update(live(ONE), 1.0))
        self.assertTrue(self.directory.update(live(ONE, TWO), 2.0))
        self.assertEqual(
            [
                "Pulsar brokers: 1 broker; broker-1.test (one.internal:8080) added",
                "Pulsar brokers: 2 brokers; broker-2.test (two.internal:8080) added",
            ],
            self.lines,
        )
        state = self.directory.state(None)
        self.assertEqual((WatchState("2 brokers"), True), (state, self.directory.knows("broker-2.test")))
        self.assertEqual("one.internal:8080, its own address", state.names["broker-1.test"])
        self.assertEqual([BrokerName("broker-1.test", "", True)], self.directory.names_of("one.int.test", 6650))
        self.directory.discard()
        self.assertEqual(WatchState("no brokers known"), self.directory.state(None))

    def test_departed(self) -> None:
        """The name of a broker that has left leads to its last address for DEPARTED_S seconds, then it is refused."""
        self.directory.update(live(ONE, TWO), 0.0)
        self.directory.update(live(ONE), 10.0)
        last = Resolution([Target("two.internal", 6651)], 2.0)
        self.assertEqual(last, self.targets("broker-2.test", 10.0 + DEPARTED_S))
        self.assertFalse(self.directory.knows("broker-2.test"))
        self.assertRaises(Refused, self.targets, "broker-2.test", 10.1 + DEPARTED_S)
        self.assertRaises(Refused, self.targets, "broker-9.test", 10.0)

    def test_returned(self) -> None:
        """A broker that returns at another address is found there; a name that it no longer has is refused."""
        self.directory.update(live(ONE, TWO), 0.0)
        self.directory.update(live(ONE), 10.0)
        self.directory.update(live(ONE, LiveBroker("new.internal:8080", "broker-2.test", "10.0.0.9", 7000)), 20.0)
        self.assertEqual((Target("10.0.0.9", 7000),), self.targets("broker-2.test", 20.0).targets)
        self.directory.update(live(ONE, LiveBroker("new.internal:8080", "broker-3.test", "10.0.0.9", 7000)), 30.0)
        self.assertRaises(Refused, self.targets, "broker-2.test", 30.0)

    def test_bounded(self) -> None:
        """At most MAX_DEPARTED names are kept, the last ones."""
        self.patch(directory, "MAX_DEPARTED", 2)
        self.setUp()
        for n in range(4):
            self.directory.update(live(LiveBroker(f"{n}.internal:1", f"b{n}.test", "h", 1)), float(n))
        self.assertTrue(self.targets("b2.test", 4.0) and self.targets("b1.test", 4.0))
        self.assertRaises(Refused, self.targets, "b0.test", 4.0)

    def test_notes(self) -> None:
        """The log has each note once, and at most MAX_LOGGED_NOTES."""
        self.patch(directory, "MAX_LOGGED_NOTES", 2)
        noted = LiveBroker(ONE.web_id, ONE.name, ONE.host, ONE.port, notes=("a", "b", "c"))
        for now in range(2):
            self.directory.update(live(noted), float(now))
        self.assertEqual(["Pulsar brokers: a", "Pulsar brokers: b"], self.lines[:2])
        self.assertEqual(3, len(self.lines))
