"""Tests for sniproxy.admin.process."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import ProcessCollector
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.process import ProcessMetrics


class ProcessTests(SynchronousTestCase):
    """The metrics of this process."""

    def test_as_the_library(self) -> None:
        """Names, types and texts, and constant values, are those of the library."""
        found = {one.name: one for one in ProcessMetrics().collect()}
        wanted = {one.name: one for one in ProcessCollector(registry=None).collect()}
        self.assertEqual(set(wanted), set(found))
        for name, one in wanted.items():
            self.assertEqual((one.type, one.documentation), (found[name].type, found[name].documentation))
        for name in ("process_start_time_seconds", "process_max_fds"):
            self.assertEqual(wanted[name].samples[0].value, found[name].samples[0].value)

    def test_descriptors(self) -> None:
        """Open descriptors are counted, also on older kernels."""
        folder = Path(self.mktemp())
        (folder / "fd").mkdir(parents=True)
        metrics = ProcessMetrics(folder)
        self.assertNotEqual(0, metrics._descriptors())
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        (before,) = (one.samples[0].value for one in ProcessMetrics().collect() if one.name == "process_open_fds")
        more = os.dup(read)
        self.addCleanup(os.close, more)
        (after,) = (one.samples[0].value for one in ProcessMetrics().collect() if one.name == "process_open_fds")
        self.assertEqual(before + 1, after)

    def test_none(self) -> None:
        """Without /proc there are no metrics."""
        self.assertEqual([], list(ProcessMetrics(Path("/nonexistent")).collect()))
