"""Tests for sniproxy.asking.breaker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.asking.breaker import FIRST_REST, LONGEST_REST, TRIPS_AT, Breaker, State


class BreakerTests(SynchronousTestCase):
    """When a resolver is left alone."""

    def opened(self) -> Breaker:
        breaker = Breaker()
        for name in range(TRIPS_AT):
            self.assertTrue(breaker.lets(0.0))
            breaker.failed(name, 0.0)
        self.assertIs(State.OPEN, breaker.state)
        return breaker

    def test_one_bad_name(self) -> None:
        """One name may fail as often as it will: the others are asked about."""
        breaker = Breaker()
        for _ in range(100):
            breaker.failed("bad", 0.0)
        self.assertTrue(breaker.lets(0.0))
        self.assertIs(State.CLOSED, breaker.state)

    def test_success_between(self) -> None:
        """A name that is answered forgives all failures before."""
        breaker = Breaker()
        for name in range(10 * TRIPS_AT):
            breaker.failed(name, 0.0)
            if name % (TRIPS_AT - 1) == 0:
                breaker.succeeded()
        self.assertIs(State.CLOSED, breaker.state)

    def test_opens(self) -> None:
        """After failures of many names it lets nothing through until its rest is over, then one question."""
        breaker = self.opened()
        self.assertFalse(breaker.lets(FIRST_REST / 2))
        self.assertEqual(FIRST_REST / 2, breaker.rest(FIRST_REST / 2))
        self.assertTrue(breaker.lets(FIRST_REST))
        self.assertIs(State.HALF_OPEN, breaker.state)
        self.assertFalse(breaker.lets(FIRST_REST))

    def test_closes(self) -> None:
        """The one question's answer closes it."""
        breaker = self.opened()
        breaker.lets(FIRST_REST)
        breaker.succeeded()
        self.assertTrue(breaker.lets(FIRST_REST))
        self.assertIs(State.CLOSED, breaker.state)

    def test_longer_rests(self) -> None:
        """Each failure of the one question doubles the rest, up to a bound; an answer makes it short again."""
        breaker, now, rests = self.opened(), 0.0, []
        for _ in range(8):
            rests.append(breaker.rest(now))
            now += breaker.rest(now)
            self.assertTrue(breaker.lets(now))
            breaker.failed("x", now)
        self.assertEqual([1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST, LONGEST_REST, LONGEST_REST], rests)
        breaker.succeeded()
        for name in range(TRIPS_AT):
            breaker.failed(name, now)
        self.assertEqual(FIRST_REST, breaker.rest(now))

    def test_late_failures(self) -> None:
        """Questions that were asked before it opened, and fail after, lengthen nothing."""
        breaker = self.opened()
        for name in range(100):
            breaker.failed(name, 0.5)
        self.assertEqual(FIRST_REST, breaker.rest(0.0))

    def test_given_up(self) -> None:
        """When nobody waits for the one question any more, the next one decides."""
        breaker = self.opened()
        breaker.lets(FIRST_REST)
        breaker.given_up(FIRST_REST)
        self.assertTrue(breaker.lets(FIRST_REST))
        breaker.succeeded()
        breaker.given_up(FIRST_REST)
        self.assertIs(State.CLOSED, breaker.state)
