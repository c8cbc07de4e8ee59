"""The metrics of the process itself, named as Prometheus's client libraries name them."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LISTING_INTERVAL_S = 10.0
"""Seconds between two listings of the descriptors, where the kernel does not count them."""


class ProcessMetrics(Collector):
    """As C{prometheus_client.ProcessCollector}, which lists all descriptors for each answer: 50 ms with 16,000.

    @param folder: of the process in C{/proc}. Without it there are no such metrics.
    """

    def __init__(self, folder: Path = Path("/proc/self")) -> None:
        self._folder = folder
        self._listed: tuple[float, int] | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would else collect once when it is made."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
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
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", value=most)

    def _descriptors(self) -> int:
        """Since Linux 6.2 the size of the folder is their number; it is 0 before."""
        folder = self._folder / "fd"
        counted = folder.stat().st_size
        if counted:
            return counted
        now = time.monotonic()
        if self._listed is None or now - self._listed[0] >= LISTING_INTERVAL_S:
            self._listed = now, len(os.listdir(folder))
        return self._listed[1]
