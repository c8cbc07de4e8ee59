"""Tests for tests.peers.flowfacts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.flowfacts import Fact, Span, describe


class SpanTests(SynchronousTestCase):
    """The formats of numbers."""

    def test_formats(self) -> None:
        """A format writes the least and the greatest number, once if they look the same."""
        for form, numbers, text in (
            ("after", (0.0, 0.099), "at once"),
            ("after", (0.121, 0.119), "after 0.12 s"),
            ("after", (0.1, 0.95), "after 0.10 to 0.95 s"),
            ("after", (0.01, 5.04), "after 0.0 to 5.0 s"),
            ("s", (7.02,), "7.0 s"),
            ("times", (1, 1), "once"),
            ("times", (1, 2), "1 to 2 times"),
            ("messages", (1,), "1 message"),
            ("messages", (3, 4), "3 to 4 messages"),
            ("", (5, 6), "5 to 6"),
        ):
            self.assertEqual(text, format(Span(numbers), form))

    def test_unknown(self) -> None:
        """Another format is refused."""
        self.assertRaises(ValueError, format, Span([1]), "x")


class DescribeTests(SynchronousTestCase):
    """The text of a cell."""

    def test_merge(self) -> None:
        """Equal facts of the runs become one, in their order, with the numbers of all."""
        one = [Fact("no call fails"), Fact("connects again {0:after}", (0.11,))]
        two = [Fact("no call fails"), Fact("connects again {0:after}", (0.13,))]
        self.assertEqual("no call fails; connects again after 0.11 to 0.13 s", describe([one, two]))

    def test_places(self) -> None:
        """The places of a fact are independent of each other."""
        runs = [[Fact("sends {0} to {1}", (5,), (last,))] for last in (15, 16, 15)]
        self.assertEqual("sends 5 to 15 to 16", describe(runs))

    def test_some_runs(self) -> None:
        """A fact of some runs says of how many."""
        runs = [[Fact("a"), Fact("b {0}", (2,))], [Fact("a")], [Fact("a"), Fact("b {0}", (1,)), Fact("b {0}", (3,))]]
        self.assertEqual("a; b 1 to 3 (2 of 3 runs)", describe(runs))

    def test_nothing(self) -> None:
        """Runs without facts have no text."""
        self.assertEqual("", describe([[], []]))
