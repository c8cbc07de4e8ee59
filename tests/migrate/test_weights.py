"""Tests for sniproxy.migrate.weights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.weights import host_port, share, weighted
from sniproxy.routing.targets import MAX_WEIGHT


class ShareTests(SynchronousTestCase):
    """Groups become one list with the same shares."""

    def test_groups(self) -> None:
        """A group's weight is divided among its targets by theirs."""
        self.assertEqual([("a", 2), ("b", 1), ("c", 9)], share([(1, [("a", 2), ("b", 1)]), (3, [("c", 5)])]))

    def test_smallest_numbers(self) -> None:
        """Equal shares are weights of 1."""
        self.assertEqual([("a", 1), ("b", 1)], share([(50, [("a", 7)]), (50, [("b", 3)])]))

    def test_target_of_two_groups(self) -> None:
        """It gets both shares, and is there once."""
        self.assertEqual([("a", 3), ("b", 1)], share([(1, [("a", 1), ("b", 1)]), (1, [("a", 1)])]))

    def test_nothing(self) -> None:
        """Groups and targets of weight 0 get no connections."""
        self.assertEqual([], share([]))
        self.assertEqual([], share([(0, [("a", 1)]), (1, [("b", 0)]), (1, [])]))
        self.assertEqual([("c", 1)], share([(0, [("a", 1)]), (1, [("b", 0), ("c", 4)])]))

    def test_large_weights(self) -> None:
        """Shares that need larger numbers than a weight may have are rounded; none gets lost."""
        self.assertEqual([("a", MAX_WEIGHT), ("b", 1)], share([(1_000_000, [("a", 1)]), (1, [("b", 1)])]))
        self.assertEqual([("a", MAX_WEIGHT), ("b", 1)], share([(1_000_000_000, [("a", 1)]), (1, [("b", 1)])]))

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 10**9), st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 10**9)), max_size=5)
            ),
            max_size=5,
        )
    )
    def test_weights_are_weights(self, groups: list[tuple[int, list[tuple[str, int]]]]) -> None:
        """Every weight is from 1 to 65535, and each target that gets connections is there once."""
        found = share(groups)
        expected = {target for weight, targets in groups if weight for target, own in targets if own}
        self.assertEqual(expected, {target for target, _ in found})
        self.assertEqual(len(expected), len(found))
        self.assertTrue(all(1 <= weight <= MAX_WEIGHT for _, weight in found))


class TextTests(SynchronousTestCase):
    """Texts of targets."""

    def test_weight(self) -> None:
        """The weight 1 is not written."""
        self.assertEqual(["a:1", "a:1 weight=0", "a:1 weight=2"], [weighted("a:1", weight) for weight in (1, 0, 2)])

    def test_host_and_port(self) -> None:
        """An IPv6 address gets brackets."""
        self.assertEqual(["a.test:6651", "[fd00::1]:6651"], [host_port(host, 6651) for host in ("a.test", "fd00::1")])
