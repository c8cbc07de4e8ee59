"""Tests for sniproxy.pulsar.filter."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.events import Event, Value
from sniproxy.pulsar.filter import NAMES, EventFilter, matches

TOPIC = "persistent://acme/shop/orders-partition-3"


def event(name: str, **fields: Value) -> Event:
    """An event of some connection."""
    return Event(name, 0.0, "c", fields)


class ChoiceTests(SynchronousTestCase):
    """Choosing events."""

    def test_matches(self) -> None:
        """Patterns are held against the whole name, and against its parts when they have no domain."""
        for pattern in (
            TOPIC,
            "persistent://acme/*",
            "acme/shop/*",
            "orders*",
            "orders",
            "acme/shop/orders",
            "persistent://acme/shop/orders",
            "o?ders-partition-[0-9]",
            "*",
        ):
            self.assertTrue(matches(TOPIC, pattern), pattern)
        for pattern in (
            "Orders",
            "order",
            "shop",
            "shop/orders",
            "persistent://acme",
            "non-persistent://*",
            "://*",
            "",
        ):
            self.assertFalse(matches(TOPIC, pattern), pattern)
        self.assertTrue(matches("orders", "orders"))

    def test_all(self) -> None:
        """Without a choice, all is wanted."""
        for one in (event("ended"), event("lookup", topic=None), event("command", command="SEND")):
            self.assertTrue(EventFilter().wants(one))

    def test_follow(self) -> None:
        """With patterns, events of other topics and of none are not wanted."""
        choice = EventFilter(["orders", "returns*"])
        wanted = [event("lookup", topic=TOPIC), event("moved", topic="persistent://a/b/returns-2")]
        others = [event("lookup", topic="persistent://a/b/c"), event("lookup", topic=None), event("ended")]
        self.assertEqual([choice.wants(one) for one in wanted + others], [True, True, False, False, False])

    def test_commands(self) -> None:
        """With commands, in any case, only events about these are wanted, failures and answers included."""
        choice = EventFilter(commands=["lookup", "Send", "PRODUCER_SUCCESS"])
        wanted = [
            event("lookup", topic=TOPIC),
            event("producer", topic=TOPIC),
            event("command", command="SEND"),
            event("unanswered", request="LOOKUP"),
        ]
        others = [event("partitions"), event("error", request="SEEK"), event("command", command="ACK"), event("ended")]
        self.assertEqual([choice.wants(one) for one in wanted + others], [True] * 4 + [False] * 4)
        self.assertEqual(choice.asked_for, {"SEND"})

    def test_both(self) -> None:
        """Patterns and commands together are a choice by both."""
        choice = EventFilter(["orders"], ["LOOKUP"])
        self.assertTrue(choice.wants(event("lookup", topic=TOPIC)))
        self.assertFalse(choice.wants(event("producer", topic=TOPIC)))
        self.assertFalse(choice.wants(event("lookup", topic="x")))

    def test_always(self) -> None:
        """What says that something cannot be seen is always wanted."""
        choice = EventFilter(["orders"], ["LOOKUP"])
        self.assertEqual([choice.wants(event(name)) for name in ("lost", "tls", "gap")], [True, True, False])

    def test_no_command(self) -> None:
        """A command that there is not is an error that names those like it, or all."""
        error = str(self.assertRaises(ValueError, EventFilter, [], ["LOKUP"]))
        self.assertTrue(error.startswith("there is no command LOKUP; perhaps LOOKUP"), error)
        self.assertNotIn("PRODUCER", error)
        self.assertIn(
            f"there are: {', '.join(NAMES)}", str(self.assertRaises(ValueError, EventFilter, [], ["\x1b[2J"]))
        )
