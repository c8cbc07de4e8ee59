"""Fast writing of ready-made lines to twistd's log, which has the access log's lines if none is configured.

Twisted spends a quarter of a tunnel's CPU time on one such line: it parses the format, looks up the time zone, and
takes a lock and a system call each time. This module formats these lines itself and writes them in batches. It leaves
all other events to Twisted.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from twisted.logger import (
    FileLogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatTime,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
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
    if len(observers) == 1 and isinstance(observers[0], LineObserver) and log.observer is globalLogPublisher and line:
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
    @param as_json: write each event as a JSON object instead (L{json_line}).
    """

    def __init__(self, reactor: IReactor, other: FileLogObserver, as_json: bool = False) -> None:
        super().__init__(other._outFile, _json_event if as_json else other.formatEvent)
        self._reactor = reactor
        self._json = as_json
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
        if self._json:
            self._append(json_line(namespace, level, when, line))
            return
        if int(when) != self._second:
            self._second, self._time = int(when), formatTime(when)
        if "\n" in line:
            line = line.replace("\n", "\n\t")
        self._append(f"{self._time} [{namespace}#{level}] {line}\n")

    def _append(self, line: str) -> None:
        self._lines.append(line)
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


def json_line(namespace: str, level: str, when: float, message: str) -> str:
    """An event as a JSON object with C{time} (ISO 8601, UTC), C{level}, C{logger} and C{message}, and a line feed."""
    stamp = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": stamp, "level": level, "logger": namespace, "message": message}) + "\n"


def _json_event(event: LogEvent) -> str | None:
    message = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not message:
        return None
    level = getattr(event.get("log_level"), "name", "info")
    return json_line(str(event.get("log_namespace", "-")), level, event.get("log_time", time.time()), message)


def select_observer(options: Any, reactor: IReactor) -> None:
    """Make twistd log through L{observer}, unless C{--logger} names another.

    @param options: twistd's options. @param reactor: the installed reactor.
    """
    if not options.get("logger"):
        options["logger"] = f"{__name__}.observer"
    _settings.update(options={**options, "logger": None}, reactor=reactor)


def select_output(text: str, taken: bool) -> None:
    """Choose what the observers that this module makes write.

    @param text: the format: ``text`` or ``json``.
    @param taken: another log goes to standard output, so events go to standard error instead.
    """
    _settings.update(json=text == "json", taken=taken)


def observer() -> Any:
    """Twisted's observer for the options of L{select_observer}, or L{LineObserver} in its place if it writes text."""
    from twisted.scripts._twistd_unix import UnixAppLogger

    made = UnixAppLogger(_settings["options"])._getLogObserver()
    if _settings.get("taken") and isinstance(made, FileLogObserver) and made._outFile is sys.stdout:
        return standard_error()
    if isinstance(made, FileLogObserver) and isinstance(made._outFile, LogFile):
        _append_only(made._outFile)
        _settings["file"] = made._outFile
    return _with_lines(made) if isinstance(made, FileLogObserver) else made


def _append_only(file: Any) -> None:
    """Append to the file only, because two processes write to it during an upgrade. Twisted writes at an offset."""
    open_file: Callable[[], None] = file._openFile

    def opened() -> None:
        open_file()
        fcntl.fcntl(file._file, fcntl.F_SETFL, fcntl.fcntl(file._file, fcntl.F_GETFL) | os.O_APPEND)

    file._openFile = opened
    file.reopen()


def reopen_file() -> None:
    """Open the file that L{observer} writes to again, after another process has rotated it. If it cannot, keep it."""
    file = _settings.get("file")
    if file is not None and not file.closed:
        with suppress(OSError):
            file._openFile()  # `reopen` would close the old one first


def standard_error() -> Any:
    """An observer that writes to standard error, for C{twistd --logger}."""
    return _with_lines(textFileLogObserver(sys.stderr))


def _with_lines(other: FileLogObserver) -> LineObserver:
    made = LineObserver(_settings["reactor"], other, bool(_settings.get("json")))
    atexit.register(made.flush)
    return made


_settings: dict[str, Any] = {}
"""What L{select_observer} and L{select_output} got, kept here because twistd calls the named factories without any."""
