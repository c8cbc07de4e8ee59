"""Finds and removes the paths of UNIX sockets, also those that a killed program left behind."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

from twisted.internet.error import CannotListenError

LOCK = ".lock"
"""Twisted keeps a symbolic link with the socket's name plus this suffix, which names its process."""


def unix_path(error: CannotListenError) -> str | None:
    """The path of the UNIX socket in an error. None: the error is about another kind of socket."""
    return os.fsdecode(error.port) if isinstance(error.port, str | bytes) else None


def remove_stale(path: str) -> bool:
    """Remove a socket that no process listens on, and its lock.

    The process id in the lock proves nothing: in a container each start has the same one. Only a refused connection
    does.

    @return: a file was removed, and listening may be retried.
    """
    if not _is_stale(path):
        return False
    removed = False
    for name in (path, path + LOCK):
        with suppress(OSError):  # missing, or another user's: listening then reports the error
            os.unlink(name)
            removed = True
    return removed


def remove_path(sock: socket.socket) -> None:
    """Remove the path of a listening socket that is about to be closed. A socket of another kind has none."""
    path = sock.getsockname()
    if sock.family == socket.AF_UNIX and isinstance(path, str) and path:
        with suppress(OSError):  # the folder may be another user's
            os.unlink(path)


def socket_owner(path: str) -> str:
    """What occupies a socket's path, and the cure, for the end of a message. Empty: unknown."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        mode = None
    if mode is not None and not stat.S_ISSOCK(mode):
        return "it is not a socket; remove it or use another path"
    with suppress(OSError):
        pid = os.readlink(path + LOCK)
        if pid in (str(os.getpid()), str(os.getppid())):  # in an upgrade, the old process is the parent
            return "this proxy listens on it with other options; restart it to change the endpoint"
        cure = f"stop that process, or remove {path} and {path}{LOCK} if it has ended"
        return f"process {pid} holds its lock {path}{LOCK}; {cure}"
    return "" if mode is None else f"another process listens on it; stop that process, or remove {path} if it has ended"


def _is_stale(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return _is_own_lock(path)
    except (OSError, ValueError):
        return False
    if not stat.S_ISSOCK(mode):
        return False
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # its backlog is full, or it is not accessible
            return False
    return False


def _is_own_lock(path: str) -> bool:
    """A lock without a socket is stale if it names this process."""
    try:
        return os.readlink(path + LOCK) == str(os.getpid())
    except OSError:
        return False
