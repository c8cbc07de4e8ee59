"""Tests for sniproxy.admin.rejections."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.rejections import CAUSES, SUMMARY_INTERVAL_S, Rejections


class RejectionsTests(SynchronousTestCase):
    """One line for each cause."""

    def test_once(self) -> None:
        """A cause is logged immediately, then with the sum after an interval; all refusals are counted."""
        now = [0.0]
        rejections = Rejections(lambda: now[0])
        with capturedLogs() as logged:
            for number in range(100):
                rejections.record("host", f"192.0.2.{number} evil.test")
            rejections.record("slow")
            now[0] += SUMMARY_INTERVAL_S
            rejections.record("host", "192.0.2.7 evil.test")
        self.assertEqual({"host": 101, "slow": 1}, dict(rejections.counts))
        said = [formatEvent(event) for event in logged]
        self.assertEqual(3, len(said))
        self.assertEqual(f"admin: refused 1 time: {CAUSES['host']}: 192.0.2.0 evil.test", said[0])
        self.assertEqual(f"admin: refused 1 time: {CAUSES['slow']}", said[1])
        self.assertEqual(f"admin: refused 100 times: {CAUSES['host']}: 192.0.2.7 evil.test", said[2])

    def test_escaped(self) -> None:
        """Data of the client is bounded and escaped."""
        with capturedLogs() as logged:
            Rejections(lambda: 0.0).record("origin", "a\nb\x1b" + "x" * 10_000)
        (said,) = map(formatEvent, logged)
        self.assertTrue(said.isprintable())
        self.assertTrue(len(said) < 1000)
