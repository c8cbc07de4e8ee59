"""Measures CPU time and memory of processes, and summarises repeated runs. Linux only."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attrs import frozen

from bench import pythons

_CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@frozen
class Spread:
    """A summary of repeated runs: median, lowest and highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example ``1.23 (1.20-1.31)``: two decimals, none for large values."""
        digits = 2 if self.high < 100 else 0
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Summarise at least one run.

    Raises `ValueError` if there is none.
    """
    if not values:
        raise ValueError("no runs")
    return Spread(median(values), min(values), max(values))


def ratios(values: Sequence[float], yardsticks: Sequence[float]) -> Spread:
    """Summarise the ratios of values to yardsticks of the same runs. Disturbances that affect both cancel out."""
    return spread([value / yardstick for value, yardstick in zip(values, yardsticks, strict=True)])


def cpu_seconds(pid: int) -> float:
    """User and system CPU seconds of a process: of its current threads, without its children.

    From schedstat, in nanoseconds; ``stat`` has ticks of 10 ms. Raises `OSError` if there is no such process.
    """
    return sum(thread_seconds(pid).values())


def thread_seconds(pid: int) -> dict[int, float]:
    """User and system CPU seconds of each thread of a process, by its identifier. Raises `OSError`."""
    tasks = Path(f"/proc/{pid}/task")
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks.iterdir()}


def family(pid: int) -> list[int]:
    """A process and its descendants. Raises `OSError` if there is no such process."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found.extend(map(int, (task / "children").read_text().split()))
    return found


def proportional(pids: Iterable[int]) -> int:
    """Bytes of memory of processes, with shared pages divided (PSS). Raises `OSError`.

    Without pages of programs and libraries, because their share depends on what else runs on the machine.
    """
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return 1024 * sum(_kilobytes(text, key) for text in texts for key in ("Pss_Anon:", "Pss_Shmem:"))


def system_cpu_seconds() -> float:
    """CPU seconds that the whole machine has been busy since it started, in ticks of 10 ms."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures a ``with`` block: ``seconds``; ``cpu``: CPU seconds of some processes; ``system``: of the machine."""

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


@contextmanager
def pinned() -> Iterator[int]:
    """For the body, keep this thread and the processes that it starts on one CPU: the highest one allowed.

    Otherwise the time of a message depends on where the scheduler puts its three processes: one program gives 25 µs in
    one run and 100 µs in the next.
    """
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def environment() -> str:
    """The machine, the Python of our proxy, and TCP's congestion control, which changes the cost of bulk data."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    control = _CONGESTION_CONTROL.read_text().strip()
    return f"{os.cpu_count()} CPUs ({_cpu()}), {pythons.chosen()}, {system}, TCP {control}"


def _kilobytes(text: str, key: str) -> int:
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise ValueError(f"no {key} found")


def _cpu() -> str:
    """The model of the CPU in /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
