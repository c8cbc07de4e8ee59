"""Tests for sniproxy.cli.progress."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.progress import LARGE_BYTES, ProgressBar


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """ProgressBar."""

    def test_drawn(self) -> None:
        """The bar shows each new percentage once, and is erased."""
        out = Terminal()
        bar = ProgressBar(2 * LARGE_BYTES, out)
        for done in (0, LARGE_BYTES, LARGE_BYTES, 3 * LARGE_BYTES):
            bar.draw(done)
        bar.hide()
        bar.hide()
        drawn = [part.split("] ")[-1].split("%")[0].strip() for part in out.getvalue().split("\r")[1:4]]
        self.assertEqual(["0", "50", "100"], drawn)
        self.assertTrue(out.getvalue().endswith("\r\x1b[K"))
        self.assertEqual(4, out.getvalue().count("\r"))

    def test_not_drawn(self) -> None:
        """There is no bar for small files, or where standard error is no terminal."""
        for size, out in ((LARGE_BYTES - 1, Terminal()), (2 * LARGE_BYTES, io.StringIO())):
            bar = ProgressBar(size, out)
            bar.draw(1)
            bar.hide()
            self.assertEqual(("", 0), (out.getvalue(), bar.size))
