"""Tests for sniproxy.admin.tally."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.admin.tally import ABANDONED_S, BATCH, FRESH_S, SMALL_COUNT, TallyCounter
from tests.admin.sample import SampleLive, connection, refused

KEY = ("public", "*.pulsar.test")
MANY = SMALL_COUNT + 100


class TallyTests(SynchronousTestCase):
    """Counts of open and ended connections."""

    def setUp(self) -> None:
        self.now = 2.5
        self.live = [SampleLive(connection(number), 2, 3) for number in range(MANY)]
        self.looks = 0
        self.ended_up: Counter[str] = Counter()
        self.aliases = {"the-broker": "10.0.0.11:6651"}
        self.tallies = TallyCounter(self.look, lambda: self.now, lambda: (self.ended_up, {}, self.aliases))

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

    def test_all(self) -> None:
        """What has ended and what is open is counted together: by listener, by route, by target; refusals, too."""
        self.live[:] = [
            SampleLive(connection(1), 2, 3),
            SampleLive(connection(2, route=None, target=None), state="hello"),
            SampleLive(connection(3, route="other"), 5, 0, "connect"),
            SampleLive(connection(7, route="other", target="the-broker"), 1, 1),
        ]
        self.tallies.add_ended(connection(4, bytes_up=7))
        self.tallies.add_ended(refused(5), True)
        self.tallies.add_ended(refused(6, route="other", listener="inside"), True)
        self.ended_up["10.0.0.11:6651"] = 7
        finish(self.tallies.count())
        latest = self.tallies.latest
        self.assertEqual(({"public": 6, "inside": 1}, {"public": 4}), (dict(latest.accepted), dict(latest.open)))
        other, inside = ("public", "other"), ("inside", "other")
        self.assertEqual({KEY: 2, other: 2, inside: 1}, dict(latest.routed_total))
        self.assertEqual({KEY: 1, other: 2}, dict(latest.routed))
        self.assertEqual({("public", ""): 1, inside: 1}, dict(latest.refused))
        self.assertEqual({"public": 1, "inside": 1}, dict(latest.refused_by))
        self.assertEqual((10, 4), (latest.target_up["10.0.0.11:6651"], latest.target_down["10.0.0.11:6651"]))
        self.assertEqual(({"10.0.0.11:6651": 7}, 2.5), (self.ended_up, latest.time))

    def test_adopted(self) -> None:
        """Of an open connection of another process, only what follows is counted, also when it has ended."""
        one, two = SampleLive(connection(1), 200, 300), SampleLive(connection(2, route=None), 20, 30)
        self.live[:] = [one, two]
        for live in (one, two):
            self.tallies.add_adopted(live.record, live.bytes_up, live.bytes_down)
        for _ in range(2):
            finish(self.tallies.count())
            latest = self.tallies.latest
            self.assertEqual((0, 0, 0), (latest.up[KEY], latest.down[KEY], latest.up["public", ""]))
            self.assertEqual((0, 0), (latest.accepted["public"], latest.routed_total[KEY]))
            self.assertEqual((2, 1), (latest.open["public"], latest.tunnels[KEY]))
        one.bytes_up += 5
        finish(self.tallies.count())
        self.assertEqual((5, 0), (self.tallies.latest.up[KEY], self.tallies.latest.down[KEY]))
        self.end(one)
        finish(self.tallies.count())
        latest = self.tallies.latest
        self.assertEqual((5, 0, 0, 0), (
            latest.up[KEY], latest.down[KEY], latest.accepted["public"], latest.routed_total[KEY]))  # fmt: skip

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
