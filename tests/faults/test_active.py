"""The faults of a running proxy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.faults import make_fault
from sniproxy.config.schema import FaultEntry
from sniproxy.events import Connection
from sniproxy.faults import active
from sniproxy.faults.active import MAX_NAMED, ActiveFaults, UnknownFault
from sniproxy.interfaces import BadValue

LISTENERS = {"public": True, "tls": False}


def entry(name: str, **values: Any) -> Any:
    """A fault of the configuration."""
    return make_fault(FaultEntry(**{"action": "drop", "on": "PING", **values, "name": name}), LISTENERS, ())


class ActiveTests(SynchronousTestCase):
    """L{ActiveFaults}."""

    def names(self, found: ActiveFaults) -> list[str]:
        return [one["name"] for one in found.document()]

    def test_change(self) -> None:
        """A reload keeps the counts of what it does not change, and what was added, behind its own."""
        found = ActiveFaults()
        found.change([])
        self.assertEqual([], self.names(found))
        found.change([entry("a"), entry("b")])
        found.rules[0].count()
        found.add({"action": "cut", "name": "c"}, LISTENERS)
        found.change([entry("a"), entry("b", times=2), entry("d")])
        self.assertEqual(["a", "b", "d", "c"], self.names(found))
        self.assertEqual([1, 0, 0, 0], [one["matched"] for one in found.document()])
        self.assertEqual([False, False, False, True], [one["added"] for one in found.document()])
        found.change([])
        self.assertEqual(["c"], self.names(found))
        found.change([entry("c")])
        self.assertEqual([False], [one["added"] for one in found.document()])

    def test_add_and_remove(self) -> None:
        """Faults are added and removed by name; errors have the cure."""
        found = ActiveFaults()
        self.assertEqual("fault-1", found.add({"action": "drop", "on": "PONG", "from": "broker"}, LISTENERS).fault.name)
        with self.assertRaises(BadValue) as raised:
            found.add({"action": "drop", "on": "PONG", "name": "fault-1"}, LISTENERS)
        self.assertEqual("name", raised.exception.key)
        self.assertRaises(BadValue, found.add, {"action": "cut", "on": "PONG", "listener": "tls"}, LISTENERS)
        missing = self.assertRaises(UnknownFault, found.remove, "a")
        self.assertIn("faults: fault-1", str(missing))
        self.assertEqual("PONG from the broker", found.remove("fault-1").fault.trigger)
        self.assertIn("faults: none", str(self.assertRaises(UnknownFault, found.remove, "a")))

    def test_take_over(self) -> None:
        """Another process's faults continue: added ones are added, and unchanged ones keep their counts."""
        old, new = ActiveFaults(), ActiveFaults()
        self.assertEqual([], [*old.states()])
        old.change([entry("a", nth=3), entry("b")])
        old.add({"action": "delay", "on": "SEND", "seconds": "2.5", "topic": "t", "seed": "-7", "name": "c"}, LISTENERS)
        old.add({"action": "drop", "on": "PONG", "name": "d"}, LISTENERS)
        for rule in old.rules:
            rule.matched, rule.applied = 5, 4
        new.change([entry("a", nth=3), entry("b", times=1), entry("d")])
        for values, rule in old.states():
            new.take_over(values, LISTENERS, rule.matched, rule.applied, rule.added)
        self.assertEqual(["a", "b", "d", "c"], self.names(new))
        self.assertEqual([5, 0, 0, 5], [one["matched"] for one in new.document()])
        self.assertEqual([4, 0, 0, 4], [one["applied"] for one in new.document()])
        self.assertEqual([False, False, False, True], [one["added"] for one in new.document()])
        self.assertEqual(old.rules[2].fault, new.rules[3].fault)
        new.change([])
        new.take_over({"action": "drop", "on": "PING", "name": "gone"}, LISTENERS, 1, 1, False)
        self.assertEqual(["c"], self.names(new))

    def test_concern(self) -> None:
        """Only connections that can have a fault are looked at."""
        found = ActiveFaults()
        self.assertFalse(found.concern("public", None, reads_pulsar=True))
        found.change([entry("a", listener="public")])
        self.assertTrue(found.concern("public", None, reads_pulsar=True))
        self.assertFalse(found.concern("public", None, reads_pulsar=False))
        self.assertFalse(found.concern("other", None, reads_pulsar=True))
        found.change([entry("a", on=None, action="cut", server_name="a.test")])
        self.assertTrue(found.concern("tls", "a.test", reads_pulsar=False))
        self.assertFalse(found.concern("tls", "b.test", reads_pulsar=False))

    def test_applied(self) -> None:
        """An applied fault is counted, logged and in the record, up to a bound."""
        said: list[dict[str, Any]] = []
        self.patch(active, "log", SimpleNamespace(info=lambda text, **more: said.append(more)))
        found = ActiveFaults()
        found.change([entry("a")])
        record = Connection("id-1", 0.0, "public", "192.0.2.1:5")
        for _ in range(MAX_NAMED + 1):
            found.applied(found.rules[0], record, "PING")
        self.assertEqual((MAX_NAMED, {"drop": MAX_NAMED + 1}), (len(record.faults), dict(found.counts)))
        expected = {"name": "a", "action": "drop", "what": "PING", "id": "id-1", "client": "192.0.2.1:5"}
        self.assertEqual(expected, said[0])
        self.assertEqual(MAX_NAMED + 1, next(found.document())["applied"])
