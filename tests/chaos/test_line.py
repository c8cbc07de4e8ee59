"""What a line does to packets."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.line import BOTH, DOWN, UP, Cut, Direction, Quality, draw_cuts

PERFECT = Quality(loss=0, duplicated=0, reordered=0, delay_s=0, jitter_s=0, bytes_per_s=0)
PACKETS = 2000


class DirectionTests(SynchronousTestCase):
    """When packets are due."""

    def fates(self, quality: Quality, seed: int = 1, apart_s: float = 0.01) -> list[tuple[float, ...]]:
        direction = Direction.of(UP, quality, (), seed)
        return [direction.due(number * apart_s, 1000, True) for number in range(PACKETS)]

    def share(self, found: list[tuple[float, ...]], count: int) -> float:
        return sum(len(one) == count for one in found) / len(found)

    def test_perfect(self) -> None:
        """Without faults each packet arrives at once, and once."""
        self.assertEqual([(number * 0.01,) for number in range(PACKETS)], self.fates(PERFECT))

    def test_shares(self) -> None:
        """Loss, duplicates and reordering have about their shares, and are counted."""
        direction = Direction.of(UP, Quality(loss=0.1, duplicated=0.2, reordered=0.3, bytes_per_s=0), (), 1)
        found = [direction.due(number * 0.01, 1000, True) for number in range(PACKETS)]
        self.assertLess(abs(0.1 - self.share(found, 0)), 0.03)
        self.assertLess(abs(0.18 - self.share(found, 2)), 0.03)
        self.assertLess(abs(0.27 - direction.counts["reordered"] / PACKETS), 0.04)
        self.assertEqual(PACKETS, direction.counts["passed"] + direction.counts["lost"])

    def test_seed(self) -> None:
        """A seed gives the same fates again, another seed others."""
        self.assertEqual(self.fates(Quality()), self.fates(Quality()))
        self.assertNotEqual(self.fates(Quality()), self.fates(Quality(), seed=2))

    def test_order(self) -> None:
        """Delay and jitter keep the order; only reordered packets overtake others."""
        late = Quality(loss=0, duplicated=0, reordered=0, delay_s=0.02, jitter_s=0.05, bytes_per_s=0)
        found = [at for (at,) in self.fates(late, apart_s=0.001)]
        self.assertEqual(sorted(found), found)
        delays = [at - number * 0.001 for number, at in enumerate(found)]
        self.assertTrue(all(0.02 <= delay <= 0.0701 for delay in delays), (min(delays), max(delays)))
        self.assertGreater(max(delays) - min(delays), 0.02)
        mixed = Quality(loss=0, duplicated=0, reordered=0.2, delay_s=0.02, bytes_per_s=0)
        found = [at for (at,) in self.fates(mixed, apart_s=0.001)]
        self.assertNotEqual(sorted(found), found)

    def test_rate(self) -> None:
        """A narrow line passes its rate, and loses what does not fit into the queue."""
        narrow = Quality(loss=0, duplicated=0, reordered=0, delay_s=0, jitter_s=0, bytes_per_s=100_000, queue_s=0.1)
        direction = Direction.of(UP, narrow, (), 1)
        found = [at for number in range(PACKETS) for at in direction.due(number * 0.001, 1000, True)]
        self.assertLess(abs(PACKETS * 0.001 * 100 - len(found)), 15)
        self.assertTrue(all(later - sooner >= 0.0099 for sooner, later in pairwise(found)))
        self.assertEqual(PACKETS - len(found), direction.counts["queue full"])

    def test_cut(self) -> None:
        """A partition takes the packets of its way and time, or only those with data."""
        for way, data_only, expected in (
            (UP, False, [[], []]), (DOWN, False, [[1.5], [1.5]]), (BOTH, False, [[], []]), (UP, True, [[], [1.5]]),
        ):  # fmt: skip
            with self.subTest(way=way, data_only=data_only):
                direction = Direction.of(UP, PERFECT, [Cut(1, 1, way, data_only)], 1)
                self.assertEqual((0.9,), direction.due(0.9, 100, True))
                found = [list(direction.due(1.5, 100, has_data)) for has_data in (True, False)]
                self.assertEqual(expected, found)
                self.assertEqual((2.0,), direction.due(2.0, 100, True))


class CutTests(SynchronousTestCase):
    """Partitions of a run."""

    def test_drawn(self) -> None:
        """They follow each other, none is too long or at the end, and a seed gives the same again."""
        for seed in range(50):
            found = draw_cuts(seed, 60, 6, 3)
            self.assertEqual(found, draw_cuts(seed, 60, 6, 3))
            for cut, after in pairwise(found):
                self.assertLess(cut.start_s + cut.seconds, after.start_s)
            self.assertTrue(all(0.1 <= cut.seconds <= 3 and cut.start_s <= 57 for cut in found))
        ways = {cut.way for seed in range(50) for cut in draw_cuts(seed, 60, 6, 3)}
        self.assertEqual({UP, DOWN, BOTH}, ways)

    def test_none(self) -> None:
        """No interval means no partition."""
        self.assertEqual([], draw_cuts(1, 60, 0, 3))
