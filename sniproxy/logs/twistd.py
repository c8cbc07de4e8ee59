"""twistd's own log, where the lines of connections go when there is no access log.

Twisted takes a quarter of a tunnel's CPU time to write one such line: it parses the format, and asks for the time zone,
each time. Here they are put together by hand; all other events are Twisted's to format.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import FileLogObserver, LogEvent, Logger, LogLevel, formatTime

LINE = "{line}"
"""The format of an event that is one line, which is there as a text."""


def write_line(log: Logger, line: str) -> None:
    """As ``log.info("{line}", line=line)``, without the time that a Logger takes to look at the level."""
    log.observer(
        {
            "line": line,
            "log_logger": log,
            "log_level": LogLevel.info,
            "log_namespace": log.namespace,
            "log_source": log.source,
            "log_format": LINE,
            "log_time": time.time(),
        }
    )


class Format:
    """An observer's C{formatEvent}. @param other: formats what is not a line; of a line, it would give the same."""

    def __init__(self, other: Callable[[LogEvent], str | None]) -> None:
        self._other = other
        self._second = -1
        self._time = ""

    def __call__(self, event: LogEvent) -> str | None:
        line = event.get("line")
        if event.get("log_format") != LINE or not line or "log_system" in event or "log_failure" in event:
            return self._other(event)
        when: float = event["log_time"]
        if int(when) != self._second:
            self._second, self._time = int(when), formatTime(when)
        text = str(line).replace("\n", "\n\t")
        return f"{self._time} [{event['log_namespace']}#{event['log_level'].name}] {text}\n"


def use(options: Any) -> None:
    """Have twistd take L{observer}, unless somebody has chosen another. @param options: twistd's own."""
    if not options.get("logger"):
        options["logger"] = f"{__name__}.observer"
        _options.update(options)


def observer() -> Any:
    """Twisted's own observer for the options of L{use}, made faster where it writes text."""
    from twisted.scripts._twistd_unix import UnixAppLogger

    made = UnixAppLogger(_options)._getLogObserver()
    if isinstance(made, FileLogObserver):
        made.formatEvent = Format(made.formatEvent)
    return made


_options: dict[str, Any] = {}
"""twistd takes the name of an observer's maker, and calls it without arguments."""
