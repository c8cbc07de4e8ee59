"""Detects changes of files."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

WATCH_INTERVAL_S = 1.0
"""Seconds between checks of a file."""


class CannotRead(Exception):
    """A file cannot be read or used. The message gives the reason."""


def signature(path: str) -> object:
    """A value that changes when a file, a folder's files or a link's destination change."""
    try:
        if not os.path.isdir(path):
            return _status(path)
        return sorted((name, _status(os.path.join(path, name))) for name in os.listdir(path))
    except OSError as error:
        return error.errno


class FileWatch:
    """Checks a file every second while it runs.

    A changed file counts once it is the same in two checks: an editor may still be writing, and a half-written file can
    be valid.

    @param changed: called at each check while the file differs from its state at the last call of L{note}.
    """

    def __init__(self, reactor: IReactorTime, path: str, changed: Callable[[], object]) -> None:
        self._path = path
        self._changed = changed
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._taken: object = None
        self._seen: object = None

    @property
    def running(self) -> bool:
        """Whether the watch runs."""
        return bool(self._looking.running)

    def note(self) -> None:
        """Record the file's state. Call it before reading the file, so that a write in between counts as a change."""
        self._taken = self._seen = signature(self._path)

    def start(self) -> None:
        """Start checking. Does nothing if the watch runs."""
        if not self._looking.running:
            self._looking.start(WATCH_INTERVAL_S, now=False)

    def stop(self) -> None:
        """Stop checking. Does nothing if the watch does not run."""
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
