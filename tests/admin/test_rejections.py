"""Tests for sniproxy.admin.rejections."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.rejections import CAUSES, SUMMARY_INTERVAL_S, Rejections


class RefusedLogTests(SynchronousTestCase):
    """One line for each cause."""

    def test_once(self) -> None:
        """A cause is logged at once, then with the sum after a while; all are counted."""
        now = [0.0]
        refused = Rejections(lambda: now[0])
        with capturedLogs() as logged:
            for number in range(100):
                refused.refused("host", f"192.0.2.{number} evil.test")
            refused.refused("slow")
            now[0] += SUMMARY_INTERVAL_S
            refused.refused("host", "192.0.2.7 evil.test")
        self.assertEqual({"host": 101, "slow": 1}, dict(refused.counts))
        said = [formatEvent(event) for event in logged]
        self.assertEqual(3, len(said))
        self.assertEqual(f"admin: refused: {CAUSES['host']}: 192.0.2.0 evil.test (1)", said[0])
        self.assertEqual(f"admin: refused: {CAUSES['slow']} (1)", said[1])
        self.assertTrue(said[2].endswith("192.0.2.7 evil.test (100)"), said[2])

    def test_escaped(self) -> None:
        """What a client has sent is bounded and escaped."""
        with capturedLogs() as logged:
            Rejections(lambda: 0.0).refused("origin", "a\nb\x1b" + "x" * 10_000)
        (said,) = map(formatEvent, logged)
        self.assertTrue(said.isprintable())
        self.assertTrue(len(said) < 1000)
