"""Tests for sniproxy.server.workers.lines."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable
from types import SimpleNamespace

from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers import lines
from sniproxy.server.workers.lines import MAX_WAITING_BYTES, LogLines, PipeLogObserver, log_worker_line, observer
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread


class LinesTests(SynchronousTestCase):
    """LogLines."""

    def test_pieces(self) -> None:
        """The lines do not depend on how the bytes are split; the last one needs no newline."""
        whole = b"one\n\nthree\nfour"
        for size in range(1, len(whole) + 1):
            found: list[bytes] = []
            lines = LogLines(found.append)
            for at in range(0, len(whole), size):
                lines.feed(whole[at : at + size])
            lines.end()
            lines.end()
            self.assertEqual([b"one", b"", b"three", b"four"], found)

    def test_bound(self) -> None:
        """An overlong line is split."""
        found: list[bytes] = []
        lines = LogLines(found.append, 4)
        lines.feed(b"1234")
        self.assertEqual([], found)
        lines.feed(b"5")
        self.assertEqual([b"12345"], found)


class RelayTests(SynchronousTestCase):
    """Events on their way from a worker's log to the supervisor's."""

    def written(self, namespace: str, level: LogLevel, text: str) -> bytes:
        """The line that a worker's observer writes for an event."""
        reading, writing = os.pipe()
        try:
            Logger(namespace=namespace, observer=PipeLogObserver(as_reactor(None), writing)).emit(
                level, "{text}", text=text
            )
            os.set_blocking(reading, False)
            try:
                return os.read(reading, 65536)
            except BlockingIOError:
                return b""
        finally:
            os.close(reading)
            os.close(writing)

    def test_event(self) -> None:
        """An event keeps its level, namespace and lines, and gets the worker's index."""
        line = self.written("sniproxy.net", LogLevel.warn, "two\nlines")
        self.assertEqual(1, line.count(b"\n"))
        with capturedLogs() as logged:
            self.assertIsNone(log_worker_line(3, line.rstrip(b"\n")))
        (event,) = logged
        self.assertEqual(("sniproxy.net", LogLevel.warn), (event["log_namespace"], event["log_level"]))
        self.assertEqual("worker 3: two\nlines", event["log_format"].format(**event))

    def test_passed_over(self) -> None:
        """twistd's own lines are not repeated by each worker."""
        self.assertEqual(b"", self.written("twisted.scripts._twistd_unix.UnixAppLogger", LogLevel.info, "starting up"))

    def test_plain(self) -> None:
        """Another line is logged as a warning, escaped; the error of an exit is returned and not logged."""
        with capturedLogs() as logged:
            for line in (b"Fatal Python error \xff\x1b", b"[1]", b'{"level": "loud", "namespace": "", "text": ""}'):
                self.assertIsNone(log_worker_line(0, line))
            self.assertEqual("cannot listen", log_worker_line(0, b"sniproxy: cannot listen"))
        self.assertEqual([LogLevel.warn] * 3, [event["log_level"] for event in logged])
        self.assertNotIn("\x1b", logged[0]["text"])

    def test_observer(self) -> None:
        """The observer of a worker writes to standard error."""
        self.assertEqual(2, observer()._descriptor)


