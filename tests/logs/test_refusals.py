"""Tests for sniproxy.logs.refusals."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.logs.refusals import MAX_CLIENTS, SUMMARY_INTERVAL_S, RefusalLog


class RefusalLogTests(SynchronousTestCase):
    """RefusalLog: one line at once, then a summary."""

    def logged(self, play: Callable[[Clock, RefusalLog], None]) -> list[str]:
        with capturedLogs() as logs:
            clock = Clock()
            play(clock, RefusalLog(clock))
        events: list[LogEvent] = list(logs)
        return [formatEvent(event) for event in events]

    def test_first(self) -> None:
        """The first refusal is logged at once; if it is the only one, nothing follows."""

        def play(clock: Clock, refusals: RefusalLog) -> None:
            refusals.add_refusal("rate_per_client", "192.0.2.7")
            clock.advance(SUMMARY_INTERVAL_S)
            refusals.close()

        self.assertEqual(["connection from 192.0.2.7 refused: [limits] rate_per_client exceeded"], self.logged(play))

    def test_sums(self) -> None:
        """Further refusals are summed by limit; a line names the clients with the most refusals."""

        def play(clock: Clock, refusals: RefusalLog) -> None:
            for client, count in (("a", 5), ("b", 3), ("c", 2), ("d", 1), ("e", 1)):
                for _ in range(count):
                    refusals.add_refusal("rate_per_client", client)
            refusals.add_refusal("max_connections_per_client", "a")
            clock.advance(SUMMARY_INTERVAL_S)

        self.assertEqual(
            [
                "11 more connections refused in 10 s: [limits] rate_per_client exceeded: "
                "a x 4, b x 3, c x 2, and 2 others",
                "1 more connection refused in 10 s: [limits] max_connections_per_client exceeded: a x 1",
            ],
            self.logged(play)[1:],
        )

    def test_bounded(self) -> None:
        """Clients beyond MAX_CLIENTS are summed as "others"."""

        def play(clock: Clock, refusals: RefusalLog) -> None:
            for number in range(MAX_CLIENTS + 101):
                refusals.add_refusal("rate_per_client", str(number))
            clock.advance(SUMMARY_INTERVAL_S)

        self.assertIn("others x 100, ", self.logged(play)[1])

    def test_close(self) -> None:
        """close() writes the pending summary."""

        def play(clock: Clock, refusals: RefusalLog) -> None:
            for _ in range(2):
                refusals.add_refusal("rate_per_client", "a")
            refusals.close()
            self.assertEqual([], clock.getDelayedCalls())

        self.assertEqual(2, len(self.logged(play)))
