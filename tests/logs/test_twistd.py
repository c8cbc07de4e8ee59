"""Tests for sniproxy.logs.twistd."""

from __future__ import annotations

import signal
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, Logger, textFileLogObserver
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.python.syslog import SyslogObserver
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.logs import twistd
from sniproxy.logs.twistd import LineFormatter, write_line


class OwnLogTests(SynchronousTestCase):
    """LineFormatter and write_line: the same text as Twisted writes."""

    def test_same_event(self) -> None:
        """write_line logs the same event as Logger.info, except for the time."""
        events: list[LogEvent] = []
        keep: Any = events.append
        log = Logger("somebody", observer=keep)
        log.info("{line}", line="a {b}")
        write_line(log, "a {b}")
        first, second = ({**event, "log_time": None} for event in events)
        self.assertEqual(first, second)

    def test_same_text(self) -> None:
        """Each event becomes the same text as with Twisted, in any second."""
        twisted, ours = StringIO(), StringIO()
        observer = textFileLogObserver(ours)
        observer.formatEvent = LineFormatter(observer.formatEvent)
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
        self.assertIn("[somebody#info] two\n\tlines\n", ours.getvalue())
        self.assertEqual(twisted.getvalue(), ours.getvalue())

    def test_observer(self) -> None:
        """twistd gets the observer by name; it writes to the file of --logfile with LineFormatter."""
        path = Path(self.mktemp())
        options = {"logfile": str(path), "nodaemon": True, "logger": None}
        twistd.select_observer(options)
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        made = namedAny(options["logger"])()
        self.addCleanup(made._outFile.close)
        self.assertIsInstance(made, FileLogObserver)
        self.assertIsInstance(made.formatEvent, LineFormatter)
        write_line(Logger("somebody", observer=made), "a line")
        self.assertTrue(path.read_text().endswith(" [somebody#info] a line\n"))

    def test_syslog(self) -> None:
        """With --syslog, twistd's own observer stays as it is."""
        options: dict[str, Any] = {"syslog": True, "prefix": "sniproxy", "logfile": None, "logger": None}
        twistd.select_observer(options)
        made = namedAny(options["logger"])()
        self.assertIsInstance(made.__self__, SyslogObserver)

    def test_chosen(self) -> None:
        """An observer given with --logger stays."""
        options = {"logger": "sniproxy.server.workers.lines.observer"}
        twistd.select_observer(options)
        self.assertEqual("sniproxy.server.workers.lines.observer", options["logger"])
