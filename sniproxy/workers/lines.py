"""A worker's log on its way to its supervisor's: one JSON object a line, so that an event of many lines stays whole.

What a worker's process writes otherwise, as an interpreter that ends does, comes as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import attrs
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText
from zope.interface import implementer

from sniproxy.text import bounded

STANDARD_ERROR = 2
"""The descriptor that a worker's log goes to."""

MOST = 1 << 20
"""Bytes without a newline that are kept together."""

ERROR = "sniproxy: "
"""What an error begins with that a process ends for."""


@implementer(ILogObserver)
class Observer:
    """Writes events. @param descriptor: to this pipe."""

    def __init__(self, descriptor: int = STANDARD_ERROR) -> None:
        self._descriptor = descriptor

    def __call__(self, event: LogEvent) -> None:
        namespace = str(event.get("log_namespace", "-"))
        if namespace.startswith("twisted.scripts."):  # which Twisted runs: the supervisor has said it
            return
        level = event.get("log_level", LogLevel.info)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            said = {"level": level.name, "namespace": namespace, "text": text}
            _write(self._descriptor, json.dumps(said).encode() + b"\n")


def observer() -> Observer:
    """For twistd's ``--logger``."""
    return Observer()


@attrs.define
class Lines:
    """Cuts what comes from a pipe into lines, without their newlines.

    @ivar take: gets each. @ivar most: so many bytes without a newline are a line, too. None: however many there are.
    """

    take: Callable[[bytes], None]
    most: int | None = None
    _rest: list[bytes] = attrs.field(factory=list, init=False)
    _size: int = attrs.field(default=0, init=False)

    def feed(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self.take(self._taken() + line)
        self._rest.append(rest)
        self._size += len(rest)
        if self.most is not None and self._size > self.most:
            self.end()

    def end(self) -> None:
        """There will be no more: what has no newline is a line, too."""
        if rest := self._taken():
            self.take(rest)

    def _taken(self) -> bytes:
        rest = b"".join(self._rest)
        self._rest, self._size = [], 0
        return rest


def relay(index: int, line: bytes) -> str | None:
    """Log what a worker has said, as ours, with its index.

    @return: the error that it ends for, which is not logged; None: it is another line.
    """
    try:
        said: Any = json.loads(line)
        namespace, level, text = said["namespace"], LogLevel.lookupByName(said["level"]), said["text"]
    except (ValueError, TypeError, KeyError):
        plain = line.decode("utf-8", "backslashreplace")
        if plain.startswith(ERROR):
            return plain.removeprefix(ERROR)
        namespace, level, text = __name__, LogLevel.warn, bounded(plain)
    Logger(namespace=namespace).emit(level, "worker {worker}: {text}", worker=index, text=text)
    return None


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
