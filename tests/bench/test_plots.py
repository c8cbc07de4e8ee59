"""The plots."""

from __future__ import annotations

from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from bench.plots import bars, grouped, lines
from bench.results import Result, Runs
from tests.support.packages import missing


class PlotTests(SynchronousTestCase):
    """Bars and lines."""

    @skipIf(*missing("matplotlib"))
    def test_drawn(self) -> None:
        """Peers and titles are text in the files."""
        results = {
            "idle": Result("", "", {"ours": Runs({"KiB each": [1.0, 2.0]}), "nginx": Runs({}, "it ended")}),
            "scale": Result("", "", {"ours": Runs({"100: KiB each": [1.0], "1,000: KiB each": [2.0]})}),
        }
        for draw, title in ((bars, "Idle tunnel: KiB"), (lines, "KiB each, by tunnels")):
            path = Path(self.mktemp())
            draw(results, path)
            for text in (title, "ours"):
                self.assertIn(text, path.read_text())

    def test_nothing(self) -> None:
        """Without results there is no file."""
        for draw in (bars, lines):
            path = Path(self.mktemp())
            draw({}, path)
            self.assertFalse(path.exists())

    def test_grouped(self) -> None:
        """Figures are grouped by the text after the colon, in order."""
        found = grouped(["10: s", "10: MiB", "100: s"])
        self.assertEqual(found, {"s": ["10", "100"], "MiB": ["10"]})
