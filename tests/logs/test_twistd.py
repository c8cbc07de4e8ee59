"""Tests for sniproxy.logs.twistd."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogPublisher, textFileLogObserver
from twisted.python import threadable
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.python.syslog import SyslogObserver
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.logs import twistd
from sniproxy.logs.twistd import MAX_LINES, WRITE_DELAY_S, LineObserver, write_line


class RunningClock(Clock):
    """A clock of a reactor that runs, or not."""

    running = True


def running_clock() -> Any:
    """A clock in place of a reactor."""
    return RunningClock()


class FileStub(StringIO):
    """A file that counts writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


class OwnLogTests(SynchronousTestCase):
    """LineObserver and write_line: the same text as Twisted writes."""

    def setUp(self) -> None:
        self.clock = running_clock()
        self.patch(twistd, "_settings", {})

    def test_same_event(self) -> None:
        """write_line logs the same event as Logger.info, except for the time."""
        events: list[LogEvent] = []
        keep: Any = events.append
        log = Logger("somebody", observer=keep)
        log.info("{line}", line="a {b}")
        write_line(log, "a {b}")
        first, second = ({**event, "log_time": None} for event in events)
        self.assertEqual(first, second)

    def test_json(self) -> None:
        """Lines and other events are JSON objects in order; a failure has its traceback; an empty event is none."""
        file = FileStub()
        made = LineObserver(self.clock, textFileLogObserver(file), as_json=True)
        log = Logger("somebody", observer=made)
        made.add("access", "info", 1.5, "a\nb")
        log.warn("c {x}", x=1)
        log.info("")
        try:
            raise ValueError("d")
        except ValueError:
            log.failure("it failed")
        first, second, third = map(json.loads, file.getvalue().splitlines())
        expected = {"time": "1970-01-01T00:00:01.500Z", "level": "info", "logger": "access", "message": "a\nb"}
        self.assertEqual(expected, first)
        self.assertEqual(("warn", "somebody", "c 1"), (second["level"], second["logger"], second["message"]))
        self.assertTrue(third["message"].startswith("it failed\nTraceback"), third)
        self.assertEqual("critical", third["level"])

    def test_standard_error(self) -> None:
        """The factory for standard error has the chosen format."""
        self.patch(twistd, "_settings", {"reactor": self.clock})
        file = FileStub()
        self.patch(sys, "stderr", file)
        for chosen in ("text", "json"):
            twistd.select_output(chosen, taken=False)
            twistd.standard_error().add("a", "info", 0.0, "line")
            self.clock.advance(WRITE_DELAY_S)
        text, document = file.getvalue().splitlines()
        self.assertTrue(text.endswith("[a#info] line"), text)
        self.assertEqual("line", json.loads(document)["message"])

    def test_same_text(self) -> None:
        """Each event becomes the same text as with Twisted, in any second."""
        twisted, ours = StringIO(), StringIO()
        observer = LineObserver(self.clock, textFileLogObserver(ours))
        events: list[LogEvent] = []
        keep: Any = events.append
        log = Logger("somebody", observer=keep)
        for line in ("plain", "with {braces}", "two\nlines", "", "\u2028"):
            write_line(log, line)
        write_line(Logger(namespace="s", source=self, observer=keep), "from an object")
        log.warn("{line}", line="a warning")
        log.info("{line} and {more}", line="a", more="b")
        log.info("{line}", line="of a system", log_system="system")
        log.failure("{line}", Failure(ValueError("why")), line="broken")
        log.info("no line")
        for number, event in enumerate(events * 2):
            event = {**event, "log_time": 1_700_000_000.25 + number / 3}
            textFileLogObserver(twisted)(event)
            observer(event)
        self.clock.advance(WRITE_DELAY_S)
        self.assertIn("[somebody#info] two\n\tlines\n", ours.getvalue())
        self.assertEqual(twisted.getvalue(), ours.getvalue())

    def test_observer(self) -> None:
        """twistd gets the observer by name; it writes to the file of --logfile in batches."""
        path = Path(self.mktemp())
        options = {"logfile": str(path), "nodaemon": True, "logger": None}
        twistd.select_observer(options, running_clock())
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        made = namedAny(options["logger"])()
        self.addCleanup(made._outFile.close)
        assert isinstance(made, LineObserver)
        write_line(Logger("somebody", observer=made), "a line")
        made.flush()
        self.assertTrue(path.read_text().endswith(" [somebody#info] a line\n"))

    def test_two_processes(self) -> None:
        """Two processes write to one log file during an upgrade: each appends, also after a rotation."""
        path = Path(self.mktemp())
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        options = {"logfile": str(path), "nodaemon": True, "logger": None}
        logs = []
        for name in ("old", "new"):
            twistd.select_observer({**options}, running_clock())
            made = twistd.observer()
            self.addCleanup(made._outFile.close)
            logs.append((made, Logger(name, observer=made)))
        for number in range(2):
            for made, log in [*logs, *logs]:
                write_line(log, "a line")
                made.flush()
            said = path.read_text().splitlines()
            self.assertEqual(["old", "new"] * 2, [line.partition("[")[2].partition("#")[0] for line in said])
            path.rename(f"{path}.{number}")
            for made, _ in logs:
                made._outFile.reopen()

    def test_reopen_file(self) -> None:
        """After another process has rotated the file, this one writes to the new one; to the old one if that fails."""
        self.patch(twistd, "_settings", {})
        twistd.reopen_file()  # there is none
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "log"
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        twistd.select_observer({"logfile": str(path), "nodaemon": True, "logger": None}, running_clock())
        made = twistd.observer()
        self.addCleanup(lambda: made._outFile.close())
        for number in (1, 2):
            path.rename(f"{path}.{number}")
            twistd.reopen_file()
            write_line(Logger("old", observer=made), f"line {number}")
            made.flush()
            self.assertIn(f"line {number}", path.read_text())
            self.assertTrue(fcntl.fcntl(made._outFile._file, fcntl.F_GETFL) & os.O_APPEND)
        folder.rename(f"{folder}.moved")
        twistd.reopen_file()
        write_line(Logger("old", observer=made), "line 3")
        made.flush()
        self.assertIn("line 3", Path(f"{folder}.moved/log").read_text())

    def test_taken_output(self) -> None:
        """If another log has standard output, the program's log goes to standard error; a file stays."""
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        path = self.mktemp()
        for name, taken, expected in (
            (None, False, sys.stdout), ("-", True, sys.stderr), (None, True, sys.stderr), (path, True, None)
        ):  # fmt: skip
            self.patch(twistd, "_settings", {})
            twistd.select_observer({"logfile": name, "nodaemon": True, "logger": None}, running_clock())
            twistd.select_output("text", taken)
            made = twistd.observer()
            if expected is None:
                self.assertTrue(made._outFile.name.endswith(path.rpartition("/")[2]))
                made._outFile.close()
            else:
                self.assertIs(expected, made._outFile)

    def test_syslog(self) -> None:
        """With --syslog, twistd's own observer stays as it is."""
        options: dict[str, Any] = {"syslog": True, "prefix": "sniproxy", "logfile": None, "logger": None}
        twistd.select_observer(options, running_clock())
        made = namedAny(options["logger"])()
        self.assertIsInstance(made.__self__, SyslogObserver)

    def test_chosen(self) -> None:
        """An observer given with --logger stays."""
        options = {"logger": "sniproxy.server.workers.lines.observer"}
        twistd.select_observer(options, running_clock())
        self.assertEqual("sniproxy.server.workers.lines.observer", options["logger"])


