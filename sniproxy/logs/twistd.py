"""Fast formatting of ready-made lines in twistd's log, which has the access log's lines if none is configured.

Twisted spends a quarter of a tunnel's CPU time on one such line: it parses the format and looks up the time zone each
time. This module formats these lines itself and leaves all other events to Twisted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, Logger, LogLevel, formatTime

LINE_FORMAT = "{line}"
"""The format of an event whose text is ready."""


def write_line(log: Logger, line: str) -> None:
    """Log a line as ``log.info("{line}", line=line)`` does, but without the Logger's check of the level."""
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


class LineFormatter:
    """A log observer's C{formatEvent}, fast for events of L{write_line}.

    @param other: formats all other events. For a line it gives the same text as this class.
    """

    def __init__(self, other: Callable[[LogEvent], str | None]) -> None:
        self._other = other
        self._second = -1
        self._time = ""

    def __call__(self, event: LogEvent) -> str | None:
        line = event.get("line")
        if event.get("log_format") != LINE_FORMAT or not line or "log_system" in event or "log_failure" in event:
            return self._other(event)
        when: float = event["log_time"]
        if int(when) != self._second:
            self._second, self._time = int(when), formatTime(when)
        text = str(line).replace("\n", "\n\t")
        return f"{self._time} [{event['log_namespace']}#{event['log_level'].name}] {text}\n"


def select_observer(options: Any) -> None:
    """Make twistd log through L{observer}, unless C{--logger} names another. @param options: twistd's options."""
    if not options.get("logger"):
        options["logger"] = f"{__name__}.observer"
        _options.update(options)


def observer() -> Any:
    """Twisted's observer for the options given to L{select_observer}, with L{LineFormatter} if it writes text."""
    from twisted.scripts._twistd_unix import UnixAppLogger

    made = UnixAppLogger(_options)._getLogObserver()
    if isinstance(made, FileLogObserver):
        made.formatEvent = LineFormatter(made.formatEvent)
    return made


_options: dict[str, Any] = {}
"""The options, kept here because twistd calls the named factory L{observer} without arguments."""
