"""Moves bulk data by C{splice}: bytes pass between the sockets inside the Linux kernel, through a pipe.

A direction holds a pipe only while bytes are in it, so an idle tunnel has none. Empty pipes are kept for reuse.
"""

from __future__ import annotations

import errno
import fcntl
import os

from sniproxy.relay.copy import ROOM, CopyDirection
from sniproxy.relay.direction import Side

PIPE_BYTES = 1 << 18
"""Requested size of a pipe. A larger pipe is not faster, and bytes in it are not limited by a socket's buffer."""

BULK_BYTES = 1 << 14
"""Bytes of one read above which the next read is spliced."""

_KEPT = 16
_ROOM = ROOM[:BULK_BYTES]
_FLAGS = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)

available = hasattr(os, "splice")
"""Whether this system has splice."""

Pipe = tuple[int, int]
_spare: list[Pipe] = []


def _take_pipe() -> Pipe:
    if _spare:
        return _spare.pop()
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:  # the user's limit of pipe memory is reached: use a small pipe
        pass
    return pipe


def close_spare_pipes() -> None:
    """Close the pipes kept for reuse."""
    while _spare:
        for end in _spare.pop():
            os.close(end)


class SpliceDirection(CopyDirection):
    """Copies small reads, and splices while reads are large.

    Splicing takes two more system calls, so copying is faster for a small message.

    @ivar spliced: total bytes moved by splice.
    """

    __slots__ = ("_bulky", "_inside", "_pipe", "spliced")

    def __init__(self, source: Side, target: Side, head: bytes) -> None:
        super().__init__(source, target, head)
        self._bulky = False
        self._pipe: Pipe | None = None
        self._inside = 0
        self.spliced = 0

    def fill(self) -> int:
        """See L{CopyDirection.fill}."""
        if self._bulky:
            self._pipe = self._new_pipe()
        if self._pipe is None:  # small reads, or no descriptor is left for a pipe
            count = self.source.sock.recv_into(_ROOM)
            self._head = _ROOM[:count]
            self._bulky = count == BULK_BYTES
            self.dry = not self._bulky
            return count
        try:
            self._inside = os.splice(self.source.fd, self._pipe[1], PIPE_BYTES, flags=_FLAGS)
        finally:
            if not self._inside:
                self._return_pipe()
        self.spliced += self._inside
        self._bulky = self._inside >= BULK_BYTES
        self.dry = False  # a pipe may be full with few bytes, if each packet takes a slot
        return self._inside

    def flush(self) -> int:
        """See L{CopyDirection.flush}."""
        if self._head:
            return super().flush()
        assert self._pipe is not None
        count = os.splice(self._pipe[0], self.target.fd, self._inside, flags=_FLAGS)
        self._inside -= count
        if not self._inside:
            self._return_pipe()
        return count

    def hand_on(self) -> bool:
        """See L{Direction.hand_on}. It combines fill and flush: two calls would cost as much as their work."""
        if not self.dry or self.eof:  # if dry, nothing is held
            return False
        count = self.source.sock.recv_into(_ROOM)
        head = _ROOM[:count]
        if not 0 < count < BULK_BYTES:
            self._head = head
            self.eof = not count
            self._bulky = count == BULK_BYTES
            self.dry = False
            return False
        sent = 0
        try:
            sent = self.target.sock.send(head)
        finally:
            if sent != count:
                self._head = bytes(head[sent:])
        self.moved += sent
        return sent == count

    def holds(self) -> bool:
        return bool(self._inside or self._head)

    def release(self) -> None:
        super().release()
        if self._pipe is None:
            return
        if self._inside:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
            self._inside = 0
        self._return_pipe()

    @staticmethod
    def _new_pipe() -> Pipe | None:
        try:
            return _take_pipe()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                return None
            raise

    def _return_pipe(self) -> None:
        if self._pipe is None:
            return
        if len(_spare) < _KEPT:
            _spare.append(self._pipe)
        else:
            for end in self._pipe:
                os.close(end)
        self._pipe = None