class BatchTests(SynchronousTestCase):
    """LineObserver: lines wait for a write; no line is lost, and the order stays."""

    def setUp(self) -> None:
        self.clock = running_clock()
        self.file = FileStub()
        self.observer = LineObserver(self.clock, textFileLogObserver(self.file))
        observer: Any = self.observer
        self.log = Logger("somebody", observer=observer)
        self.patch(threadable, "ioThread", threadable.getThreadID())

    def lines(self) -> list[str]:
        """The texts in the file."""
        return [line.rpartition("] ")[2] for line in self.file.getvalue().splitlines()]

    def test_one_write(self) -> None:
        """The lines of a tenth of a second take one write, at its end, and leave nothing scheduled."""
        for number in range(3):
            write_line(self.log, str(number))
        self.clock.advance(WRITE_DELAY_S / 2)
        self.assertEqual(0, self.file.writes)
        write_line(self.log, "3")
        self.clock.advance(WRITE_DELAY_S / 2)
        self.assertEqual((["0", "1", "2", "3"], 1), (self.lines(), self.file.writes))
        self.assertEqual([], self.clock.getDelayedCalls())
        write_line(self.log, "4")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(["0", "1", "2", "3", "4"], self.lines())

    def test_only_observer(self) -> None:
        """The only observer of the program gets lines without an event, in its order with events, and the same text."""
        publisher = LogPublisher(self.observer)
        self.patch(twistd, "globalLogPublisher", publisher)
        log = Logger("somebody", observer=publisher)
        observed: list[LogEvent] = []
        keep: Any = observed.append
        for number in range(2):
            write_line(log, "a\nline")
            log.warn("an event")
            write_line(log, "")
            if not number:
                self.observer.flush()
                first = self.file.getvalue()
                publisher.addObserver(keep)
        self.observer.flush()
        self.assertEqual(["a\nline", None, ""], [event.get("line") for event in observed])
        without_time = [line.partition(" [")[2] for line in self.file.getvalue().splitlines()]
        self.assertEqual(without_time[: len(without_time) // 2] * 2, without_time)
        self.assertIn("[somebody#info] a\n\tline\n", first)

    def test_other_publisher(self) -> None:
        """A logger with an observer of its own gets an event."""
        self.patch(twistd, "globalLogPublisher", LogPublisher(self.observer))
        observed: list[LogEvent] = []
        keep: Any = observed.append
        write_line(Logger("somebody", observer=keep), "a line")
        self.assertEqual(["a line"], [event["line"] for event in observed])

    def test_time_of_a_line(self) -> None:
        """A line has the time at which it was logged, not that of its write."""
        line: Any = {"log_format": "{line}", "line": "x", "log_namespace": "n", "log_level": self.level()}
        self.observer({**line, "log_time": 86_400.5})
        self.observer({**line, "log_time": 86_460.5})
        self.observer.flush()
        first, second = self.file.getvalue().splitlines()
        self.assertNotEqual(first, second)

    def level(self) -> Any:
        """The level of an event."""
        events: list[LogEvent] = []
        keep: Any = events.append
        Logger(observer=keep).info("")
        return events[0]["log_level"]

    def test_order(self) -> None:
        """Another event is written at once, after the lines that wait."""
        write_line(self.log, "first")
        self.log.warn("second")
        self.assertEqual(["first", "second"], self.lines())
        write_line(self.log, "third")
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(["first", "second", "third"], self.lines())

    def test_many(self) -> None:
        """So many lines are written before the time is up."""
        for number in range(MAX_LINES + 1):
            write_line(self.log, str(number))
        self.assertEqual((MAX_LINES + 1, 1), (len(self.lines()), self.file.writes))
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(1, self.file.writes)

    def test_stopped_reactor(self) -> None:
        """While the reactor does not run, nothing waits: neither before its start nor after its end."""
        write_line(self.log, "last of the running reactor")
        self.clock.running = False
        write_line(self.log, "first after it")
        self.assertEqual(["last of the running reactor", "first after it"], self.lines())

    def test_other_thread(self) -> None:
        """A line of another thread is written at once: only the reactor's thread may schedule a call."""
        self.patch(threadable, "ioThread", -1)
        write_line(self.log, "of a thread")
        self.assertEqual(["of a thread"], self.lines())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_added_during_a_write(self) -> None:
        """A line that a signal handler adds during the write is neither lost nor written twice."""
        write = self.file.write

        def interrupted(text: str) -> int:
            self.file.write = write  # type: ignore[method-assign]
            write_line(self.log, "during")
            return write(text)

        self.file.write = interrupted  # type: ignore[method-assign]
        write_line(self.log, "before")
        self.clock.advance(WRITE_DELAY_S)
        self.clock.advance(WRITE_DELAY_S)
        self.assertEqual(["before", "during"], self.lines())
