"""Logs that the event loop of this process was blocked, for how long, and where.

The stack comes from C{faulthandler}, whose thread needs no GIL. So it also shows code that holds the GIL, such as a
regular expression that matches.
"""

from __future__ import annotations

import faulthandler
import re
import tempfile
import threading
from typing import IO, Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

log = Logger()

INTERVAL_S = 0.5
"""Seconds between checks."""

STALL_S = 1.0
"""Seconds by which a check must be late to be logged."""

MAX_FRAMES = 8
"""Frames of the stack in the log, innermost first."""

_FRAME = re.compile(r'  File "(?:[^"]*/)?([^/"]+/[^/"]+)", line (\d+) in (\S+)')


class StallWatch:
    """Watches the reactor. One per process, because C{faulthandler} has one timer. Start it in the reactor's thread."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._last = 0.0
        self._timer: Any = None
        self._stacks: IO[bytes] | None = None
        self._thread = 0

    def start(self) -> None:
        """Start watching."""
        self._thread = threading.get_ident()
        try:
            self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  # until stop
        except OSError:  # no temporary folder: the log then has no stack
            self._stacks = None
        self._last = self._reactor.seconds()
        self._wait()

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stacks is not None:
            faulthandler.cancel_dump_traceback_later()
            self._stacks.close()
            self._stacks = None

    def _wait(self) -> None:
        if self._stacks is not None:
            faulthandler.dump_traceback_later(INTERVAL_S + STALL_S, file=self._stacks)
        self._timer = self._reactor.callLater(INTERVAL_S, self._beat)

    def _beat(self) -> None:
        now = self._reactor.seconds()
        blocked, self._last = now - self._last - INTERVAL_S, now
        if blocked >= STALL_S:
            where = where_was(self._written(), self._thread)
            log.warn(
                "event loop blocked for {seconds:.1f} s{where}",
                seconds=blocked,
                where=f", in {where}" if where else "",
            )
        self._wait()

    def _written(self) -> str:
        """The stacks that C{faulthandler} wrote since the last call."""
        if self._stacks is None:
            return ""
        faulthandler.cancel_dump_traceback_later()
        self._stacks.seek(0)
        text = self._stacks.read().decode("utf-8", "replace")
        self._stacks.seek(0)
        self._stacks.truncate()
        return text


def where_was(stacks: str, thread: int) -> str:
    """A thread's innermost frames in C{faulthandler}'s output: ``table.py:88 match < router.py:55 choose``.

    @param thread: its identifier. @return: empty if there is no such thread.
    """
    for block in re.split(r"\n\n", stacks):
        head, _, frames = block.partition("\n")
        if head.startswith("Timeout"):
            head, _, frames = frames.partition("\n")
        if re.search(rf"0x0*{thread:x}\b", head):
            found = _FRAME.findall(frames)[:MAX_FRAMES]
            return " < ".join(f"{file}:{line} {function}" for file, line, function in found)
    return ""
