"""The benchmark of system calls."""

from __future__ import annotations

import builtins
import shutil

from twisted.trial.unittest import SynchronousTestCase

from bench.calls import Calls, busiest, main, messages_table, noted, steps_table, tunnels_table

MESSAGE = """
 100.000000010:  raw_syscalls:sys_exit: NR 45 = 64
 100.000001000:  raw_syscalls:sys_enter: NR 232 (9, 55b7aa186070, 80, 6da0b, 0, 0)
 100.000051000:  raw_syscalls:sys_exit: NR 232 = 1
 100.000054000:  raw_syscalls:sys_enter: NR 45 (c, 55b7aa12c490, 4000, 0, 0, 0)
 100.000055000:  raw_syscalls:sys_exit: NR 45 = 64
 100.000057000:  raw_syscalls:sys_enter: NR 44 (d, 55b7aa12c490, 40, 0, 0, 0)
 100.000073000:  raw_syscalls:sys_exit: NR 44 = 64
 100.000077000:  raw_syscalls:sys_enter: NR 232 (9, 55b7aa186070, 80, 6da0b, 0, 0)
"""
TUNNEL = """
 7.000000000:  raw_syscalls:sys_enter: NR 41 (2, 80801, 0)
 7.000004000:  raw_syscalls:sys_exit: NR 41 = 13
 7.000010000:  raw_syscalls:sys_enter: NR 999 (d)
 7.000012000:  raw_syscalls:sys_exit: NR 999 = 0
"""


class NotedTests(SynchronousTestCase):
    """Parsing of perf's output."""

    def test_between_and_inside(self) -> None:
        """Times in and between calls are read; incomplete calls and other lines are skipped."""
        found = noted(["# a comment", *MESSAGE.splitlines()])
        self.assertEqual([50.0], [round(value, 3) for value in found.inside["epoll_wait"]])
        self.assertEqual([2.0], [round(value, 3) for value in found.between["recvfrom", "sendto"]])
        self.assertEqual((3, 1), (found.count(), found.count("sendto")))
        self.assertAlmostEqual(17.0, found.kernel, 3)  # without the wait
        self.assertAlmostEqual(0.99 + 3 + 2 + 4, found.program, 3)

    def test_unknown_call(self) -> None:
        """A call without a known name has its number."""
        found = noted(TUNNEL.splitlines())
        self.assertEqual(["socket", "999"], list(found.inside))
        self.assertAlmostEqual(6.0, found.program, 3)

    def test_sums(self) -> None:
        """Sums use medians, so that an outlier has no effect."""
        found = Calls({"close": [1.0, 2.0, 999.0], "epoll_wait": [5.0]}, {("close", "close"): [1.0, 1.0, 500.0]})
        self.assertEqual((6.0, 3.0), (found.kernel, found.program))


class ThreadTests(SynchronousTestCase):
    """The recorded thread."""

    def test_busiest(self) -> None:
        """It is the one with the most CPU time during the load, also if it is new."""
        self.assertEqual(busiest({1: 9.0, 2: 1.0}, {1: 9.1, 2: 1.5}), 2)
        self.assertEqual(busiest({1: 9.0}, {1: 9.1, 3: 0.5}), 3)


class TableTests(SynchronousTestCase):
    """The tables."""

    def test_messages(self) -> None:
        """Per message: the time before its send, after it, and in the kernel."""
        self.assertRegex(
            messages_table({"ours": noted(MESSAGE.splitlines())}),
            r"\| ours +\| +3\.0 \| +6\.0 \| +4\.0 \| +17\.0 \|\n",
        )

    def test_tunnels(self) -> None:
        """Per tunnel, counted by the proxy's own sockets."""
        found = noted(TUNNEL.splitlines())
        self.assertRegex(tunnels_table({"ours": found}), r"\| ours +\| +2\.0 \| +6 \| +6 \|\n")
        self.assertRegex(steps_table(found), r"\| socket - 999 +\| +1\.00 \| +6\.0 \|\n")


class MainTests(SynchronousTestCase):
    """The command."""

    def test_without_perf(self) -> None:
        """Without perf, the status is 1 and the message names perf."""
        said: list[str] = []
        self.patch(shutil, "which", lambda name: None)
        self.patch(builtins, "print", said.append)
        self.assertEqual(1, main([]))
        self.assertIn("perf", said[0])
