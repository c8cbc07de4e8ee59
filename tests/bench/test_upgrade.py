"""The benchmark of upgrades."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from bench.peers import PEERS
from bench.table import replaced
from bench.upgrade import DOCUMENT, Figures, main, measure, percentile, reasons, row
from bench.upgradeprocesses import MORE
from bench.upgradeways import ways


class FiguresTests(SynchronousTestCase):
    """Figures and their row."""

    def test_row(self) -> None:
        """A row has all counts, and times in ms."""
        found = Figures(30, 2, ["up: it ended"], [], 1000, Counter({"refused": 2}), [0.01, 0.03], [0.001], 1, 5_000_000)
        cells = row("nginx", found)
        self.assertEqual(("nginx", "2", "1 of 30", "0", "1,000", "2", "20.0", "29.8", "30.0", "1.0", "1", "5"), cells)
        self.assertFalse(found.clean)
        found.relay = "engine"
        self.assertEqual("ours (engine)", row("ours", found)[0])

    def test_reasons(self) -> None:
        """Losses with one reason are one line."""
        found = Figures(3, 1, ["up: it ended", "down: it ended"], ["echo: bytes 1 to 2"], 5, Counter({"refused": 4}))
        wanted = ["x: 2 tunnels were cut: it ended", "x: wrong bytes: echo: bytes 1 to 2", "x: 4 clients: refused"]
        self.assertEqual(wanted, reasons("x", found))
        self.assertEqual([], reasons("x", Figures()))
        self.assertTrue(Figures().clean)

    def test_percentile(self) -> None:
        """Percentiles of few values."""
        self.assertEqual([0.0, 5.0, 2.0], [percentile([], 99), percentile([5.0], 99), percentile([1.0, 2.0, 3.0], 50)])


class MeasureTests(SynchronousTestCase):
    """A short run."""

    @skipIf(PEERS["haproxy"].program() is None, "needs HAProxy")
    def test_haproxy(self) -> None:
        """HAProxy keeps its tunnels until the deadline of the old process, which then cuts them."""
        kept = measure(ways()["haproxy"], 10, 1, settle_s=0)
        self.assertEqual((10 + MORE, [], 1), (kept.tunnels, kept.lost, kept.left))
        cut = measure(ways(1)["haproxy-stop"], 10, 1, 1.0, settle_s=0)
        self.assertEqual((10 + MORE, 10), (cut.tunnels, len(cut.lost)), cut.lost)

    def test_unknown(self) -> None:
        """An unknown way is refused."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertRaises(SystemExit, main, ["no-such-way"])
        self.assertIn("no such way: no-such-way", said.getvalue())

    def test_place(self) -> None:
        """The document has a place for the table."""
        self.assertIn("new", replaced(DOCUMENT.read_text(), "upgrade", "new\n"))
