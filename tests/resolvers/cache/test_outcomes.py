"""Tests for sniproxy.resolvers.cache.outcomes."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable
from sniproxy.resolvers.cache.outcomes import copy_error, outcome

TARGETS = [Target("a.test", 1)]


class OutcomeTests(SynchronousTestCase):
    """What a plugin returned or raised."""

    def test_good(self) -> None:
        """A valid answer and a valid refusal are returned unchanged."""
        for good in (
            Resolution(TARGETS),
            Resolution(TARGETS, 0),
            Resolution(TARGETS, 7.5),
            Refused("no"),
            Refused("", 0),
        ):
            self.assertIs(good, outcome(good))

    def test_faults(self) -> None:
        """Everything else is a failure whose text says what the plugin did."""
        for bad, said in (
            (None, "returned NoneType instead of Resolution"),
            ("a.test:1", "returned str instead"),
            (Resolution([]), "returned no targets"),
            (Resolution(TARGETS, -1), "returned an invalid ttl: -1"),
            (Resolution(TARGETS, math.nan), "returned an invalid ttl: nan"),
            (Resolution(TARGETS, "7"), "returned an invalid ttl: '7'"),  # type: ignore[arg-type]
            (Refused("no", -1), "refused with an invalid ttl: -1"),
            (Unavailable("silent"), "silent"),
            (KeyError("x"), "unexpected error: KeyError: 'x'"),
        ):
            found = outcome(bad)
            self.assertIsInstance(found, Unavailable)
            self.assertIn(said, str(found))

    def test_bounded(self) -> None:
        """A plugin's text becomes one line of bounded length."""
        for bad in (Unavailable("a\nb" * 1000), ValueError("a\nb" * 1000)):
            found = str(outcome(bad))
            self.assertTrue(found.isprintable())
            self.assertLess(len(found), 400)

    def test_copy_error(self) -> None:
        """The copy is a new exception with the same content."""
        refused, unavailable = Refused("no", 7.0), Unavailable("silent")
        found = copy_error(refused)
        assert isinstance(found, Refused)
        self.assertEqual(("no", 7.0), (found.reason, found.ttl))
        self.assertIsNot(refused, found)
        self.assertEqual((Unavailable, "silent"), (type(copy_error(unavailable)), str(copy_error(unavailable))))

    def test_authoritative(self) -> None:
        """Whether a failure is an answer is kept, also if a subclass says so for all its exceptions."""

        class Draining(Unavailable):
            authoritative = True

        for error, expected in (
            (Unavailable("silent"), False),
            (Unavailable("away", authoritative=True), True),
            (Draining("away"), True),
        ):
            found = outcome(error)
            assert isinstance(found, Unavailable)
            copied = copy_error(found)
            assert isinstance(copied, Unavailable)
            self.assertEqual((expected, expected), (found.authoritative, copied.authoritative))
