"""Tests for sniproxy.cli.conversation.output."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.conversation import output as output_module
from sniproxy.cli.conversation.output import Output, numbered
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.recorder import Recorder, Recording


class OutputTests(SynchronousTestCase):
    """Output."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.name = str(Path(self.mktemp()).with_suffix(".jsonl"))

    def output(self, *wanted: int) -> Output:
        return Output(self.name, frozenset(wanted), self.said.append)

    def lines(self, output: Output, *lines: str) -> None:
        """One connection."""
        writer = output.writer()
        for line in lines:
            writer.write(line)
        recorder = Recorder("", "", "", Recording(), writer.write)
        recorder.end(0.0, "client")
        writer.end(recorder, "a -> b")
        writer.end(recorder, "a -> b")

    def test_files(self) -> None:
        """Each connection with a frame has a file, which only its owner may read."""
        output = self.output()
        for lines in (["one", "two"], [], ["three"]):
            self.lines(output, *lines)
        self.assertEqual("one\ntwo\n", Path(self.name).read_text())
        second = numbered(self.name, 2)
        self.assertEqual("three\n", Path(second).read_text())
        self.assertEqual(0o600, os.stat(second).st_mode & 0o777)
        self.assertEqual((2, 2), (output.written, output.found))
        self.assertEqual(f"{self.name}: 0 frames, a -> b; ended: client", self.said[0])
        self.assertEqual(2, len(self.said))

    def test_names(self) -> None:
        """Further files are numbered before the suffix."""
        self.assertEqual("a/talk-2.jsonl", numbered("a/talk.jsonl", 2))
        self.assertEqual("talk-10", numbered("talk", 10))

    def test_wanted(self) -> None:
        """Only wanted connections are written, the first of them to the file itself."""
        output = self.output(2)
        for line in ("one", "two", "three"):
            self.lines(output, line)
        self.assertEqual("two\n", Path(self.name).read_text())
        self.assertEqual((1, 3), (output.written, output.found))

    def test_bounds(self) -> None:
        """There is a limit of open files, and of all."""
        output = self.output()
        self.patch(output_module, "MAX_OPEN_FILES", 1)
        first = output.writer()
        first.write("one")
        self.lines(output, "two")
        self.assertEqual(["connection 2: not recorded, there are too many"], self.said)
        self.patch(output_module, "MAX_OPEN_FILES", 9)
        self.patch(output_module, "MAX_FILES", 1)
        self.lines(output, "three")
        self.assertEqual(1, output.written)
        first.end(Recorder("", "", "", Recording(), first.write), "")

    def test_errors(self) -> None:
        """A file that cannot be opened or written fails with the cure."""
        self.name = "/nowhere/x.jsonl"
        error = self.assertRaises(CommandFailed, self.output().writer().write, "one")
        self.assertIn("cannot write /nowhere/x.jsonl: No such file or directory", str(error))
        self.name = "/dev/full"
        error = self.assertRaises(CommandFailed, self.output().writer().write, "one")
        self.assertIn("No space left", str(error))
