"""Tests for sniproxy.pulsar.filter."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.events import Event, Value
from sniproxy.pulsar.filter import NAMES, EventFilter, matches

TOPIC = "persistent://acme/shop/orders-partition-3"


def event(name: str, **fields: Value) -> Event:
    """An event with these fields."""
    return Event(name, 0.0, "c", fields)


class EventFilterTests(SynchronousTestCase):
    """EventFilter selects events."""

    def test_matches(self) -> None:
        """Patterns match the whole name, and parts of it if they have no domain."""
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

    def test_segments(self) -> None:
        """A segment also matches by the name of its topic, as the topic does; a topic by its resolved name, too."""
        segment = "segment://acme/shop/orders/0000-7fff-0"
        both = "topic://acme/shop/orders", "topic://acme/*", "acme/shop/orders", "orders*"
        for pattern in (segment, "segment://*", "acme/shop/*", "0000-*", *both):
            self.assertTrue(matches(segment, pattern), pattern)
        for pattern in both:
            self.assertTrue(matches("topic://acme/shop/orders", pattern), pattern)
        for pattern in ("persistent://*", "topic://acme/shop/0*", "order"):
            self.assertFalse(matches(segment, pattern), pattern)
        follow = EventFilter(["topic://acme/*"])
        resolved = event("scalable_topic", topic="acme/shop/orders", resolved_topic="topic://acme/shop/orders")
        self.assertTrue(follow.wants(resolved))

    def test_all(self) -> None:
        """An empty filter selects all events."""
        for one in (event("ended"), event("lookup", topic=None), event("command", command="SEND")):
            self.assertTrue(EventFilter().wants(one))

    def test_follow(self) -> None:
        """With patterns, events of other topics or without a topic are not selected."""
        event_filter = EventFilter(["orders", "returns*"])
        wanted = [event("lookup", topic=TOPIC), event("moved", topic="persistent://a/b/returns-2")]
        others = [event("lookup", topic="persistent://a/b/c"), event("lookup", topic=None), event("ended")]
        self.assertEqual([event_filter.wants(one) for one in wanted + others], [True, True, False, False, False])

    def test_commands(self) -> None:
        """With commands, in any case, only their events are selected, including failures and answers."""
        event_filter = EventFilter(commands=["lookup", "Send", "PRODUCER_SUCCESS"])
        wanted = [
            event("lookup", topic=TOPIC),
            event("producer", topic=TOPIC),
            event("command", command="SEND"),
            event("unanswered", request="LOOKUP"),
        ]
        others = [event("partitions"), event("error", request="SEEK"), event("command", command="ACK"), event("ended")]
        self.assertEqual([event_filter.wants(one) for one in wanted + others], [True] * 4 + [False] * 4)
        self.assertEqual(event_filter.extra_commands, {"SEND"})

    def test_both(self) -> None:
        """With patterns and commands, an event must match both."""
        event_filter = EventFilter(["orders"], ["LOOKUP"])
        self.assertTrue(event_filter.wants(event("lookup", topic=TOPIC)))
        self.assertFalse(event_filter.wants(event("producer", topic=TOPIC)))
        self.assertFalse(event_filter.wants(event("lookup", topic="x")))

    def test_always(self) -> None:
        """Events that say that a connection cannot be read are always selected."""
        event_filter = EventFilter(["orders"], ["LOOKUP"])
        self.assertEqual([event_filter.wants(event(name)) for name in ("lost", "tls", "gap")], [True, True, False])

    def test_no_command(self) -> None:
        """An unknown command is an error that names similar commands, or all."""
        error = str(self.assertRaises(ValueError, EventFilter, [], ["LOKUP"]))
        self.assertTrue(error.startswith("unknown command LOKUP; did you mean LOOKUP"), error)
        self.assertNotIn("PRODUCER", error)
        self.assertIn(f"known: {', '.join(NAMES)}", str(self.assertRaises(ValueError, EventFilter, [], ["\x1b[2J"])))
