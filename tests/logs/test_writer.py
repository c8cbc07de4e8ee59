"""Tests for sniproxy.logs.writer."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import stat
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.logs.writer import MAX_WAITING_BYTES, WRITE_DELAY_S, CannotOpen, LineWriter

RETRY = 1.0
PIPE_BUF = 4096


class WriterCase(SynchronousTestCase):
    """LineWriter with a controlled clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())

    def writer(self, path: Path | str | None = None) -> LineWriter:
        writer = LineWriter(self.clock, str(self.path if path is None else path))
        self.addCleanup(self.closed, writer)
        return writer

    def closed(self, writer: LineWriter) -> None:
        """Close the writer if the test did not, and leave no timer."""
        try:
            os.fstat(writer._fd)
        except OSError:
            return
        writer.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FileTests(WriterCase):
    """LineWriter: a regular file."""

    def test_soon(self) -> None:
        """A line waits for others for at most 0.1 s."""
        self.assertLessEqual(WRITE_DELAY_S, 0.1)
        writer = self.writer()
        writer.write("one")
        writer.write("tw\xf6")
        self.assertEqual(self.path.read_bytes(), b"")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(self.path.read_bytes(), "one\ntw\xf6\n".encode())
        writer.write("three")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(self.path.read_bytes().count(b"\n"), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_append(self) -> None:
        """The file keeps its contents, including lines from other processes."""
        self.path.write_text("old\n")
        writer = self.writer()
        with self.path.open("a") as other:
            other.write("other\n")
        writer.write("new")
        writer.close()
        self.assertEqual(self.path.read_text(), "old\nother\nnew\n")

    def test_private(self) -> None:
        """A new file is not readable by others."""
        self.writer()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o007, 0)

    def test_close(self) -> None:
        """close() writes pending lines and leaves no timer."""
        writer = self.writer()
        writer.write("last")
        writer.close()
        self.assertEqual((self.path.read_text(), writer.lost), ("last\n", 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cannot_be_opened(self) -> None:
        """A path that cannot be opened raises CannotOpen."""
        self.assertRaises(CannotOpen, LineWriter, self.clock, str(self.path / "no" / "folder"))

    def test_not_on_terminal(self) -> None:
        """on_terminal is true only for a terminal."""
        self.assertFalse(self.writer().on_terminal)
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        self.assertTrue(self.writer(os.ttyname(theirs)).on_terminal)

    def test_standard_output(self) -> None:
        """'-' is standard output, which the writer neither closes nor reopens."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        duplicated = []

        def dup(fd: int) -> int:
            duplicated.append(fd)
            return writing

        self.patch(os, "dup", dup)
        writer = self.writer("-")
        writer.reopen()
        writer.write("x")
        writer.close()
        self.assertEqual((duplicated, os.read(reading, 100)), ([1], b"x\n"))

    def test_stalled_standard_output(self) -> None:
        """Standard output may be a blocking pipe: the writer writes nothing while the reader stalls."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        write = os.write

        def checked(fd: int, data: bytes) -> int:
            self.assertTrue(select.select([], [fd], [], 0)[1], "this write would block")
            return write(fd, data)

        self.patch(os, "dup", lambda fd: writing)
        self.patch(os, "write", checked)
        writer = self.writer("-")
        for _ in range(3):
            writer.write("x" * 99_999)
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        writer.close()
        self.assertGreater(writer.lost, 0)


class ReopenTests(WriterCase):
    """reopen(): after a log rotation."""

    def test_renamed(self) -> None:
        """Pending lines go to the renamed file, later ones to a new file; no descriptor leaks."""
        writer = self.writer()
        old_descriptor = writer._fd
        writer.write("before")
        old = self.path.with_suffix(".1")
        self.path.rename(old)
        writer.write("still before")
        writer.reopen()
        writer.write("after")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual((old.read_text(), self.path.read_text()), ("before\nstill before\n", "after\n"))
        self.assertNotEqual(writer._fd, old_descriptor)
        self.assertRaises(OSError, os.fstat, old_descriptor)

    def test_cannot_be_reopened(self) -> None:
        """If the path cannot be opened, the writer keeps the old file and logs the reason."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "log"
        writer = self.writer()
        moved = folder.with_suffix(".moved")
        folder.rename(moved)
        with capturedLogs() as events:
            writer.reopen()
        self.assertIn("the old file is kept", str(events[0]["log_format"]))
        writer.write("kept")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual((moved / "log").read_text(), "kept\n")


class FullDiskTests(WriterCase):
    """A full disk stops nothing, and dropped lines are counted."""

    def setUp(self) -> None:
        super().setUp()
        if not os.path.exists("/dev/full"):
            raise SkipTest("there is no /dev/full")
        self.path.symlink_to("/dev/full")

    def test_lost(self) -> None:
        """Nothing is raised; the error is logged once; lines unwritten at the end are counted."""
        with capturedLogs() as events:
            writer = self.writer()
            for _ in range(3):
                writer.write("x")
                self.clock.advance(RETRY)
            self.assertEqual(writer.lost, 0)
            writer.close()
        self.assertEqual(writer.lost, 3)
        self.assertEqual(["buffering up to" in str(event["log_format"]) for event in events], [True])
        self.assertIn("No space left", events[0]["why"])

    def test_bounded(self) -> None:
        """The buffer is limited: lines beyond it are dropped and counted at once."""
        writer = self.writer()
        line = "x" * 999_999
        for _ in range(6):
            writer.write(line)
            self.clock.advance(RETRY)
        self.assertEqual(writer.lost, 6 - MAX_WAITING_BYTES // 1_000_000)
        writer.close()
        self.assertEqual(writer.lost, 6)

    def test_space_again(self) -> None:
        """When there is space again, buffered lines are written whole and in order, with a log line."""
        writer = self.writer()
        with capturedLogs() as events:
            writer.write("one")
            self.clock.advance(WRITE_DELAY_S)
            writer.write("two")
            self.path.unlink()
            writer.reopen()
            self.clock.advance(RETRY)
        self.assertEqual((self.path.read_text(), writer.lost), ("one\ntwo\n", 0))
        self.assertIn("writes again", str(events[-1]["log_format"]))


class PipeTests(WriterCase):
    """A pipe whose reader stalls never blocks the proxy."""

    def setUp(self) -> None:
        super().setUp()
        os.mkfifo(self.path)

    def reader(self) -> int:
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        return fd

    def test_nobody_reads(self) -> None:
        """A FIFO without a reader stops nothing; a later reader gets the lines."""
        writer = self.writer()
        writer.write("early")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(b"early\n", os.read(self.reader(), 100))

    def test_stalled(self) -> None:
        """While the reader stalls, lines wait; then they come whole and in order; none is lost."""
        reader = self.reader()
        writer = self.writer()
        lines = [f"{number} " + "x" * 700 for number in range(2000)]
        for line in lines:
            writer.write(line)
        self.clock.advance(WRITE_DELAY_S)
        got = b""
        for _ in range(1000):
            try:
                got += os.read(reader, 1 << 20)
            except BlockingIOError:
                if not self.clock.getDelayedCalls():
                    break
            self.clock.advance(RETRY)
        self.assertEqual(got.decode().splitlines(), lines)
        self.assertEqual(writer.lost, 0)

    def test_stalled_for_ever(self) -> None:
        """A reader that stalls forever costs bounded memory, and dropped lines are counted."""
        self.reader()
        writer = self.writer()
        for _ in range(6):
            writer.write("x" * 999_999)
            self.clock.advance(RETRY)
        self.assertEqual(writer.lost, 6 - MAX_WAITING_BYTES // 1_000_000)
        writer.close()
        self.assertEqual(writer.lost, 6)

    def test_reader_gone(self) -> None:
        """A reader may close and another one open the FIFO: lines wait in the pipe."""
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        writer = self.writer()
        os.close(reader)
        writer.write("x")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual((b"x\n", 0), (os.read(self.reader(), 100), writer.lost))

    def test_high_descriptor(self) -> None:
        """Descriptors above 1023, as in a busy proxy after a log rotation, work."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= hard < 2000:
            raise SkipTest(f"the hard limit of open files is {hard}: ulimit -Hn 2000 before the tests")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        reader = self.reader()
        writer = self.writer()
        low, writer._fd = writer._fd, fcntl.fcntl(writer._fd, fcntl.F_DUPFD_CLOEXEC, 1500)
        os.close(low)
        writer.write("x")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(os.read(reader, 100), b"x\n")

    def test_whole_lines(self) -> None:
        """Each write has whole lines, because others may write to the pipe; a long line takes several."""
        self.reader()
        writer = self.writer()
        written: list[bytes] = []
        write = os.write

        def kept(fd: int, data: bytes) -> int:
            written.append(data)
            return write(fd, data)

        self.patch(os, "write", kept)
        for line in ("x" * 3000, "y" * 3000, "z", "long" * 1500, "last"):
            writer.write(line)
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual([3001, 3003, PIPE_BUF, 6001 - PIPE_BUF + 5], [len(data) for data in written])

    def test_linear_catching_up(self) -> None:
        """A large backlog is not copied for each piece that the pipe takes."""
        reader = self.reader()
        writer = self.writer()
        copied = 0
        write = os.write

        def counted(fd: int, data: bytes) -> int:
            nonlocal copied
            joins.append(len(writer._waiting))
            copied += len(data)
            count = write(fd, data)
            os.read(reader, PIPE_BUF)
            return count

        joins: list[int] = []
        self.patch(os, "write", counted)
        for _ in range(3):
            writer.write("x" * 999_999)
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual((writer._waiting, copied), ([], 3_000_000))
        self.assertEqual(set(joins), {3}, "what waits is put together once, before the first piece")
