"""The output of `make upgrade-demo`."""

from __future__ import annotations

import contextlib
import io
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from bench import upgradedemo
from bench.childprocess import LoadError
from bench.upgrade import Figures
from bench.upgradeprocesses import Seen
from bench.upgradeways import Way


class DemoTests(SynchronousTestCase):
    """With a stand-in for the run."""

    def run_demo(self, found: Figures, upgrades: int = 40) -> tuple[int, list[str]]:
        """Run it. @return: its exit status, and its lines."""

        def measure(way: Way, tunnels: int, upgrades: int, told: object) -> Figures:
            for number in range(upgrades + 1):
                found.upgrades = number
                told(found, Seen(tunnels, tunnels, turns=[0.01, 0.02]))  # type: ignore[operator]
            return found

        self.patch(upgradedemo, "measure", measure)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = upgradedemo.main(["--tunnels", "300", "--upgrades", str(upgrades)])
        return status, out.getvalue().splitlines()

    def test_clean(self) -> None:
        """Nothing is lost: status 0. A line tells of a few upgrades, and none has more than 80 columns."""
        found = Figures(300, new=123_456, pauses=[0.01, 0.02], quiet=[0.001])
        status, lines = self.run_demo(found)
        self.assertEqual(0, status)
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertIn("  tunnels cut          0 of 300", lines)
        self.assertEqual(22, sum(line.endswith(" ms") and line.lstrip()[0].isdigit() for line in lines))

    def test_lost(self) -> None:
        """A tunnel or client that is lost, or a process that is left, is status 1, with its reason."""
        status, lines = self.run_demo(Figures(300, lost=["up: it ended"]), 1)
        self.assertEqual((1, "  sniproxy: 1 tunnels were cut: it ended"), (status, lines[-1]))
        self.assertEqual(1, self.run_demo(Figures(failed=Counter({"refused": 1})))[0])
        self.assertEqual(1, self.run_demo(Figures(left=1))[0])

    def test_fails(self) -> None:
        """A proxy that cannot be upgraded is an error in one line."""

        def fail(*_: object, **__: object) -> Figures:
            raise LoadError("no upgrade")

        self.patch(upgradedemo, "measure", fail)
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            self.assertEqual(1, upgradedemo.main(["--upgrades", "1"]))
        self.assertEqual("sniproxy: the demo failed: no upgrade\n", said.getvalue())
