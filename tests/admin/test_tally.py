"""Tests for sniproxy.admin.tally."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.admin.tally import ABANDONED_S, BATCH, FRESH_S, SMALL_COUNT, TallyCounter
from tests.admin.sample import SampleLive, connection

KEY = ("public", "*.pulsar.test")
MANY = SMALL_COUNT + 100


class TallyTests(SynchronousTestCase):
    """Counts of open and ended connections."""

    def setUp(self) -> None:
        self.now = 0.0
        self.live = [SampleLive(connection(number), 2, 3) for number in range(MANY)]
        self.looks = 0
        self.tallies = TallyCounter(self.look, lambda: self.now)

    def look(self) -> list[SampleLive]:
        self.looks += 1
        return self.live

    def end(self, live: SampleLive) -> None:
        self.live.remove(live)
        live.record.bytes_up, live.record.bytes_down = live.bytes_up, live.bytes_down
        self.tallies.add_ended(live.record)

    def test_count(self) -> None:
        """Tunnels and bytes are counted by listener and route; other connections by state."""
        self.live[0].state = "hello"
        self.end(self.live[1])
        finish(self.tallies.count())
        latest = self.tallies.latest
        self.assertEqual({KEY: MANY - 2}, dict(latest.tunnels))
        self.assertEqual({("public", "hello"): 1}, dict(latest.opening))
        self.assertEqual((2 * MANY - 2, 3 * MANY - 3), (latest.up[KEY], latest.down[KEY]))

    def test_steps(self) -> None:
        """One step counts a bounded number of connections."""
        self.assertEqual(MANY // BATCH + 1, len(list(self.tallies.count())))

    def test_fresh(self) -> None:
        """With many connections, a count is reused for a second; few connections are counted for each answer."""
        for _ in range(3):
            finish(self.tallies.count())
        self.assertEqual(1, self.looks)
        self.now += FRESH_S
        del self.live[SMALL_COUNT:]
        for _ in range(3):
            finish(self.tallies.count())
        self.assertEqual(4, self.looks)

    def test_together(self) -> None:
        """Concurrent callers share one count; each can be cancelled."""
        first, second = self.tallies.count(), self.tallies.count()
        next(first)
        next(second)
        first.close()
        finish(second)
        self.assertEqual(1, self.looks)
        self.assertEqual(MANY, self.tallies.latest.tunnels[KEY])

    def test_abandoned(self) -> None:
        """A count whose callers are all cancelled starts again at the next call."""
        first = self.tallies.count()
        next(first)
        first.close()
        self.now += ABANDONED_S + 1
        self.live.clear()
        finish(self.tallies.count())
        self.assertEqual(0, self.tallies.latest.tunnels[KEY])

    def test_never_less(self) -> None:
        """A connection that ends during a count is counted once: bytes neither shrink nor count twice."""
        counting = self.tallies.count()
        next(counting)
        for live in (self.live[0], self.live[-1]):  # looked at already, and not yet
            live.bytes_up = 10
            self.end(live)
        finish(counting)
        before = self.tallies.latest.up[KEY]
        self.assertEqual(2 * MANY + 8, before)
        self.now += FRESH_S
        finish(self.tallies.count())
        self.assertEqual(2 * MANY + 16, self.tallies.latest.up[KEY])