class StandingTests(SocketTestCase):
    """A worker's log in a real pipe whose supervisor does not read."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.writing)
        self.addCleanup(os.close, self.reading)
        self.patch(os, "write", self.checked)
        self.observer = PipeLogObserver(reactor, self.writing)
        self.addCleanup(self.leave)
        self.log = Logger(namespace="sniproxy.net", observer=self.observer)
        self.found: list[str] = []
        self.lines = LogLines(lambda line: self.found.append(json.loads(line)["text"]))

    async def leave(self) -> None:
        await in_thread(int)  # what it has asked of the reactor has been done
        reactor.removeWriter(self.observer)

    def checked(self, fd: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        if fd == self.writing:
            self.assertTrue(len(data) <= select.PIPE_BUF and select.select([], [fd], [], 0)[1], "this may block")
        return write(fd, data)

    async def read_until(self, text: str) -> None:
        """Read the pipe as a supervisor does, up to a line with this text."""
        while not any(text in line for line in self.found):
            self.assertTrue(await in_thread(lambda: select.select([self.reading], [], [], TIMEOUT_S)[0]), text)
            self.lines.feed(os.read(self.reading, 1 << 16))

    async def test_goes_on(self) -> None:
        """Lines wait, and arrive in order when the supervisor reads again, without a new line."""
        said = [f"{number} {'x' * 9_999}" for number in range(100)]
        for text in said:
            self.log.info("{text}", text=text)
        await self.read_until("99 ")
        self.assertEqual(said, self.found)
        self.assertEqual(0, self.observer.lost)
        self.assertNotIn(self.observer, reactor.getWriters())

    async def test_lost(self) -> None:
        """The waiting lines are bounded; a line in their place has the number of lost ones."""
        size = 1 << 16
        fits = MAX_WAITING_BYTES // size
        for number in range(2 * fits):
            self.log.info("{text}", text=f"{number} {'x' * size}")
        lost = self.observer.lost
        self.assertTrue(fits - 1 <= lost <= fits + 1, lost)
        await self.read_until(" log lines lost")
        self.assertEqual(2 * fits - lost + 1, len(self.found))
        self.assertEqual(f"{lost} log lines lost: the supervisor did not read them in time", self.found[-1])
        self.log.info("on")
        await self.read_until("on")
        self.assertEqual((0, "on"), (self.observer.lost, self.found[-1]))

    async def test_lost_between(self) -> None:
        """A line that is logged meanwhile comes after the line about lost ones."""
        self.patch(lines, "MAX_WAITING_BYTES", 1 << 17)
        for number in range(4):
            self.log.info("{text}", text=f"{number} {'x' * 65_000}")
        self.assertEqual(1, self.observer.lost)
        self.patch(lines, "MAX_WAITING_BYTES", 1 << 18)
        self.log.info("after")
        await self.read_until("after")
        self.assertEqual(["0", "1", "2", "1", "after"], [line.partition(" ")[0] for line in self.found])

    async def test_ends(self) -> None:
        """Waiting lines of an exiting process are written while the supervisor reads."""
        self.patch(self.observer, "_reactor", SimpleNamespace(callFromThread=lambda *ignored: None, addWriter=None))
        for number in range(100):
            self.log.info("{text}", text=f"{number} {'x' * 9_999}")
        ends = in_thread(self.observer.connectionLost, Failure(ConnectionError()))
        await self.read_until("99 ")
        await ends
        self.assertEqual(100, len(self.found))

    async def test_ends_unread(self) -> None:
        """An exiting process does not wait long for a supervisor that does not read."""
        self.patch(lines, "FLUSH_TIMEOUT_S", 0.01)
        for number in range(100):
            self.log.info("{text}", text=f"{number} {'x' * 9_999}")
        self.observer.finish()
        self.assertFalse(select.select([], [self.writing], [], 0)[1], "the pipe has what it takes")

    async def test_gone(self) -> None:
        """Without a supervisor nothing is kept, and nothing is raised."""
        for number in range(100):
            self.log.info("{text}", text=f"{number} {'x' * 9_999}")
        os.dup2(0, self.reading)
        self.log.info("one more")
        self.assertFalse(self.observer._waiting)

    async def test_threads(self) -> None:
        """Lines of concurrent threads stay whole."""

        def logs() -> None:
            for _ in range(50):
                self.log.info("{text}", text="x" * 5_000)

        threads = [threading.Thread(target=logs) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(self.found) < 200:
            await self.read_until("x")
            self.assertTrue(await in_thread(lambda: select.select([self.reading], [], [], TIMEOUT_S)[0]))
            self.lines.feed(os.read(self.reading, 1 << 16))
        for thread in threads:
            thread.join()
        self.assertEqual({"x" * 5_000}, set(self.found))

    async def test_collected(self) -> None:
        """A finalizer that logs during a write does not disturb it."""
        write, log = os.write, self.log

        def collects(fd: int, data: bytes) -> int:
            if fd == self.writing and b"first" in data:
                log.info("second")
            return write(fd, data)

        self.patch(os, "write", collects)
        self.log.info("first")
        await self.read_until("second")
        self.assertEqual(["first", "second"], self.found)
