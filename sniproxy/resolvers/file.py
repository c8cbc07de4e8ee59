"""The file resolver: names and targets from a file, which is read again when it changes.

It is read beside the reactor, because it may be long. A bad new version changes nothing, and is told of once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.interfaces import BadOption, IWatchingResolver, Kind, Option, Refused, Request, Resolution, WatchState
from sniproxy.net.daemonthread import in_daemon_thread
from sniproxy.resolvers.namefile import BadNameFile, NameTable, parse_map, parse_toml
from sniproxy.util.files import CannotRead, FileWatch
from sniproxy.util.text import counted

log = Logger()

FORMATS = {"toml": parse_toml, "map": parse_map}

MAX_BYTES = 64 * 2**20
"""Of a file: about a million names."""

OPTIONS = (
    Option("path", Kind.PATH, "the file with names and targets; it is read again when it changes"),
    Option("format", Kind.TEXT, '"toml" or "map" (two columns); unless given, the path\'s end .toml decides', None),
)


@implementer(IWatchingResolver)
class FileResolver:
    """@param read: reads the file. @param path: what is watched."""

    def __init__(self, read: Callable[[], NameTable], path: str, reactor: Any) -> None:
        """@raise CannotRead: the file cannot be used."""
        self._path = path
        self._read = read
        self._reactor = reactor
        self._watch = FileWatch(reactor, path, self._changed)
        self._watch.note()
        self._names = read()
        self._error: str | None = None
        self._tell: Callable[[], None] = _ignore
        self._reading: Deferred[None] | None = None

    def resolve(self, request: Request) -> Resolution:
        targets = self._names.targets(request.server_name)
        if targets is None:
            raise Refused(f"{self._path} has no such name", ttl=float("inf"))
        return Resolution(targets)

    def start(self, changed: Callable[[], None]) -> None:
        self._tell = changed
        self._watch.start()

    def stop(self) -> Deferred[None] | None:
        self._watch.stop()
        self._tell = _ignore
        return self._reading

    def state(self) -> WatchState:
        return WatchState(counted(self._names.count, "name"), self._error)

    def _changed(self) -> None:
        if self._reading is not None:
            return
        self._watch.note()
        reading = in_daemon_thread(self._reactor, self._read)
        self._reading = reading.addCallbacks(self._replace, self._keep).addBoth(self._ended)

    def _replace(self, names: NameTable) -> None:
        self._names = names
        self._error = None
        count = counted(names.count, "name")
        log.info("{path} has changed: the new version is in force: {count}", path=self._path, count=count)
        self._tell()

    def _keep(self, failure: Any) -> None:
        failure.trap(CannotRead)
        self._error = str(failure.value)
        log.error("{path} has changed, and the old version stays in force: {why}", path=self._path, why=self._error)

    def _ended(self, failure: Any) -> None:
        self._reading = None
        if failure is not None:
            log.failure("{path} could not be read", failure, path=self._path)


def make(options: Mapping[str, Any], reactor: Any) -> FileResolver:
    """@raise BadOption: the file cannot be used, or its format is none."""
    path, kind = options["path"], options["format"]
    if kind is not None and kind not in FORMATS:
        raise BadOption("format", kind, 'write "toml" or "map"')
    parse = FORMATS[kind or ("toml" if path.endswith(".toml") else "map")]
    try:
        return FileResolver(lambda: _read(path, parse), path, reactor)
    except CannotRead as error:
        raise BadOption("path", path, str(error)) from error


def _read(path: str, parse: Callable[[str], NameTable]) -> NameTable:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise CannotRead("it is no plain file")
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotRead(f"it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotRead("it is not UTF-8") from error
    if len(text) > MAX_BYTES:
        raise CannotRead(f"it has more than {MAX_BYTES} characters")
    try:
        return parse(text)
    except BadNameFile as error:
        raise CannotRead(str(error)) from error


def _ignore() -> None:
    """Nobody wants to know yet, or any more."""
