"""Files that are read again when they change; a bad new version changes nothing, and is told of once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.logger import Logger

from sniproxy.tls.pem import BadPem
from sniproxy.util.files import WATCH_INTERVAL_S, CannotRead, signature

log = Logger()

T = TypeVar("T")

SUFFIXES = (".pem", ".crt", ".cer", ".key")
"""Of the files that are read in a folder."""


def read(path: str) -> list[tuple[str, bytes]]:
    """The texts of a file, or of a folder's files for certificates and keys, with their places.

    @raise CannotRead: there is none, or it may not be read.
    """
    try:
        if not os.path.isdir(path):
            return [(path, _content(path))]
        places = (os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(SUFFIXES))
        return [(place, _content(place)) for place in places if os.path.isfile(place)]
    except OSError as error:
        raise CannotRead(f"{error.filename or path}: cannot read: {error.strerror}") from error


class Reloaded(Generic[T]):
    """A value that is made of files.

    @param paths: files and folders that are watched.
    @param make: reads them, and makes the value.
    @param seconds: a clock.
    """

    def __init__(self, paths: Sequence[str], make: Callable[[], T], seconds: Callable[[], float]) -> None:
        """@raise CannotRead: the value cannot be made."""
        self._paths = paths
        self._make = make
        self._seconds = seconds
        self._looked = seconds()
        # Before the reading: what is written meanwhile is a change.
        self._state = self._look()
        self._value = self._made()

    def __call__(self) -> T:
        """The value, made anew when a file has changed since it was made; at most one look a second."""
        now = self._seconds()
        if now - self._looked >= WATCH_INTERVAL_S:
            self._looked = now
            state = self._look()
            if state != self._state:
                self._state = state
                self._renew()
        return self._value

    def _renew(self) -> None:
        where = ", ".join(self._paths)
        try:
            self._value = self._made()
        except CannotRead as error:
            log.error("reload of {where} failed, keeping the previous version: {error}", where=where, error=error)
        else:
            log.info("reloaded {where}", where=where)

    def _made(self) -> T:
        try:
            return self._make()
        except BadPem as error:
            raise CannotRead(str(error)) from error

    def _look(self) -> list[object]:
        return [signature(path) for path in self._paths]


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
