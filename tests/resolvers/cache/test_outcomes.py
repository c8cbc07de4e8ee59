"""Tests for sniproxy.resolvers.cache.outcomes."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable
from sniproxy.resolvers.cache.outcomes import again, outcome

TARGETS = [Target("a.test", 1)]


class OutcomeTests(SynchronousTestCase):
    """What a plugin gave or raised."""

    def test_good(self) -> None:
        """An answer and a refusal are what they are."""
        for good in (
            Resolution(TARGETS),
            Resolution(TARGETS, 0),
            Resolution(TARGETS, 7.5),
            Refused("no"),
            Refused("", 0),
        ):
            self.assertIs(good, outcome(good))

    def test_faults(self) -> None:
        """All else is a failure, which says what the plugin did."""
        for bad, said in (
            (None, "it gave a NoneType instead of a Resolution"),
            ("a.test:1", "it gave a str instead"),
            (Resolution([]), "it gave no target"),
            (Resolution(TARGETS, -1), "it gave a ttl of -1"),
            (Resolution(TARGETS, math.nan), "it gave a ttl of nan"),
            (Resolution(TARGETS, "7"), "it gave a ttl of '7'"),  # type: ignore[arg-type]
            (Refused("no", -1), "it refused with a ttl of -1"),
            (Unavailable("silent"), "silent"),
            (KeyError("x"), "it failed: KeyError: 'x'"),
        ):
            found = outcome(bad)
            self.assertIsInstance(found, Unavailable)
            self.assertIn(said, str(found))

    def test_bounded(self) -> None:
        """What a plugin says is one line of bounded length."""
        for bad in (Unavailable("a\nb" * 1000), ValueError("a\nb" * 1000)):
            found = str(outcome(bad))
            self.assertTrue(found.isprintable())
            self.assertLess(len(found), 400)

    def test_again(self) -> None:
        """An error can be had anew, with all it says."""
        refused, unavailable = Refused("no", 7.0), Unavailable("silent")
        found = again(refused)
        assert isinstance(found, Refused)
        self.assertEqual(("no", 7.0), (found.reason, found.ttl))
        self.assertIsNot(refused, found)
        self.assertEqual((Unavailable, "silent"), (type(again(unavailable)), str(again(unavailable))))
