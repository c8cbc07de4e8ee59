"""Tunnels, drawn from a seed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar.frames import FrameReader
from tests.chaos.plan import CLIENT, MAX_BYTES, TARGET, draw


class DrawTests(SynchronousTestCase):
    """What both ends do."""

    def test_again(self) -> None:
        """The same seed and number give the same tunnel; others differ."""
        self.assertEqual(draw(1, 2, False), draw(1, 2, False))
        self.assertNotEqual(draw(1, 2, False).data, draw(1, 3, False).data)
        self.assertNotEqual(draw(1, 2, False).data, draw(2, 2, False).data)

    def test_variety(self) -> None:
        """There are empty, small and large tunnels, and patient, slow and small ends; two ends never both wait."""
        plans = [draw(1, number, False) for number in range(300)]
        sizes = [len(data) for plan in plans for data in plan.data.values()]
        self.assertEqual((0, True, True), (min(sizes), max(sizes) > 100_000, max(sizes) < MAX_BYTES))
        for end in (CLIENT, TARGET):
            manners = [plan.manners[end] for plan in plans]
            for values in (
                {m.waits for m in manners},
                {m.pauses_s > 0 for m in manners},
                {m.small_buffer for m in manners},
            ):
                self.assertEqual({False, True}, values)
        self.assertFalse([plan for plan in plans if all(manner.waits for manner in plan.manners.values())])

    def test_frames(self) -> None:
        """A bridge's tunnels have whole frames."""
        plan = draw(1, 5, True)
        for data in plan.data.values():
            reader = FrameReader()
            self.assertEqual(len(data), sum(frame.size for frame in reader.feed(data)))
            self.assertEqual(b"", reader.rest)
