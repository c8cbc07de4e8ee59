"""Where a proxy's time goes, call by call."""

from __future__ import annotations

import builtins
import shutil

from twisted.trial.unittest import SynchronousTestCase

from bench.calls import Calls, main, messages_table, noted, steps_table, tunnels_table

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
    """What perf writes, read."""

    def test_between_and_inside(self) -> None:
        """Time inside calls, and between them; what is cut off at the ends is left out, and what is no note."""
        found = noted(["# a comment", *MESSAGE.splitlines()])
        self.assertEqual([50.0], [round(value, 3) for value in found.inside["epoll_wait"]])
        self.assertEqual([2.0], [round(value, 3) for value in found.between["recvfrom", "sendto"]])
        self.assertEqual((3, 1), (found.count(), found.count("sendto")))
        self.assertAlmostEqual(17.0, found.kernel, 3)  # without the wait
        self.assertAlmostEqual(0.99 + 3 + 2 + 4, found.program, 3)

    def test_unknown_call(self) -> None:
        """A call that has no name here goes by its number; it is no program's time."""
        found = noted(TUNNEL.splitlines())
        self.assertEqual(["socket", "999"], list(found.inside))
        self.assertAlmostEqual(6.0, found.program, 3)

    def test_sums(self) -> None:
        """They are of the medians: what happens once is not what a call takes."""
        found = Calls({"close": [1.0, 2.0, 999.0], "epoll_wait": [5.0]}, {("close", "close"): [1.0, 1.0, 500.0]})
        self.assertEqual((6.0, 3.0), (found.kernel, found.program))


class TableTests(SynchronousTestCase):
    """The tables."""

    def test_messages(self) -> None:
        """By message: what comes before its send, behind it, and the kernel's."""
        self.assertRegex(
            messages_table({"ours": noted(MESSAGE.splitlines())}),
            r"\| ours +\| +3\.0 \| +6\.0 \| +4\.0 \| +17\.0 \|\n",
        )

    def test_tunnels(self) -> None:
        """By tunnel, of which each has one socket of the proxy's own."""
        found = noted(TUNNEL.splitlines())
        self.assertRegex(tunnels_table({"ours": found}), r"\| ours +\| +2\.0 \| +6 \| +6 \|\n")
        self.assertRegex(steps_table(found), r"\| socket - 999 +\| +1\.00 \| +6\.0 \|\n")


class MainTests(SynchronousTestCase):
    """The command."""

    def test_without_perf(self) -> None:
        """It says what it needs."""
        said: list[str] = []
        self.patch(shutil, "which", lambda name: None)
        self.patch(builtins, "print", said.append)
        self.assertEqual(1, main([]))
        self.assertIn("perf", said[0])
