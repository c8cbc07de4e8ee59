"""Tests for sniproxy.logs.refusals."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.logs.refusals import MAX_CLIENTS, SUMMARY_INTERVAL_S, RefusalLog


class RefusalLogTests(SynchronousTestCase):
    """A line at once, then sums."""

    def said(self, play: Callable[[Clock, RefusalLog], None]) -> list[str]:
        with capturedLogs() as logs:
            clock = Clock()
            play(clock, RefusalLog(clock))
        events: list[LogEvent] = list(logs)
        return [formatEvent(event) for event in events]

    def test_first(self) -> None:
        """The first refusal is told at once; without another one nothing more is said."""

        def play(clock: Clock, told: RefusalLog) -> None:
            told.refused("rate_per_client", "192.0.2.7")
            clock.advance(SUMMARY_INTERVAL_S)
            told.close()

        self.assertEqual(["a connection of 192.0.2.7 is refused: [limits] rate_per_client"], self.said(play))

    def test_sums(self) -> None:
        """Others are summed by limit, and a line names those who were refused most."""

        def play(clock: Clock, told: RefusalLog) -> None:
            for client, count in (("a", 5), ("b", 3), ("c", 2), ("d", 1), ("e", 1)):
                for _ in range(count):
                    told.refused("rate_per_client", client)
            told.refused("max_connections_per_client", "a")
            clock.advance(SUMMARY_INTERVAL_S)

        self.assertEqual(
            [
                "11 more connections refused in 10 s: [limits] rate_per_client: a x 4, b x 3, c x 2, and 2 others",
                "1 more connection refused in 10 s: [limits] max_connections_per_client: a x 1",
            ],
            self.said(play)[1:],
        )

    def test_bounded(self) -> None:
        """Beyond so many clients the others are summed as one."""

        def play(clock: Clock, told: RefusalLog) -> None:
            for number in range(MAX_CLIENTS + 101):
                told.refused("rate_per_client", str(number))
            clock.advance(SUMMARY_INTERVAL_S)

        self.assertIn("others x 100, ", self.said(play)[1])

    def test_close(self) -> None:
        """At the end what waits is told."""

        def play(clock: Clock, told: RefusalLog) -> None:
            for _ in range(2):
                told.refused("rate_per_client", "a")
            told.close()
            self.assertEqual([], clock.getDelayedCalls())

        self.assertEqual(2, len(self.said(play)))
