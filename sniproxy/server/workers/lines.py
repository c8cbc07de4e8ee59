"""Sends a worker's log to the supervisor: one JSON object a line, so that an event with several lines stays whole.

Other output of the worker's process, such as the interpreter's last traceback, is sent unchanged.
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

from sniproxy.util.reactor import IReactor, global_reactor
from sniproxy.util.text import bounded, counted

STANDARD_ERROR = 2
"""The descriptor that a worker writes its log to."""

MAX_LINE_BYTES = 1 << 20
"""Bytes of a line, at most. A longer line is split."""

MAX_WAITING_BYTES = 4 << 20
"""Bytes that wait while the supervisor does not read. Further lines are lost, and counted."""

FLUSH_TIMEOUT_S = 2.0
"""Seconds that an exiting process waits for the supervisor to read the remaining lines."""

_PIPE_BUF = 4096  # a pipe that polls as writable takes this many bytes without blocking

ERROR = "sniproxy: "
"""Prefix of the error that a process exits for."""


@implementer(ILogObserver, IWriteDescriptor)
class PipeLogObserver:
    """Writes log events to a pipe without blocking, so that a stuck supervisor does not stop a worker's tunnels.

    The pipe itself stays in blocking mode, so that the last error of an exiting process is not lost. Any thread may
    log, and so may the finalizer of an object that is collected meanwhile.

    @param reactor: tells when the pipe is writable again. @param descriptor: the pipe's.
    @ivar lost: lines that were lost since the last line that reported lost ones.
    """

    def __init__(self, reactor: IReactor, descriptor: int = STANDARD_ERROR) -> None:
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
        if namespace.startswith("twisted.scripts."):  # twistd's own lines: the supervisor logs them already
            return
        level = event.get("log_level", LogLevel.info)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            with self._lock:
                self._take(_line(level, namespace, text))
                self._write_waiting()

    def finish(self) -> None:
        """Write waiting lines for up to L{FLUSH_TIMEOUT_S} seconds."""
        with self._lock:
            self._write(monotonic() + FLUSH_TIMEOUT_S)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "log"

    def doWrite(self) -> None:
        """The pipe is writable again."""
        with self._lock:
            self._reactor.removeWriter(self)
            self._watched = False
            self._write_waiting()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops while lines wait, or the supervisor has ended."""
        self.finish()

    def _take(self, line: bytes) -> None:
        if self._waiting and self._size + len(line) > MAX_WAITING_BYTES:
            self.lost += 1
            return
        if self.lost:  # reported between the lines before and after the gap
            self._report_lost()
        self._waiting.append(line)
        self._size += len(line)

    def _report_lost(self) -> None:
        text = f"{counted(self.lost, 'log line')} lost: the supervisor did not read them in time"
        self.lost = 0
        line = _line(LogLevel.warn, __name__, text)
        self._waiting.append(line)
        self._size += len(line)

    def _write_waiting(self) -> None:
        self._write()
        if self._waiting and not self._watched:
            self._watched = True
            self._reactor.callFromThread(self._reactor.addWriter, self)

    def _write(self, until: float = 0.0) -> None:
        """Write waiting lines while the pipe is writable. @param until: the time up to which this may block; 0: not."""
        if self._writing:  # a finalizer logs during the write; its line is queued
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
                    self._report_lost()
        except OSError:  # the supervisor has ended
            self._waiting.clear()
            self._size = self.lost = 0
        finally:
            self._writing = False


def observer() -> PipeLogObserver:
    """The log observer of a worker, for twistd's ``--logger``."""
    made = PipeLogObserver(global_reactor())  # twistd has installed it before it calls this
    atexit.register(made.finish)
    return made


@attrs.define
class LogLines:
    """Splits the bytes of a pipe into lines, without newlines.

    @ivar take: called with each line. @ivar most: bytes after which a line is split. None: never.
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

    @property
    def rest(self) -> bytes:
        """The bytes behind the last newline."""
        return b"".join(self._rest)

    def end(self) -> None:
        """Pass on the rest as a line, although it has no newline."""
        if rest := self._taken():
            self.take(rest)

    def _taken(self) -> bytes:
        rest, self._rest, self._size = self.rest, [], 0
        return rest


def log_worker_line(index: int, line: bytes) -> str | None:
    """Log a line of a worker, with the worker's index.

    @return: the error that the worker exits for, which is not logged here; None for other lines.
    """
    try:
        event: Any = json.loads(line)
        namespace, level, text = event["namespace"], LogLevel.lookupByName(event["level"]), event["text"]
    except (ValueError, TypeError, KeyError):
        plain = line.decode("utf-8", "backslashreplace")
        if plain.startswith(ERROR):
            return plain.removeprefix(ERROR)
        namespace, level, text = __name__, LogLevel.warn, bounded(plain)
    Logger(namespace=namespace).emit(level, "worker {worker}: {text}", worker=index, text=text)
    return None


def _line(level: Any, namespace: str, text: str) -> bytes:
    return json.dumps({"level": level.name, "namespace": namespace, "text": text}).encode() + b"\n"
