"""The metrics of the process, with the names that Prometheus client libraries use."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LISTING_INTERVAL_S = 10.0
"""Seconds between two listings of the descriptors, on kernels that do not count them."""


class ProcessMetrics(Collector):
    """Replaces C{prometheus_client.ProcessCollector}, which lists all descriptors for each scrape (50 ms for 16,000).

    @param folder: the folder of the process in C{/proc}. If it does not exist, there are no metrics.
    """

    def __init__(self, folder: Path = Path("/proc/self")) -> None:
        self._folder = folder
        self._listed: tuple[float, int] | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing. Otherwise the registry would call L{collect} on registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics, for the registry."""
        try:
            fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
            boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
            descriptors = self._descriptors()
        except OSError:
            return
        ticks = os.sysconf("SC_CLK_TCK")
        rss = float(fields[21]) * resource.getpagesize()
        started = float(fields[19]) / ticks + float(boot.split()[1])
        yield GaugeMetricFamily(
            "process_virtual_memory_bytes", "Virtual memory size in bytes.", value=float(fields[20])
        )
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", value=rss)
        about = "Start time of the process since unix epoch in seconds."
        yield GaugeMetricFamily("process_start_time_seconds", about, value=started)
        about = "Total user and system CPU time spent in seconds."
        seconds = (float(fields[11]) + float(fields[12])) / ticks
        yield CounterMetricFamily("process_cpu_seconds", about, value=seconds)
        yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", value=descriptors)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", value=limit)

    def _descriptors(self) -> int:
        """The number of descriptors: since Linux 6.2 the size of the folder, which is 0 on older kernels."""
        folder = self._folder / "fd"
        counted = folder.stat().st_size
        if counted:
            return counted
        now = time.monotonic()
        if self._listed is None or now - self._listed[0] >= LISTING_INTERVAL_S:
            self._listed = now, len(os.listdir(folder))
        return self._listed[1]
