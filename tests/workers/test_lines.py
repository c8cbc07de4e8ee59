"""Tests for sniproxy.workers.lines."""

from __future__ import annotations

import os

from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.workers.lines import Lines, Observer, observer, relay


class LinesTests(SynchronousTestCase):
    """Lines: from pieces to lines."""

    def test_pieces(self) -> None:
        """However it comes in pieces, lines are the same; the last one needs no newline."""
        whole = b"one\n\nthree\nfour"
        for size in range(1, len(whole) + 1):
            found: list[bytes] = []
            lines = Lines(found.append)
            for at in range(0, len(whole), size):
                lines.feed(whole[at : at + size])
            lines.end()
            lines.end()
            self.assertEqual([b"one", b"", b"three", b"four"], found)

    def test_bound(self) -> None:
        """What has no newline for too long is a line."""
        found: list[bytes] = []
        lines = Lines(found.append, 4)
        lines.feed(b"1234")
        self.assertEqual([], found)
        lines.feed(b"5")
        self.assertEqual([b"12345"], found)


class RelayTests(SynchronousTestCase):
    """From the log of one process to that of another."""

    def written(self, namespace: str, level: LogLevel, text: str) -> bytes:
        """What a worker's observer writes of an event."""
        reading, writing = os.pipe()
        try:
            Logger(namespace=namespace, observer=Observer(writing)).emit(level, "{text}", text=text)
            os.set_blocking(reading, False)
            try:
                return os.read(reading, 65536)
            except BlockingIOError:
                return b""
        finally:
            os.close(reading)
            os.close(writing)

    def test_event(self) -> None:
        """An event keeps its level, its place and its lines, and gets the worker's index."""
        line = self.written("sniproxy.net", LogLevel.warn, "two\nlines")
        self.assertEqual(1, line.count(b"\n"))
        with capturedLogs() as logged:
            self.assertIsNone(relay(3, line.rstrip(b"\n")))
        (event,) = logged
        self.assertEqual(("sniproxy.net", LogLevel.warn), (event["log_namespace"], event["log_level"]))
        self.assertEqual("worker 3: two\nlines", event["log_format"].format(**event))

    def test_passed_over(self) -> None:
        """What twistd says of itself is not said once more by each worker."""
        self.assertEqual(b"", self.written("twisted.scripts._twistd_unix.UnixAppLogger", LogLevel.info, "starting up"))

    def test_plain(self) -> None:
        """Another line is a warning, escaped; an error that it ends for is given back, not logged."""
        with capturedLogs() as logged:
            for line in (b"Fatal Python error \xff\x1b", b"[1]", b'{"level": "loud", "namespace": "", "text": ""}'):
                self.assertIsNone(relay(0, line))
            self.assertEqual("cannot listen", relay(0, b"sniproxy: cannot listen"))
        self.assertEqual([LogLevel.warn] * 3, [event["log_level"] for event in logged])
        self.assertNotIn("\x1b", logged[0]["text"])

    def test_observer(self) -> None:
        """The observer of a worker writes to standard error."""
        self.assertEqual(2, observer()._descriptor)
