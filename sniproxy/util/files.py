"""Files that may change: what tells a change, and a watch that tells of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

WATCH_INTERVAL_S = 1.0
"""Seconds between two looks at whether files have changed."""


class CannotRead(Exception):
    """A file cannot be read or used; the message names it."""


def signature(path: str) -> object:
    """What changes when a file, a folder's files or what a link leads to change."""
    try:
        if not os.path.isdir(path):
            return _status(path)
        return sorted((name, _status(os.path.join(path, name))) for name in os.listdir(path))
    except OSError as error:
        return error.errno


class FileWatch:
    """Looks at a file every second while it runs.

    Once it has changed it must be found the same twice: an editor may still be writing, and half a file can be a good
    one, with half of the names.

    @param changed: called when the file is another one than when L{note} was called last, at each look until then.
    """

    def __init__(self, reactor: Any, path: str, changed: Callable[[], object]) -> None:
        self._path = path
        self._changed = changed
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._taken: object = None
        self._seen: object = None

    @property
    def running(self) -> bool:
        """Whether it looks."""
        return bool(self._looking.running)

    def note(self) -> None:
        """The file as it is now is about to be read. Before the reading: what is written meanwhile is a change."""
        self._taken = self._seen = signature(self._path)

    def start(self) -> None:
        """Begin to look; again is no harm."""
        if not self._looking.running:
            self._looking.start(WATCH_INTERVAL_S, now=False)

    def stop(self) -> None:
        """Look no longer; again is no harm."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        before, self._seen = self._seen, signature(self._path)
        if self._seen != self._taken and self._seen == before:
            self._changed()


def _status(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:  # removed in between, or a link to nowhere
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_size, status.st_ino
