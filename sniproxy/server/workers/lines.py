"""A worker's log on its way to its supervisor's: one JSON object a line, so that an event of many lines stays whole.

What a worker's process writes otherwise, as an interpreter that ends does, comes as it is.
"""

from __future__ import annotations

import atexit
import json
import os
import select
from collections import deque
from collections.abc import Callable
from threading import RLock
from time import monotonic
from typing import Any

import attrs
from twisted.internet.interfaces import IWriteDescriptor
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.util.text import bounded, counted

STANDARD_ERROR = 2
"""The descriptor that a worker's log goes to."""

MAX_LINE_BYTES = 1 << 20
"""Bytes without a newline that are kept together."""

MAX_WAITING_BYTES = 4 << 20
"""Bytes that wait while the supervisor reads none; lines beyond are lost, and counted."""

FLUSH_TIMEOUT_S = 2.0
"""Seconds that a process which ends waits in all for the supervisor to read what is left."""

_PIPE_BUF = 4096  # a write of so much to a pipe that polls as writable does not block

ERROR = "sniproxy: "
"""What an error begins with that a process ends for."""


@implementer(ILogObserver, IWriteDescriptor)
class Observer:
    """Writes events, and waits for nobody: a supervisor that stands still must not stop a worker's tunnels.

    The pipe itself stays one that blocks: what a process that ends for an error says must not be lost. Any thread may
    log, and so may an object that is collected while one does.

    @param reactor: wakes it when the pipe takes something again. @param descriptor: to this pipe.
    @ivar lost: lines that could not be written, since that was last said.
    """

    def __init__(self, reactor: Any, descriptor: int = STANDARD_ERROR) -> None:
        self.lost = 0
        self._reactor = reactor
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lock = RLock()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._writing = False
        self._watched = False

    def __call__(self, event: LogEvent) -> None:
        namespace = str(event.get("log_namespace", "-"))
        if namespace.startswith("twisted.scripts."):  # which Twisted runs: the supervisor has said it
            return
        level = event.get("log_level", LogLevel.info)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            with self._lock:
                self._take(_line(level, namespace, text))
                self._go_on()

    def finish(self) -> None:
        """Write what waits, as far as the pipe takes it within L{FLUSH_TIMEOUT_S} seconds."""
        with self._lock:
            self._write(monotonic() + FLUSH_TIMEOUT_S)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "log"

    def doWrite(self) -> None:
        """The pipe takes something again."""
        with self._lock:
            self._reactor.removeWriter(self)
            self._watched = False
            self._go_on()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends while lines wait, or the supervisor has."""
        self.finish()

    def _take(self, line: bytes) -> None:
        if self._waiting and self._size + len(line) > MAX_WAITING_BYTES:
            self.lost += 1
            return
        if self.lost:  # its place is between the lines before and after
            self._say_lost()
        self._waiting.append(line)
        self._size += len(line)

    def _say_lost(self) -> None:
        said = f"{counted(self.lost, 'line')} of this log could not be written and were lost: nobody read them"
        self.lost = 0
        line = _line(LogLevel.warn, __name__, said)
        self._waiting.append(line)
        self._size += len(line)

    def _go_on(self) -> None:
        self._write()
        if self._waiting and not self._watched:
            self._watched = True
            self._reactor.callFromThread(self._reactor.addWriter, self)

    def _write(self, until: float = 0.0) -> None:
        """Write what waits, while the pipe takes it. @param until: a time up to which this may block."""
        if self._writing:  # who logs in the midst of it; its line has its place behind the others
            return
        self._writing = True
        try:
            while self._waiting and self._poll.poll(max(until - monotonic(), 0.0) * 1000 if until else 0):
                line = self._waiting[0]
                written = os.write(self._descriptor, line[:_PIPE_BUF])
                self._size -= written
                if written < len(line):
                    self._waiting[0] = line[written:]
                    continue
                self._waiting.popleft()
                if not self._waiting and self.lost:
                    self._say_lost()
        except OSError:  # the supervisor is gone, and nobody will read it
            self._waiting.clear()
            self._size = self.lost = 0
        finally:
            self._writing = False


def observer() -> Observer:
    """For twistd's ``--logger``."""
    from twisted.internet import reactor  # which has been chosen by the time twistd calls this

    made = Observer(reactor)
    atexit.register(made.finish)
    return made


@attrs.define
class LogLines:
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


def _line(level: Any, namespace: str, text: str) -> bytes:
    return json.dumps({"level": level.name, "namespace": namespace, "text": text}).encode() + b"\n"
