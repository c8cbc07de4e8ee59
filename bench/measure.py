"""CPU time of a process, what repeated runs came to, and where they ran. Linux only."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attrs import frozen


@frozen
class Spread:
    """What repeated runs came to: the median, the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Such as ``1.23 (1.20-1.31)``: with two decimals, large values with none."""
        digits = 2 if self.high < 100 else 0
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one run.

    Raises `ValueError` when there is none.
    """
    if not values:
        raise ValueError("no run to speak of")
    return Spread(median(values), min(values), max(values))


def ratios(values: Sequence[float], yardsticks: Sequence[float]) -> Spread:
    """Of values to the yardsticks of the same runs: what both suffered alike falls out."""
    return spread([value / yardstick for value, yardstick in zip(values, yardsticks, strict=True)])


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a living process has used, user and system, in all its threads that live; not its children.

    From schedstat, in nanoseconds; the ticks of ``stat`` are 10 ms. Raises `OSError`: there is no such process.
    """
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def environment() -> str:
    """Where it runs, in one line."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{os.cpu_count()} CPUs ({_cpu()}), {platform.python_implementation()} {platform.python_version()}, {system}"


def _cpu() -> str:
    """The model of the CPU, as /proc/cpuinfo has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
