"""Tests for sniproxy.server.statecounts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.statecounts import StateCounts, decode, merge_workers


class CountsTests(SynchronousTestCase):
    """StateCounts."""

    def test_text(self) -> None:
        """One line, which names only states that there are."""
        for counts, expected in (
            (StateCounts(), "0 tunnels"),
            (StateCounts(1, 1), "1 tunnel, 1 target down"),
            (StateCounts(1203, 2, 1), "1,203 tunnels, 2 targets down, 1 target ejected"),
        ):
            self.assertEqual(expected, str(counts))

    def test_workers(self) -> None:
        """Tunnels are added up; each worker counts the same targets."""
        self.assertEqual(StateCounts(5, 2, 1), merge_workers([StateCounts(2, 2), StateCounts(3, 1, 1)]))
        self.assertEqual(StateCounts(), merge_workers([]))

    def test_encoded(self) -> None:
        """What is encoded is decoded; other texts are None."""
        counts = StateCounts(7, 1, 0)
        self.assertEqual((counts, "[7, 1, 0]"), (decode(counts.encode()), counts.encode()))
        for text in ("", "[1, 2]", "[1, 2, 3, 4]", "[1, 2, true]", "[1, 2, -1]", '["1", 2, 3]', "{}", "7", "[" * 20):
            self.assertIsNone(decode(text), text)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """No text raises."""
        found = decode(text)
        self.assertTrue(found is None or isinstance(found, StateCounts))
