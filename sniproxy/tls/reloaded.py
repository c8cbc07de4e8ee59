"""Values made from files, made again when the files change. A bad new version is logged and not used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.logger import Logger

from sniproxy.tls.pem import BadPem
from sniproxy.util.files import WATCH_INTERVAL_S, signature

log = Logger()

T = TypeVar("T")


class Reloaded(Generic[T]):
    """A value made from files.

    @param paths: files and folders to check for changes.
    @param make: reads the files and makes the value.
    @param seconds: a clock.
    """

    def __init__(self, paths: Sequence[str], make: Callable[[], T], seconds: Callable[[], float]) -> None:
        """@raise BadPem: the value cannot be made."""
        self._paths = paths
        self._make = make
        self._seconds = seconds
        self._looked = seconds()
        # Taken before the files are read: a write in between counts as a change.
        self._state = self._look()
        self._value = make()

    def __call__(self) -> T:
        """The value, made again if a file has changed. Files are checked at most once a second."""
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
            self._value = self._make()
        except BadPem as error:
            log.error("reload of {where} failed, keeping the previous version: {error}", where=where, error=error)
        else:
            log.info("reloaded {where}", where=where)

    def _look(self) -> list[object]:
        return [signature(path) for path in self._paths]
