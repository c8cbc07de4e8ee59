"""Measurements and summaries."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import (
    Meter,
    Spread,
    cpu_seconds,
    environment,
    family,
    pinned,
    proportional,
    ratios,
    spread,
    system_cpu_seconds,
)
from tests.support import programs


class SpreadTests(SynchronousTestCase):
    """Median, lowest, highest."""

    def test_spread(self) -> None:
        """With an even count the median is the mean of the two middle values."""
        self.assertEqual(spread([3.0, 1.0, 9.0]), Spread(3.0, 1.0, 9.0))
        self.assertEqual(spread([4.0, 1.0, 9.0, 3.0]), Spread(3.5, 1.0, 9.0))
        self.assertEqual(spread([2.0]), Spread(2.0, 2.0, 2.0))

    def test_nothing(self) -> None:
        """Without runs there is no summary."""
        self.assertRaises(ValueError, spread, [])

    def test_ratios(self) -> None:
        """Ratios are of the same run, and not of the medians."""
        self.assertEqual(ratios([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]), Spread(2.0, 1.0, 3.0))
        self.assertRaises(ValueError, ratios, [1.0], [1.0, 2.0])

    def test_text(self) -> None:
        """Small values have two decimals, large ones none."""
        self.assertEqual(str(Spread(1.5, 1.234, 2.0)), "1.50 (1.23-2.00)")
        self.assertEqual(str(Spread(1234567.8, 99.0, 2345678.9)), "1,234,568 (99-2,345,679)")


class SystemTests(SynchronousTestCase):
    """Figures of the system."""

    def test_cpu(self) -> None:
        """CPU time of a process grows; a missing process is an error."""
        before = cpu_seconds(os.getpid())
        sum(range(5_000_000))
        self.assertGreater(cpu_seconds(os.getpid()), before)
        self.assertRaises(OSError, cpu_seconds, 1 << 30)

    def test_family(self) -> None:
        """A process comes first, then its children and theirs."""
        command = ["sh", "-c", "sh -c 'echo; read line; exit' & read line <&0; exit"]
        process = programs.start(self, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with programs.killed_after(process):
            assert process.stdout is not None
            process.stdout.readline()
        pids = family(process.pid)
        self.assertEqual((len(pids), pids[0]), (2, process.pid))
        self.assertRaises(OSError, family, 1 << 30)

    def test_memory(self) -> None:
        """Used memory of all processes counts."""
        found = []
        for count in (1, 30_000_000):
            command = [sys.executable, "-c", f"held = b'x' * {count}; print(flush=True); input()"]
            process = programs.start(self, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            with programs.killed_after(process):
                assert process.stdout is not None
                process.stdout.readline()
            found.append(proportional([process.pid]))
            found.append(proportional([process.pid, process.pid]))
            programs.kill(process)
        self.assertGreater(found[2], found[0] + 25_000_000)
        self.assertGreater(found[3], found[1] + 50_000_000)
        self.assertRaises(OSError, proportional, [1 << 30])

    def test_meter(self) -> None:
        """A meter gives seconds and CPU time of its block."""
        before = system_cpu_seconds()
        with Meter([os.getpid()]) as meter:
            sum(range(3_000_000))
        self.assertGreater(meter.seconds, 0)
        self.assertGreater(meter.cpu, 0)
        self.assertLessEqual(meter.cpu, time.process_time())
        self.assertLessEqual(meter.system, system_cpu_seconds() - before)

    def test_environment(self) -> None:
        """One line has Python, the kernel, its congestion control and the number of CPUs."""
        line = environment()
        for part in (f"{os.cpu_count()} CPUs", "3.", os.uname().release, ", TCP "):
            self.assertIn(part, line)
        self.assertTrue(line.isprintable())


class PinnedTests(SynchronousTestCase):
    """One CPU for all."""

    def test_pinned(self) -> None:
        """In the body this thread and its children have one CPU; afterwards all of before."""
        before = os.sched_getaffinity(0)
        with pinned() as cpu:
            code = "import os; print(os.sched_getaffinity(0))"
            said = programs.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            self.assertEqual(said.strip(), str({cpu}))
        self.assertEqual(os.sched_getaffinity(0), before)
