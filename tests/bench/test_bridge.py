"""The benchmark of the bridge."""

from __future__ import annotations

from contextlib import ExitStack

from twisted.trial.unittest import SynchronousTestCase

from bench.bridge import DOCUMENT, WAYS, BridgeTestBed
from bench.table import replaced


class BridgeBenchTests(SynchronousTestCase):
    """Its paths and its place in the manual."""

    def test_ways(self) -> None:
        """Each path carries both streams; the path through the bridge has a CPU time."""
        with ExitStack() as stack:
            course = BridgeTestBed(stack, 1_000, 100_000)
            for _, run in course.streams.values():
                for name in WAYS:
                    before = course.bridge.cpu
                    self.assertGreater(run(course.ways[name], 2), 0)
                self.assertGreater(course.bridge.cpu, before)

    def test_place(self) -> None:
        """The document has a place for the tables."""
        self.assertIn("new", replaced(DOCUMENT.read_text(), "bridge", "new\n"))
