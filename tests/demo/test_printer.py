"""Tests for sniproxy.demo.printer."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.demo.printer import TourPrinter


class Terminal(io.StringIO):
    """An output that is a terminal of unknown size."""

    def isatty(self) -> bool:
        return True


class PrinterTests(SynchronousTestCase):
    """TourPrinter: text, colours and width."""

    def written(self, out: io.StringIO) -> str:
        printer = TourPrinter(out)
        printer.heading("Heading")
        printer.line("actor", "acts")
        printer.item("command", "shows something")
        return out.getvalue()

    def test_plain(self) -> None:
        """Output to a file has no colours."""
        expected = "\nHeading\n  actor       acts\n  command\n      shows something\n"
        self.assertEqual(expected, self.written(io.StringIO()))

    def test_colour(self) -> None:
        """Output to a terminal has colours, unless NO_COLOR is set."""
        self.patch(os, "environ", {})
        self.assertIn("\x1b[1mHeading\x1b[0m\n", self.written(Terminal()))
        self.patch(os, "environ", {"NO_COLOR": "1"})
        self.assertNotIn("\x1b", self.written(Terminal()))

    @given(
        st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=60), min_size=1)
    )
    def test_width(self, words: list[str]) -> None:
        """Lines end between words, at 80 columns; no word is lost."""
        out = io.StringIO()
        TourPrinter(out).line("actor", " ".join(words))
        self.assertLessEqual(max(map(len, out.getvalue().splitlines())), 80)
        self.assertEqual(["actor", *words], out.getvalue().split())

    def test_log(self) -> None:
        """A line of the log is wrapped on a terminal only: programs read it elsewhere."""
        line = ", ".join(f'"key-{number}": "value"' for number in range(9))
        plain, terminal = io.StringIO(), Terminal()
        TourPrinter(plain).log(line)
        self.assertEqual(f"{line}\n", plain.getvalue())
        TourPrinter(terminal).log(line)
        self.assertEqual(line.split(), terminal.getvalue().split())
        self.assertLessEqual(max(map(len, terminal.getvalue().splitlines())), 80)

    def test_narrow(self) -> None:
        """A narrower terminal has shorter lines; a wider one does not have longer ones."""
        for columns, width in ((40, 40), (200, 80), (0, 80)):
            controller, terminal = os.openpty()
            self.addCleanup(os.close, controller)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            with os.fdopen(terminal, "w") as out:
                self.assertEqual(width, TourPrinter(out).width)
