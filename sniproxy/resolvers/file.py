"""The C{file} resolver: reads names and targets from a file, again each time the file changes.

It reads changes in a thread, because the file may be large. It logs an invalid new version and keeps the previous one.
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
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()

FORMATS = {"toml": parse_toml, "map": parse_map}

MAX_BYTES = 64 * 2**20
"""Characters of a file, enough for about a million names."""

OPTIONS = (
    Option("path", Kind.PATH, "file with names and targets; reloaded when it changes"),
    Option(
        "format",
        Kind.TEXT,
        '"toml" or "map" (two columns); default: toml for a path that ends in .toml, else map',
        None,
    ),
)


@implementer(IWatchingResolver)
class FileResolver:
    """Made by L{make}. @param read: reads and parses the file. @param path: the file to watch."""

    def __init__(self, read: Callable[[], NameTable], path: str, reactor: IReactor) -> None:
        """@raise CannotRead: the file cannot be read or is invalid."""
        self._path = path
        self._read = read
        self._reactor = reactor
        self._watch = FileWatch(reactor, path, self._start_reading)
        self._watch.note()
        self._names = read()
        self._error: str | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._reading: Deferred[None] | None = None

    def resolve(self, request: Request) -> Resolution:
        targets = self._names.targets(request.server_name)
        if targets is None:
            raise Refused(f"name not found in {self._path}", ttl=float("inf"))
        return Resolution(targets)

    def start(self, changed: Callable[[], None]) -> None:
        self._on_change = changed
        self._watch.start()

    def stop(self) -> Deferred[None] | None:
        self._watch.stop()
        self._on_change = lambda: None
        return self._reading

    def state(self) -> WatchState:
        return WatchState(counted(self._names.count, "name"), self._error)

    def _start_reading(self) -> None:
        if self._reading is not None:
            return
        self._watch.note()
        reading = in_daemon_thread(self._reactor, self._read)
        self._reading = reading.addCallbacks(self._replace, self._keep_previous).addBoth(self._finish_reading)

    def _replace(self, names: NameTable) -> None:
        self._names = names
        self._error = None
        count = counted(names.count, "name")
        log.info("reloaded {path}: {count}", path=self._path, count=count)
        self._on_change()

    def _keep_previous(self, failure: Any) -> None:
        failure.trap(CannotRead)
        self._error = str(failure.value)
        log.error("reload of {path} failed, keeping the previous version: {why}", path=self._path, why=self._error)

    def _finish_reading(self, failure: Any) -> None:
        self._reading = None
        if failure is not None:
            log.failure("unexpected error while reading {path}", failure, path=self._path)


def make(options: Mapping[str, Any], reactor: IReactor) -> FileResolver:
    """@raise BadOption: the file cannot be read or is invalid, or its format is unknown."""
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
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would block
            raise CannotRead("not a regular file")
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotRead(f"cannot read the file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotRead("not UTF-8") from error
    if len(text) > MAX_BYTES:
        raise CannotRead(f"longer than {MAX_BYTES} characters")
    try:
        return parse(text)
    except BadNameFile as error:
        raise CannotRead(str(error)) from error
