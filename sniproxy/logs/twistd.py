"""Fast writing of ready-made lines to twistd's log, which has the access log's lines if none is configured.

Twisted spends a quarter of a tunnel's CPU time on one such line: it parses the format, looks up the time zone, and
takes a lock and a system call each time. This module formats these lines itself and writes them in batches. It leaves
all other events to Twisted.
"""

from __future__ import annotations

import atexit
import time
from collections import deque
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, Logger, LogLevel, formatTime, globalLogPublisher
from twisted.python.threadable import isInIOThread

from sniproxy.util.reactor import IReactor

LINE_FORMAT = "{line}"
"""The format of an event whose text is ready."""

WRITE_DELAY_S = 0.1
"""Seconds that a line may wait, so that several lines take one write."""

MAX_LINES = 1000
"""Lines that may wait. If there are more, they are written at once."""


def write_line(log: Logger, line: str) -> None:
    """Log a line as ``log.info("{line}", line=line)`` does, but without the Logger's check of the level.

    If L{LineObserver} is the only observer, it gets the line itself, because an event takes longer than the line.
    """
    observers = globalLogPublisher._observers
    if len(observers) == 1 and type(observers[0]) is LineObserver and log.observer is globalLogPublisher and line:
        observers[0].add(log.namespace, "info", time.time(), line)
        return
    log.observer(
        {
            "line": line,
            "log_logger": log,
            "log_level": LogLevel.info,
            "log_namespace": log.namespace,
            "log_source": log.source,
            "log_format": LINE_FORMAT,
            "log_time": time.time(),
        }
    )


class LineObserver(FileLogObserver):
    """Writes events to a file as another observer does, and the lines of L{write_line} in batches.

    A line is formatted when it is logged, and written within L{WRITE_DELAY_S} seconds while the reactor runs. All other
    events are written at once, after the lines that wait, so the file has all events in their order. Any thread may
    log.

    @param other: formats all other events. For a line it gives the same text as this class.
    """

    def __init__(self, reactor: IReactor, other: FileLogObserver) -> None:
        super().__init__(other._outFile, other.formatEvent)
        self._reactor = reactor
        self._lines: deque[str] = deque()
        self._scheduled = False
        self._second = -1
        self._time = ""

    def __call__(self, event: LogEvent) -> None:
        line = event.get("line")
        if event.get("log_format") != LINE_FORMAT or not line or "log_system" in event or "log_failure" in event:
            self.flush()
            super().__call__(event)
            return
        self.add(event["log_namespace"], event["log_level"].name, event["log_time"], str(line))

    def add(self, namespace: str, level: str, when: float, line: str) -> None:
        """Add a line to the batch. @param when: seconds since 1970. @param line: not empty."""
        if int(when) != self._second:
            self._second, self._time = int(when), formatTime(when)
        if "\n" in line:
            line = line.replace("\n", "\n\t")
        self._lines.append(f"{self._time} [{namespace}#{level}] {line}\n")
        if not self._reactor.running:  # it would not make the call
            self.flush()
        elif not self._scheduled:
            if isInIOThread():  # only the reactor's own thread may schedule a call
                self._scheduled = True
                self._reactor.callLater(WRITE_DELAY_S, self._write_batch)
            else:
                self.flush()
        elif len(self._lines) > MAX_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        lines, waiting = [], self._lines
        try:
            while True:  # another thread, or the handler of a signal, may add lines or write some
                lines.append(waiting.popleft())
        except IndexError:
            pass
        if lines:
            text = "".join(lines)
            self._outFile.write(text if self._encoding is None else text.encode(self._encoding))
            self._outFile.flush()

    def _write_batch(self) -> None:
        self._scheduled = False
        self.flush()


def select_observer(options: Any, reactor: IReactor) -> None:
    """Make twistd log through L{observer}, unless C{--logger} names another.

    @param options: twistd's options. @param reactor: the installed reactor.
    """
    if not options.get("logger"):
        options["logger"] = f"{__name__}.observer"
        _settings.update(options=dict(options), reactor=reactor)


def observer() -> Any:
    """Twisted's observer for the options of L{select_observer}, or L{LineObserver} in its place if it writes text."""
    from twisted.scripts._twistd_unix import UnixAppLogger

    made = UnixAppLogger(_settings["options"])._getLogObserver()
    if isinstance(made, FileLogObserver):
        made = LineObserver(_settings["reactor"], made)
        atexit.register(made.flush)
    return made


_settings: dict[str, Any] = {}
"""The arguments of L{select_observer}, kept here because twistd calls the named factory L{observer} without any."""
