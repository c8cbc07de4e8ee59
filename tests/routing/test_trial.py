"""Tests for sniproxy.routing.trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.trial import MAX_MATCH_S, MAX_TRIALS_S, hard_names, slow_expressions
from sniproxy.util.names import MAX_NAME_CHARS


def clock(step: float) -> Callable[[], float]:
    """A clock that advances by these seconds at each call."""
    looks: Iterator[int] = count()
    return lambda: next(looks) * step


class SlowExpressionsTests(SynchronousTestCase):
    """slow_expressions: expressions that take too long by the given clock."""

    PATTERNS = (("a", "a.test"), ("b", "~.*x"), ("c", "*.c.test"), ("d", "~d.*y"))

    def test_fast(self) -> None:
        """A fast expression is accepted."""
        self.assertEqual([], list(slow_expressions(self.PATTERNS, lambda: 7.0)))

    def test_slow(self) -> None:
        """Each slow expression is reported with its key; other patterns are not timed."""
        found = list(slow_expressions(self.PATTERNS, clock(1.1 * MAX_MATCH_S)))
        self.assertEqual([("b", "~.*x"), ("d", "~d.*y")], [one[:2] for one in found])
        self.assertIn("more than 10 ms", found[0][2])

    def test_interrupted(self) -> None:
        """A single slow match is taken for an interruption, and ignored."""
        looks = iter([0.0, 0.0, 1.0])
        self.assertEqual([], list(slow_expressions([("b", "~.*x")], lambda: next(looks, 1.0))))

    def test_total(self) -> None:
        """The total time is bounded: later expressions are not timed."""
        many = [(str(number), f"~{number}.*x") for number in range(100)]
        found = list(slow_expressions(many, clock(MAX_TRIALS_S / 5)))
        self.assertTrue(1 <= len(found) <= 10, found)


class HardNamesTests(SynchronousTestCase):
    """hard_names: names made of an expression's characters."""

    def test_names(self) -> None:
        """The names have the maximum length, are few, and some begin like the expression."""
        found = list(hard_names(r"~broker-\.q(x|z)+.*"))
        self.assertTrue(all(MAX_NAME_CHARS - 1 <= len(name) <= MAX_NAME_CHARS for name in found))
        self.assertLess(len(found), 40)
        self.assertTrue(any(name.startswith("broker-.q") for name in found))
