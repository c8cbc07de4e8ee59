"""Tests for sniproxy.admin.process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

from prometheus_client import CollectorRegistry, ProcessCollector
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.process import LISTING_INTERVAL_S, ProcessMetrics


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

    def test_old_kernels(self) -> None:
        """A kernel that does not count descriptors has them listed, at most every ten seconds."""
        now = 0.0
        self.patch(time, "monotonic", lambda: now)
        self.patch(Path, "stat", lambda path: SimpleNamespace(st_size=0))
        folder = Path(self.mktemp())
        (folder / "fd").mkdir(parents=True)
        metrics = ProcessMetrics(folder)
        counts = []
        for now in (0.0, LISTING_INTERVAL_S - 1, LISTING_INTERVAL_S):
            (folder / "fd" / f"{now:g}").touch()
            counts.append(metrics._descriptors())
        self.assertEqual([1, 1, 3], counts)

    def test_registry(self) -> None:
        """The registry collects nothing when the metrics are registered, and all on request."""
        self.assertEqual([], list(ProcessMetrics().describe()))
        registry = CollectorRegistry()
        registry.register(ProcessMetrics())
        self.assertLess(0, registry.get_sample_value("process_open_fds") or 0)

    def test_none(self) -> None:
        """Without /proc there are no metrics."""
        self.assertEqual([], list(ProcessMetrics(Path("/nonexistent")).collect()))
