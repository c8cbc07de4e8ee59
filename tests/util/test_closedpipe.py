"""Tests for sniproxy.util.closedpipe."""

from __future__ import annotations

import os
import sys
from io import StringIO
from typing import TextIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.closedpipe import STATUS, exit_on_broken_pipe, fail, say


class QuietEndTests(SynchronousTestCase):
    """Writes to a pipe with and without a reader."""

    def pipe(self, read: bool) -> tuple[int, TextIO]:
        """A pipe. @param read: whether the read end is open. @return: both ends, the read end first."""
        out, back = os.pipe()
        stream = open(back, "w")  # noqa: SIM115  # closed below
        self.addCleanup(stream.close)
        if read:
            self.addCleanup(os.close, out)
        else:
            os.close(out)
        return out, stream

    def test_nobody_reads(self) -> None:
        """Without a reader the process ends as by SIGPIPE, for any exception; no buffered text is left."""
        for end in (lambda: None, lambda: 1 / 0, sys.exit):
            _, good = self.pipe(read=True)
            _, stream = self.pipe(read=False)
            with self.assertRaises(SystemExit) as raised, exit_on_broken_pipe(good, stream):
                print("said", file=stream)
                end()
            self.assertEqual(STATUS, raised.exception.code)
            stream.flush()

    def test_somebody_reads(self) -> None:
        """With a reader buffered text is written, and exceptions pass."""
        out, stream = self.pipe(read=True)
        with self.assertRaises(ZeroDivisionError), exit_on_broken_pipe(stream):
            print("said", file=stream)
            raise ZeroDivisionError
        self.assertEqual(b"said\n", os.read(out, 10))

    def test_normal_end(self) -> None:
        """What waits is written at the end of the body."""
        out, stream = self.pipe(read=True)
        with exit_on_broken_pipe(stream):
            print("said", file=stream)
        self.assertEqual(b"said\n", os.read(out, 10))


class EndTests(SynchronousTestCase):
    """say and fail."""

    def test_say(self) -> None:
        """A text on standard output, and success."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        error = self.assertRaises(SystemExit, say, "all is well")
        self.assertEqual((0, "all is well\n"), (error.code, out.getvalue()))

    def test_fail(self) -> None:
        """Each line of an error behind the program's name on the real standard error, and failure."""
        out = StringIO()
        self.patch(sys, "__stderr__", out)
        error = self.assertRaises(SystemExit, fail, "one\ntwo")
        self.assertEqual((1, "sniproxy: one\nsniproxy: two\n"), (error.code, out.getvalue()))

    def test_no_standard_error(self) -> None:
        """A program may have no standard error."""
        self.patch(sys, "__stderr__", None)
        self.patch(sys, "stdout", StringIO())  # print writes there then
        self.assertEqual(1, self.assertRaises(SystemExit, fail, "one").code)
