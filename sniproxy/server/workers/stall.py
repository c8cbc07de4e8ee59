"""Logs that the event loop of this process was blocked, for how long, and where.

A thread of its own looks at the stack. While code holds the GIL, such as a regular expression that matches, the thread
waits for it, and then sees the function that called that code. C{faulthandler} would not wait; but its thread walks
frames that change meanwhile, which crashes the process now and then.
"""

from __future__ import annotations

import sys
import threading
from pathlib import PurePath
from types import FrameType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

log = Logger()

INTERVAL_S = 0.5
"""Seconds between checks."""

STALL_S = 1.0
"""Seconds by which a check must be late to be logged."""

MAX_FRAMES = 8
"""Frames of the stack in the log, innermost first."""


class StallWatch:
    """Watches the reactor. Start and stop it in the reactor's thread."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._last = 0.0
        self._timer: Any = None
        self._looker: Looker | None = None

    def start(self) -> None:
        """Start watching."""
        self._looker = Looker(threading.get_ident())
        self._looker.start()
        self._last = self._reactor.seconds()
        self._timer = self._reactor.callLater(INTERVAL_S, self._beat)

    def stop(self) -> None:
        """Stop watching."""
        if self._looker is not None:
            self._timer.cancel()
            self._looker.stop()
            self._looker = None

    def _beat(self) -> None:
        assert self._looker is not None
        now = self._reactor.seconds()
        blocked, self._last = now - self._last - INTERVAL_S, now
        where = self._looker.beat()
        if blocked >= STALL_S:
            log.warn(
                "event loop blocked for {seconds:.1f} s{where}",
                seconds=blocked,
                where=f", in {where}" if where else "",
            )
        self._timer = self._reactor.callLater(INTERVAL_S, self._beat)


class Looker(threading.Thread):
    """Looks at a thread's stack when the next beat is late.

    @param watched: the identifier of the thread.
    """

    def __init__(self, watched: int) -> None:
        super().__init__(name="stall-watch", daemon=True)
        self._watched = watched
        self._beaten = threading.Event()
        self._stopped = False
        self._where = ""

    def beat(self) -> str:
        """The event loop runs. @return: where it was blocked before this beat; empty if it was not."""
        where, self._where = self._where, ""
        self._beaten.set()
        return where

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._stopped = True
        self._beaten.set()
        self.join()

    def run(self) -> None:
        while not self._stopped:
            if not self._beaten.wait(INTERVAL_S + STALL_S):
                self._where = where(sys._current_frames().get(self._watched))
                self._beaten.wait()
            self._beaten.clear()


def where(frame: FrameType | None) -> str:
    """The innermost frames of a stack: ``routing/table.py:88 match < routing/router.py:55 choose``.

    @param frame: the innermost. None: empty.
    """
    found: list[str] = []
    while frame is not None and len(found) < MAX_FRAMES:
        file = "/".join(PurePath(frame.f_code.co_filename).parts[-2:])
        found.append(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(found)
