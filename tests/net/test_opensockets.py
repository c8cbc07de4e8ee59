"""Tests for sniproxy.net.opensockets."""

from __future__ import annotations

from unittest import TestCase

from sniproxy.net.opensockets import MAX_SOCKETS, AttemptSockets, DialSockets
from sniproxy.net.overlapping import MIN_ATTEMPT_S


class OpenSocketsTests(TestCase):
    """Sockets of one dial."""

    def setUp(self) -> None:
        self.held = 0
        self.dial = DialSockets(self.hold)

    def hold(self, change: int) -> None:
        self.held += change

    def test_beyond_the_first(self) -> None:
        """All sockets but the first count, over all targets."""
        one: AttemptSockets[int] = AttemptSockets(self.dial)
        other: AttemptSockets[int] = AttemptSockets(self.dial)
        for number, held in enumerate((0, 1, 2)):
            one.add(number, 0.0)
            self.assertEqual(held, self.held)
        other.add(9, 0.0)
        self.assertEqual((3, 3, 1), (self.held, len(one), len(other)))
        for number in one:
            one.discard(number)
            one.discard(number)
        self.assertEqual((0, 1), (self.held, self.dial.count))
        other.discard(9)
        self.assertEqual((0, 0), (self.held, self.dial.count))

    def test_full(self) -> None:
        """At the limit, a target without a socket may open one: the oldest socket is closed after its minimum time."""
        one: AttemptSockets[int] = AttemptSockets(self.dial)
        for number in range(MAX_SOCKETS):
            self.assertFalse(one.full)
            one.add(number, number / 10)
        self.assertTrue(one.full)
        self.assertFalse(AttemptSockets(self.dial).full)
        self.assertIsNone(one.oldest(MIN_ATTEMPT_S - 0.01))
        self.assertEqual(0, one.oldest(MIN_ATTEMPT_S))
        self.assertIn(0, one)
