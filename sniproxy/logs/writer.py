"""Appends lines to a file without blocking the reactor and without raising errors to the caller."""

from __future__ import annotations

import errno
import os
import select
import stat

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger()

WRITE_DELAY_S = 0.1
"""Seconds that a line may wait, so that several lines take one write."""

MAX_WAITING_BYTES = 4 << 20
"""Bytes buffered while writes fail (a full disk, a stalled pipe). Further lines are dropped and counted."""

_PIPE_BUF = 4096  # bytes that a writable pipe takes in one write without blocking or interleaving
_RETRY_INTERVAL_S = 1.0
STANDARD_OUTPUT = "-"
_CURE = (
    "; let the user of this process create files in the directory (chown), or let logrotate create the new file "
    "(create 0640 USER GROUP), then send USR1 again"
)


class CannotOpen(Exception):
    """The file cannot be opened. The message gives the reason."""


def _flags(path: str) -> int:
    try:
        fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:  # open() reports it
        fifo = False
    # With O_RDWR a FIFO can be opened while it has no reader, and its readers may come and go.
    access = os.O_RDWR if fifo else os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return access | os.O_CLOEXEC | os.O_NONBLOCK


class LineWriter:
    """Appends lines to a file.

    @param path: the file, created if it does not exist. ``-``: standard output.
    @param name: the file's name in log lines and errors.
    @ivar lost: lines dropped because they could not be written.
    """

    def __init__(self, reactor: IReactorTime, path: str, name: str = "access log") -> None:
        """@raise CannotOpen: the file cannot be opened."""
        self.lost = 0
        self._reactor = reactor
        self._path = path
        self._name = name
        self._waiting: list[bytes] = []
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._failing = False
        self._partial = False  # the first pending bytes are the rest of a line
        try:
            self._fd = self._open()
        except OSError as error:
            raise CannotOpen(f"{name} {path}: cannot open: {error.strerror}") from error

    @property
    def on_terminal(self) -> bool:
        """Whether the file is a terminal."""
        return os.isatty(self._fd)

    def write(self, line: str) -> None:
        """Queue a line, given without its newline. It is written within L{WRITE_DELAY_S} seconds."""
        data = line.encode() + b"\n"
        if self._size + len(data) > MAX_WAITING_BYTES:
            self.lost += 1
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._timer is None:
            self._timer = self._reactor.callLater(WRITE_DELAY_S, self._flush)

    def reopen(self) -> None:
        """Open the path again, after a log rotation moved the file. On failure, keep writing to the old file."""
        if self._path == STANDARD_OUTPUT:
            return
        self._write_waiting()
        if self._partial:  # a new file must not begin with the rest of a line
            _, _, rest = self._waiting[0].partition(b"\n")
            self._waiting, self._size, self._partial = [rest] if rest else [], len(rest), False
            self.lost += 1
        try:
            fd = self._open()
        except OSError as error:
            cure = _CURE if isinstance(error, PermissionError) else ""
            text = "{name} {path}: cannot reopen, the old file is kept: {why}{cure}"
            log.error(text, name=self._name, path=self._path, why=error, cure=cure)
            return
        os.close(self._fd)
        self._fd = fd
        log.info("{name} {path}: reopened", name=self._name, path=self._path)

    def close(self) -> None:
        """Write pending lines and close the file."""
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
            if not self._failing:
                log.error(
                    "{name} {path}: cannot write: {why}; buffering up to {most} MiB, then dropping lines",
                    name=self._name,
                    path=self._path,
                    why=os.strerror(error.errno or 0),
                    most=MAX_WAITING_BYTES >> 20,
                )
            self._failing = True
        else:
            if self._failing and at == len(data):
                self._failing = False
                log.info(
                    "{name} {path}: writes again; {lost} lines lost so far",
                    name=self._name,
                    path=self._path,
                    lost=self.lost,
                )
        finally:
            # Continue where the last write ended, so that each line stays whole.
            self._waiting = [data[at:]] if at < len(data) else []
            if at:
                self._partial = at < len(data) and data[at - 1 : at] != b"\n"
            self._size = len(data) - at

    def _end(self, data: bytes, at: int) -> int:
        """The end of the next write. Other processes may write to the same pipe, so a write ends with a whole line."""
        if not self._may_block:
            return len(data)
        return data.rfind(b"\n", at, at + _PIPE_BUF) + 1 or at + _PIPE_BUF

    def _stalled(self) -> bool:
        # poll, not select: the descriptor may be above 1023.
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return not poll.poll(0)

    def _lose_waiting(self) -> None:
        self.lost += b"".join(self._waiting).count(b"\n")
        self._waiting = []
        self._size = 0
        self._partial = False
