"""Tests for tests.peers.flowevents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.flowevents import Event, derive, read_events
from tests.peers.flowfacts import describe

#: Three messages, each stored once.
ONCE = {1: 1, 2: 1, 3: 1}


class ReadTests(SynchronousTestCase):
    """The lines of a client."""

    def test_events(self) -> None:
        """Lines that are no events are ignored, and so are fields that nothing needs."""
        lines = [
            "WARN something",
            json.dumps({"at": 1.5, "what": "send", "n": 3, "seconds": 0.5, "error": "Timeout", "text": "long"}),
            json.dumps({"at": 2, "what": "end"}),
        ]
        self.assertEqual([Event(1.5, "send", 3, 0.5, "Timeout"), Event(2, "end")], read_events(lines))

    def test_wild_error(self) -> None:
        """An error cannot break the table."""
        (event,) = read_events([json.dumps({"at": 1, "what": "send", "error": "a|b`{c}\n" + "x" * 100})])
        self.assertEqual("abc" + "x" * 57, event.error)


class DeriveTests(SynchronousTestCase):
    """What follows from the events of a run with three messages and a fault at second 10."""

    def calm(self) -> list[Event]:
        """The events of a client that notices nothing."""
        opened = [Event(1, "SUBSCRIBE"), Event(1, "consumer"), Event(2, "PRODUCER"), Event(2, "producer")]
        sent = [Event(8.0 + 2 * n, "send", n, 0.01) for n in (1, 2, 3)]
        received = [Event(8.1 + 2 * n, "message", n) for n in (1, 2, 3)]
        return [*opened, *sent, Event(10, "fault"), *received, Event(20, "again"), Event(22, "end")]

    def assert_text(self, events: Sequence[Event], text: str, stored: Mapping[int, int] = ONCE) -> None:
        """Assert what the cell of one run says."""
        self.assertEqual(text, describe([derive(events, stored, 3)]))

    def replaced(self, *events: Event) -> list[Event]:
        """The calm events with others in place of those of the same kind and message."""
        gone = {(event.what, event.n) for event in events}
        return [*(event for event in self.calm() if (event.what, event.n) not in gone), *events]

    def test_calm(self) -> None:
        """A client that notices nothing has no failures."""
        self.assert_text(self.calm(), "no call fails")

    def test_connects_again(self) -> None:
        """Only the first connection after the fault counts, and what is opened on it says nothing new."""
        more = [Event(0.5, "CONNECT"), Event(10.25, "CONNECT"), Event(10.3, "PRODUCER"), Event(12, "CONNECT")]
        self.assert_text([*self.calm(), *more], "no call fails; connects again after 0.25 s")

    def test_opens_again(self) -> None:
        """On the same connection, a producer or consumer that was open before the fault is opened again."""
        more = [Event(10.2, "PRODUCER"), Event(10.5, "SUBSCRIBE")]
        text = "no call fails; opens the producer again after 0.20 s; subscribes again after 0.50 s"
        self.assert_text([*self.calm(), *more], text)
        early = [Event(0.5, "fault") if event.what == "fault" else event for event in self.calm()]
        self.assert_text(early, "no call fails")

    def test_reads_late(self) -> None:
        """What is opened again may be noticed before the fault is."""
        events = self.replaced(Event(11, "fault"))
        self.assert_text([*events, Event(10.99, "SUBSCRIBE")], "no call fails; subscribes again at once")
        self.assert_text([*events, Event(10.99, "CONNECT")], "no call fails; connects again at once")

    def test_new_consumer(self) -> None:
        """What the program opens at last is no reaction to the fault."""
        self.assert_text([*self.calm(), Event(20.1, "SUBSCRIBE"), Event(20.1, "CONNECT")], "no call fails")

    def test_opening_fails(self) -> None:
        """Failed attempts to open are counted, with the longest and the shortest time."""
        more = [Event(0.5, "consumer", error="Busy"), Event(0.6, "consumer", error="Busy", seconds=8)]
        self.assert_text([*self.calm(), *more], "`subscribe` fails after 0.0 to 8.0 s 2 times: `Busy`")

    def test_never_opens(self) -> None:
        """Without a producer, nothing is sent."""
        events = [Event(n, "producer", error="Busy") for n in (1, 2, 3)] + [Event(5, "end")]
        text = "creating the producer fails at once 3 times: `Busy`; creating the producer never succeeds"
        self.assert_text(events, text, {})

    def test_hit(self) -> None:
        """Of the call that the fault hits, the seconds count from the fault."""
        events = self.replaced(Event(1.5, "fault"), Event(2, "producer", seconds=0.9))
        text = "no call fails; creating the producer succeeds after 0.50 s"
        self.assert_text([event for event in events if event.what != "PRODUCER"], text)
        failed = Event(1.75, "producer", seconds=1.7, error="Busy")
        self.assert_text(
            [*self.replaced(Event(1.5, "fault")), failed],
            "creating the producer fails after 0.25 s once: `Busy`",
        )

    def test_slow(self) -> None:
        """Sends behind the fault that take long are named, but not if it was before all of them."""
        events = self.replaced(Event(10.5, "fault"), Event(12, "send", 2, 7))
        self.assert_text(events, "no call fails; send 2 takes 7.0 s")
        for fault_at in (9, 15):
            self.assert_text([*self.replaced(Event(fault_at, "fault"), Event(12, "send", 2, 7))], "no call fails")

    def test_failed_send(self) -> None:
        """The broker may have a message whose send failed, or not."""
        events = self.replaced(Event(12, "send", 2, 5, "Timeout"))
        self.assert_text(events, "send 2 fails after 5.0 s: `Timeout`; failed, but stored: 1 message")
        lost = [event for event in events if (event.what, event.n) != ("message", 2)]
        text = "send 2 fails after 5.0 s: `Timeout`; failed, and not stored: 1 message"
        self.assert_text(lost, text, {1: 1, 3: 1})

    def test_failed_sends(self) -> None:
        """Sends that fail one after the other are a group; the last one shows that the client does not recover."""
        failed = [Event(12, "send", 2, 5, "Timeout"), Event(14, "send", 3, 0.01, "Timeout")]
        text = (
            "sends 2 to 3 fail after 0.0 to 5.0 s: `Timeout`; failed, but stored: 2 messages; sends fail until the end"
        )
        self.assert_text(self.replaced(*failed), text)
        other = [failed[0], Event(14, "send", 3, 0.01, "Closed")]
        text = describe([derive(self.replaced(*other), ONCE, 3)])
        self.assertIn("send 2 fails after 5.0 s: `Timeout`; send 3 fails at once: `Closed`", text)

    def test_lost(self) -> None:
        """A message that was acknowledged to the producer, and that the broker lacks, is lost."""
        events = [event for event in self.calm() if (event.what, event.n) != ("message", 2)]
        self.assert_text(events, "no call fails; acknowledged, but lost: 1 message", {1: 1, 3: 1})

    def test_twice(self) -> None:
        """A message that is stored twice is told from one that is delivered twice."""
        again = Event(18, "message", 2)
        self.assert_text([*self.calm(), again], "no call fails; stored twice: 1 message", {**ONCE, 2: 2})
        text = "no call fails; redelivered: 1 message"
        self.assert_text([*self.calm(), again], text)

    def test_not_delivered(self) -> None:
        """A message may come to a new consumer only, or to none."""
        events = [event for event in self.calm() if (event.what, event.n) != ("message", 2)]
        self.assert_text(events, "no call fails; never delivered: 1 message")
        text = "no call fails; delivered only to a new consumer: 1 message"
        self.assert_text([*events, Event(21, "message", 2)], text)

    def test_order(self) -> None:
        """The first delivery of each message counts for the order."""
        self.assert_text(self.replaced(Event(19, "message", 2)), "no call fails; delivered out of order")

    def test_receive_fails(self) -> None:
        """Errors of the consumer are named once."""
        more = [Event(15, "receive", error="Closed"), Event(16, "receive", error="Closed")]
        self.assert_text([*self.calm(), *more], "no call fails; receiving or acknowledging fails: `Closed`")

    def test_hangs(self) -> None:
        """A program that does not end hangs."""
        self.assert_text(self.calm()[:-1], "no call fails; the program hangs")
