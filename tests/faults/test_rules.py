"""When a fault applies."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.fault import Fault
from sniproxy.faults.rules import FaultRule


def rule(**values: Any) -> FaultRule:
    """A fault of these values."""
    return FaultRule(Fault("a", "cut", **values))


def wanted(one: FaultRule, matches: int) -> str:
    """For each match, whether the fault is applied: C{1} or C{0}."""
    found = ""
    for _ in range(matches):
        apply = one.count()
        one.applied += apply
        found += str(int(apply))
    return found


class RuleTests(SynchronousTestCase):
    """L{FaultRule}."""

    def test_count(self) -> None:
        """C{nth} is the first match, C{most} bounds their number."""
        self.assertEqual("111", wanted(rule(), 3))
        self.assertEqual("00100", wanted(rule(nth=3, most=1), 5))
        self.assertEqual("01100", wanted(rule(nth=2, most=2), 5))
        self.assertEqual("01111", wanted(rule(nth=2), 5))
        one = rule(nth=2, most=1)
        wanted(one, 4)
        self.assertEqual((4, 1, True), (one.matched, one.applied, one.used_up))
        self.assertFalse(rule().used_up or rule(most=1).used_up)

    def test_probability(self) -> None:
        """A seed repeats the same choice; about the given share of the matches is chosen."""
        found = wanted(rule(probability=0.25, seed=7), 400)
        self.assertEqual(found, wanted(rule(probability=0.25, seed=7), 400))
        self.assertNotEqual(found, wanted(rule(probability=0.25, seed=8), 400))
        self.assertTrue(60 < found.count("1") < 140, found)

    def test_conditions(self) -> None:
        """Listener, server name, command, sender and topic are compared."""
        one = rule(listener="public", server_name="*.b.test", number=18, sender="client")
        self.assertTrue(one.is_for_connection("public", "a.b.test"))
        for listener, name in (("other", "a.b.test"), ("public", "b.test"), ("public", None)):
            self.assertFalse(one.is_for_connection(listener, name))
        self.assertTrue(rule().is_for_connection("any", None))
        self.assertTrue(one.is_for_command(18, True))
        self.assertFalse(one.is_for_command(18, False))
        self.assertFalse(one.is_for_command(19, True))
        self.assertTrue(rule(number=18).is_for_command(18, False))
        topic = rule(topic="persistent://public/default/t")
        self.assertTrue(topic.is_for_topic("t") and topic.is_for_topic("persistent://public/default/t-partition-2"))
        self.assertFalse(topic.is_for_topic(None) or topic.is_for_topic("t2"))
        self.assertTrue(rule().is_for_topic(None))
