"""Options of ``twistd`` itself that concern the proxy: the pid file, the reactor, and the user."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from msgspec.structs import replace
from twisted.internet.base import ReactorBase

from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.logs.writer import STANDARD_OUTPUT

PID_FILE = "twistd.pid"
"""The default name of twistd's pid file."""

NO_STEADY_CLOCK = (
    "follows the time of day, so a clock change would move its deadlines; omit the option, or choose epoll, poll or "
    "asyncio"
)
"""Why a reactor is refused; follows the reactor's name."""


class NotStarted(Exception):
    """The program could not start; the message says why."""


def with_absolute_log(configuration: Configuration) -> Configuration:
    """With an absolute access log path: twistd may change its working directory before the log is opened."""
    path = configuration.access_log
    if path is None or path == STANDARD_OUTPUT:
        return configuration
    return replace(configuration, access_log=os.path.abspath(path))


def adjust_pid_file(twistd: MutableMapping[str, Any], words: Sequence[str]) -> None:
    """Write no pid file in the foreground unless the command line asks for one. Remove one that names this process.

    In a container the process can have the same id after each start, so twistd would believe that it runs already.

    @param twistd: its options. @param words: its command line.
    """
    if "pidfile" not in twistd:  # the program is not twistd
        return
    has_option = twistd["pidfile"] != PID_FILE or any(word.startswith("--pid") for word in words)
    if twistd["nodaemon"] and not has_option:
        twistd["pidfile"] = ""
    if twistd["pidfile"]:
        with suppress(OSError, ValueError):
            with open(twistd["pidfile"], encoding="ascii") as file:
                left = int(file.read())
            if left == os.getpid():
                os.unlink(twistd["pidfile"])


def take_pid_file(twistd: MutableMapping[str, Any]) -> str:
    """Let twistd not write its pid file, because another process is in charge yet.

    @return: the path. Empty: it has none.
    """
    path, twistd["pidfile"] = str(twistd.get("pidfile", "")), ""
    return path


def check_workers(twistd: Mapping[str, Any] | None, configuration: Configuration, replaces: bool) -> None:
    """@param replaces: the supervisor replaces a process without workers.

    @raise ConfigError: twistd has an option that cannot be used with workers, or they cannot have a socket.
    """
    for name in ("uid", "gid", "chroot"):
        if twistd is not None and twistd.get(name) is not None:
            raise ConfigError(
                f"twistd --{name} cannot be used with workers, because a restarted worker has no right to it; "
                "start the proxy that way, for example by User= of a systemd unit, with CAP_NET_BIND_SERVICE for ports "
                "below 1024"
            )
    for one in configuration.entrances:
        if replaces and one.endpoint.kind == "systemd":
            raise ConfigError(
                f"{configuration.filename}: workers = {configuration.workers}: 1 at start, and workers get the socket "
                f"of {one.key} from systemd; restart to change it"
            )


def check_worker_count(configuration: Configuration, before: int) -> None:
    """@raise ConfigError: C{workers} differs from that at the start of this program, which no reload changes."""
    if configuration.workers != before:
        cure = f"{before} at start; upgrade or restart to change it"
        raise ConfigError(f"{configuration.filename}: workers = {configuration.workers}: {cure}")


def worker_arguments(path: str, access_log: str | None) -> list[str]:
    """The arguments of a worker's twistd. @param path: the configuration file."""
    arguments = ["-n", "--pidfile=", "--logger", "sniproxy.server.workers.lines.observer", "sniproxy", "--config", path]
    if access_log is not None:
        arguments += ["--access-log", access_log if access_log == STANDARD_OUTPUT else os.path.abspath(access_log)]
    return arguments


def set_steady_clock(reactor: object) -> bool:
    """Give the reactor a monotonic clock. Call this before it has deadlines, which would follow the old clock.

    Twisted's clock is the time of day. Setting it back by an hour would delay all deadlines by an hour, and setting it
    forward would fire them all at once.

    @return: False: the reactor is not based on Twisted's base class, which asks C{seconds} for all deadlines.
    """
    if not isinstance(reactor, ReactorBase):
        return False
    reactor.seconds = monotonic
    return True


def log_rotation_warnings(twistd: Mapping[str, Any], configuration: Configuration) -> list[str]:
    """Warnings about log files that cannot be reopened after twistd has changed its user.

    It checks owners and modes of the folders, and no access control lists.
    """
    user = _user(twistd)
    if user is None or os.geteuid() != 0:
        return []
    found = []
    for path in _logs(configuration):
        folder = os.path.dirname(os.path.abspath(path))
        if not _may_write(folder, *user):
            found.append(
                f"--uid {user[0]} cannot create files in {folder}: after a rotation of {path}, lines go to the old "
                f"file; chown {folder} to that user, or let logrotate create the file (create 0640 USER GROUP)"
            )
    return found


def chown_logs(twistd: Mapping[str, Any], configuration: Configuration) -> None:
    """Change the owner of log files that root has opened to the user of C{--uid}, so that it can reopen them."""
    user = _user(twistd)
    if user is None or os.geteuid() != 0:
        return
    for path in _logs(configuration):
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1:
                os.chown(path, *user, follow_symlinks=False)


def uses_standard_output(configuration: Configuration) -> bool:
    """Whether the access log or the inspector's log goes to standard output."""
    return STANDARD_OUTPUT in _paths(configuration)


def _logs(configuration: Configuration) -> list[str]:
    """The files that log rotation renames."""
    return [path for path in _paths(configuration) if path is not None and path != STANDARD_OUTPUT]


def _paths(configuration: Configuration) -> list[str | None]:
    return [configuration.access_log, configuration.inspect_log.path if configuration.inspect_log else None]


def _user(twistd: Mapping[str, Any]) -> tuple[int, int] | None:
    """The user and group that twistd changes to. None: it does not change its user."""
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is None or uid == 0:
        return None
    if gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:  # twistd reports it
            gid = os.getegid()
    return uid, gid


def _may_write(folder: str, uid: int, gid: int) -> bool:
    try:
        status = os.stat(folder)
    except OSError:  # opening the log reports it
        return True
    needed = (stat.S_IWUSR | stat.S_IXUSR) if status.st_uid == uid else 0
    if not needed:
        needed = (stat.S_IWGRP | stat.S_IXGRP) if status.st_gid == gid else (stat.S_IWOTH | stat.S_IXOTH)
    return status.st_mode & needed == needed
