"""The bridge's bench."""

from __future__ import annotations

from contextlib import ExitStack

from twisted.trial.unittest import SynchronousTestCase

from bench.bridge import DOCUMENT, WAYS, BridgeTestBed
from bench.table import replaced


class BridgeBenchTests(SynchronousTestCase):
    """Its ways and its place."""

    def test_ways(self) -> None:
        """Each way leads both streams; the last one is the bridge's, whose CPU time it takes."""
        with ExitStack() as stack:
            course = BridgeTestBed(stack, 1_000, 100_000)
            for _, run in course.streams.values():
                for name in WAYS:
                    before = course.bridge.cpu
                    self.assertGreater(run(course.ways[name], 2), 0)
                self.assertGreater(course.bridge.cpu, before)

    def test_place(self) -> None:
        """The manual has the place for its tables."""
        self.assertIn("new", replaced(DOCUMENT.read_text(), "bridge", "new\n"))
