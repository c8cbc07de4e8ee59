"""CPU time and memory of processes, what repeated runs came to, and where they ran. Linux only."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
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


def family(pid: int) -> list[int]:
    """A living process and all that descend from it. Raises `OSError`: there is no such process."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found.extend(map(int, (task / "children").read_text().split()))
    return found


def proportional(pids: Iterable[int]) -> int:
    """Bytes of memory that processes use: what they share with others is divided (PSS). Raises `OSError`.

    Without the pages of programs and libraries: their share would change with whatever else runs on this machine.
    """
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return 1024 * sum(_kilobytes(text, key) for text in texts for key in ("Pss_Anon:", "Pss_Shmem:"))


def system_cpu_seconds() -> float:
    """CPU seconds that this whole machine has been busy, since it started, in ticks of 10 ms."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Meter:
    """What passed inside a ``with``: ``seconds``, CPU seconds of some processes, ``system``: of the whole machine."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.seconds = self.cpu = self.system = 0.0

    def __enter__(self) -> Meter:
        self.cpu, self.system = -self._cpu(), -system_cpu_seconds()
        self.seconds = -time.perf_counter()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu += self._cpu()
        self.system += system_cpu_seconds()

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self._pids))


def environment() -> str:
    """Where it runs, in one line."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{os.cpu_count()} CPUs ({_cpu()}), {platform.python_implementation()} {platform.python_version()}, {system}"


def _kilobytes(text: str, key: str) -> int:
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise ValueError(f"there is no {key}")


def _cpu() -> str:
    """The model of the CPU, as /proc/cpuinfo has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
