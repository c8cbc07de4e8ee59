"""Lines to a file, soon and without ever holding up the reactor for long or failing its caller."""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import Any

from twisted.logger import Logger

log = Logger()

WRITE_DELAY_S = 0.1
"""Seconds that a line may wait so that several are written at once."""

MAX_WAITING_BYTES = 4 << 20
"""Bytes that wait while the file takes none (a full disk, a stalled pipe); lines beyond are lost, and counted."""

_PIPE_BUF = 4096  # a write of so much to a pipe that polls as writable does not block, and is not mixed with others
_RETRY_INTERVAL_S = 1.0
STANDARD_OUTPUT = "-"
_CURE = (
    "; lines are still written to the old file: let the user of this process create files in the folder (chown), or "
    "let logrotate make the new file (create 0640 USER GROUP), then send USR1 again"
)


class CannotOpen(Exception):
    """The file cannot be opened; the message says why."""


def _flags(path: str) -> int:
    try:
        fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:  # open says why
        fifo = False
    # A FIFO opened for reading, too, can be opened while nobody reads it, and its readers may come and go.
    access = os.O_RDWR if fifo else os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return access | os.O_CLOEXEC | os.O_NONBLOCK


class LineWriter:
    """Appends lines to a file.

    @param path: the file, made when it is not there; ``-``: standard output.
    @param name: what log lines and errors call it.
    @ivar lost: lines that could not be written.
    """

    def __init__(self, reactor: Any, path: str, name: str = "access log") -> None:
        """@raise CannotOpen: the file cannot be opened."""
        self.lost = 0
        self._reactor = reactor
        self._path = path
        self._name = name
        self._waiting: list[bytes] = []
        self._size = 0
        self._timer: Any = None
        self._troubled = False
        self._torn = False
        try:
            self._fd = self._open()
        except OSError as error:
            raise CannotOpen(f"{name} {path}: cannot be opened: {error.strerror}") from error

    @property
    def on_terminal(self) -> bool:
        """Whether a person is reading."""
        return os.isatty(self._fd)

    def write(self, line: str) -> None:
        """Take a line, without its newline; it is written within L{WRITE_DELAY_S} seconds."""
        data = line.encode() + b"\n"
        if self._size + len(data) > MAX_WAITING_BYTES:
            self.lost += 1
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._timer is None:
            self._timer = self._reactor.callLater(WRITE_DELAY_S, self._flush)

    def reopen(self) -> None:
        """Open the path anew, after a log rotation moved the file away. When that fails, the old file is kept."""
        if self._path == STANDARD_OUTPUT:
            return
        self._write_waiting()
        if self._torn:  # the rest of a line does not begin a file
            _, _, rest = self._waiting[0].partition(b"\n")
            self._waiting, self._size, self._torn = [rest] if rest else [], len(rest), False
            self.lost += 1
        try:
            fd = self._open()
        except OSError as error:
            cure = _CURE if isinstance(error, PermissionError) else ""
            said = "{name} {path}: the old file is kept, not reopened: {why}{cure}"
            log.error(said, name=self._name, path=self._path, why=error, cure=cure)
            return
        os.close(self._fd)
        self._fd = fd
        log.info("{name} {path}: reopened", name=self._name, path=self._path)

    def close(self) -> None:
        """Write what waits, and close."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_waiting()
        self._lose_waiting()
        os.close(self._fd)

    def _open(self) -> int:
        fd = os.dup(1) if self._path == STANDARD_OUTPUT else os.open(self._path, _flags(self._path), 0o640)
        self._may_block = not stat.S_ISREG(os.fstat(fd).st_mode)
        return fd

    def _flush(self) -> None:
        self._timer = None
        self._write_waiting()
        if self._waiting:
            self._timer = self._reactor.callLater(_RETRY_INTERVAL_S, self._flush)

    def _write_waiting(self) -> None:
        data = b"".join(self._waiting)
        at = 0
        try:
            while at < len(data):
                if self._may_block and self._stalled():
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                at += os.write(self._fd, data[at : self._end(data, at)])
        except OSError as error:
            if not self._troubled:
                log.error(
                    "{name} {path}: {why}; lines wait up to {most} MiB, then they are lost and counted",
                    name=self._name,
                    path=self._path,
                    why=os.strerror(error.errno or 0),
                    most=MAX_WAITING_BYTES >> 20,
                )
            self._troubled = True
        else:
            if self._troubled and at == len(data):
                self._troubled = False
                log.info(
                    "{name} {path}: writes again; {lost} lines lost so far",
                    name=self._name,
                    path=self._path,
                    lost=self.lost,
                )
        finally:
            # What is left begins where the last write ended, so that no line is torn.
            self._waiting = [data[at:]] if at < len(data) else []
            if at:
                self._torn = at < len(data) and data[at - 1 : at] != b"\n"
            self._size = len(data) - at

    def _end(self, data: bytes, at: int) -> int:
        """How far the next write goes. Other processes may write to the same pipe, and a line is whole in one write."""
        if not self._may_block:
            return len(data)
        return data.rfind(b"\n", at, at + _PIPE_BUF) + 1 or at + _PIPE_BUF

    def _stalled(self) -> bool:
        # poll, not select: after a log rotation under load the descriptor may be above 1023.
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return not poll.poll(0)

    def _lose_waiting(self) -> None:
        self.lost += b"".join(self._waiting).count(b"\n")
        self._waiting = []
        self._size = 0
        self._torn = False
