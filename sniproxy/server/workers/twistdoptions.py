"""What options of ``twistd`` itself mean for the proxy: the pid file, the reactor, and the user that it becomes."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.logs.writer import STANDARD_OUTPUT

PID_FILE = "twistd.pid"
"""The name that twistd takes when none is given."""

NO_STEADY_CLOCK = (
    "follows the time of day, and deadlines would come early or late when the clock is set; leave the option out, or "
    "choose epoll, poll or asyncio"
)
"""Why a reactor is refused."""


def settle_pid_file(twistd: MutableMapping[str, Any], words: Sequence[str]) -> None:
    """In the foreground write no pid file unless one is asked for, and remove one that names this very process.

    A container's process has the same id after each start, so twistd would take itself for another one that runs.

    @param twistd: its options. @param words: its command line.
    """
    if "pidfile" not in twistd:  # another program than twistd
        return
    asked = twistd["pidfile"] != PID_FILE or any(word.startswith("--pid") for word in words)
    if twistd["nodaemon"] and not asked:
        twistd["pidfile"] = ""
    if twistd["pidfile"]:
        with suppress(OSError, ValueError):
            with open(twistd["pidfile"], encoding="ascii") as file:
                left = int(file.read())
            if left == os.getpid():
                os.unlink(twistd["pidfile"])


def check_workers(twistd: Mapping[str, Any] | None) -> None:
    """@raise ConfigError: twistd has an option that does not go together with workers."""
    for name in ("uid", "gid", "chroot"):
        if twistd is not None and twistd.get(name) is not None:
            raise ConfigError(
                f"twistd --{name} and workers do not go together: a worker that takes another's place would come "
                "too late for it; start it so, as by User= of a systemd unit, with CAP_NET_BIND_SERVICE for ports "
                "below 1024"
            )


def worker_arguments(path: str, access_log: str | None) -> list[str]:
    """The command line of the twistd that runs a worker. @param path: the configuration file."""
    arguments = ["-n", "--pidfile=", "--logger", "sniproxy.server.workers.lines.observer", "sniproxy", "--config", path]
    if access_log is not None:
        arguments += ["--access-log", access_log if access_log == STANDARD_OUTPUT else os.path.abspath(access_log)]
    return arguments


def set_steady_clock(reactor: Any) -> bool:
    """Let the reactor's deadlines follow a clock that is never set. @return: it can be done."""
    try:
        from sniproxy.relay import reactor as relayreactor
    except ImportError:  # a system without epoll
        return True
    return relayreactor.set_steady_clock(reactor)


def warn_of_logs(twistd: Mapping[str, Any], configuration: Configuration) -> list[str]:
    """What will go wrong with log rotation once twistd has become another user.

    The folders' owners and modes count; access control lists are not looked at.
    """
    user = _user(twistd)
    if user is None or os.geteuid() != 0:
        return []
    found = []
    for path in _logs(configuration):
        folder = os.path.dirname(os.path.abspath(path))
        if not _may_write(folder, *user):
            found.append(
                f"after --uid {user[0]} no file can be created in {folder}: when {path} is rotated, lines still go to "
                f"the old file; chown {folder} to that user, or let logrotate make the file (create 0640 USER GROUP)"
            )
    return found


def hand_over(twistd: Mapping[str, Any], configuration: Configuration) -> None:
    """Give files that root has opened to the user that twistd becomes, which then may open them again."""
    user = _user(twistd)
    if user is None or os.geteuid() != 0:
        return
    for path in _logs(configuration):
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1:
                os.chown(path, *user, follow_symlinks=False)


def _logs(configuration: Configuration) -> list[str]:
    """The files that log rotation moves away."""
    paths = [configuration.access_log, configuration.inspect_log.path if configuration.inspect_log else None]
    return [path for path in paths if path is not None and path != STANDARD_OUTPUT]


def _user(twistd: Mapping[str, Any]) -> tuple[int, int] | None:
    """The user and group that twistd becomes; None: it stays what it is."""
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is None or uid == 0:
        return None
    if gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:  # twistd says so
            gid = os.getegid()
    return uid, gid


def _may_write(folder: str, uid: int, gid: int) -> bool:
    try:
        status = os.stat(folder)
    except OSError:  # opening the log says why
        return True
    needed = (stat.S_IWUSR | stat.S_IXUSR) if status.st_uid == uid else 0
    if not needed:
        needed = (stat.S_IWGRP | stat.S_IXGRP) if status.st_gid == gid else (stat.S_IWOTH | stat.S_IXOTH)
    return status.st_mode & needed == needed
