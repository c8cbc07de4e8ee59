"""Starts the new process of an upgrade: the command line of this process, with the code that is on disk now."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Protocol

import attrs

from sniproxy.server.upgrade.channel import close_all, socket_pair
from sniproxy.util.text import printable

CHANNEL = "SNIPROXY_UPGRADE"
"""The environment variable of the new process with its end of the channel, and where its standard error goes after the
commit: two descriptors, as in C{5:6}."""

MAX_ERROR_BYTES = 4096
"""Bytes of the new process's standard error that are shown if it fails: the last ones."""

SYSTEMD_FIRST = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""

ADOPTING = (
    sys.executable,
    "-c",
    "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Runs a program as one to which systemd has passed sockets. Twisted looks for them when it is imported."""


class CannotStart(Exception):
    """The new process cannot be started. The message says why."""


@attrs.frozen
class CommandLine:
    """How this process was started. @ivar words: the program and its arguments. @ivar folder: its working directory."""

    words: Sequence[str]
    folder: str

    @classmethod
    def current(cls) -> CommandLine:
        """That of this process. Call it before twistd changes the working directory."""
        return cls([sys.executable, *sys.orig_argv[1:]], os.getcwd())


class Successor(Protocol):
    """The new process, as the old one sees it. @ivar pid: changes when a daemon's second process has started."""

    pid: int

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""

    def why(self) -> str:
        """Why it has closed the channel."""

    def errors(self) -> list[str]:
        """The last lines that it wrote, for the log."""

    def kill(self) -> None:
        """Kill it, if it has not ended."""

    def close(self) -> None:
        """It is in charge, or has failed."""


Start = Callable[[], tuple[Successor, socket.socket]]
"""Starts the new process. @return: behind it, this end of the channel to it. @raise CannotStart: it cannot."""


class Program:
    """The new process, from its start until it is in charge or has failed.

    Its standard error goes to a file in memory, because in a daemon's it would be lost.
    """

    def __init__(
        self,
        command: CommandLine,
        channel: socket.socket,
        environment: Mapping[str, str],
    ) -> None:
        """Start it. @param channel: its end, which is closed here.

        @param environment: its variables in addition to those of this process.
        @raise CannotStart: the system refuses.
        """
        self._errors = memory_file()
        count = systemd_sockets(os.environ)
        with channel:
            numbers = [
                fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, SYSTEMD_FIRST + count) for each in (channel.fileno(), 2)
            ]
        variables = {**os.environ, **environment, **systemd_variables(count), CHANNEL: "{}:{}".format(*numbers)}
        try:
            self._process = subprocess.Popen(
                [*(ADOPTING if count else ()), *command.words],
                cwd=command.folder,
                env=variables,
                stderr=self._errors,
                pass_fds=numbers,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(self._errors)
            raise CannotStart(f"cannot start {command.words[0]}: {error}") from error
        finally:
            close_all(numbers)
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended. A daemon's first process ends when its second one runs."""
        return self._process.poll() is not None

    def why(self) -> str:
        """How it ended, and the last line that it wrote to its standard error."""
        lines = self.errors()
        last = f": {lines[-1].strip()}" if lines else ""
        status = self._process.poll()
        if status is None:
            return f"it closed the channel{last}"
        return (f"status {status}" if status >= 0 else f"signal {-status}") + last

    def errors(self) -> list[str]:
        """The last lines of its standard error."""
        size = os.fstat(self._errors).st_size
        text = os.pread(self._errors, MAX_ERROR_BYTES, max(size - MAX_ERROR_BYTES, 0)).decode(errors="replace")
        return [printable(line) for line in text.splitlines() if line.strip()]

    def kill(self) -> None:
        """Kill it."""
        for pid in {self._process.pid, self.pid}:
            if pid != self._process.pid or not self.ended:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Forget its standard error."""
        os.close(self._errors)


def start_program(command: CommandLine, environment: Mapping[str, str]) -> tuple[Successor, socket.socket]:
    """Start the new process; see L{Start}. @param environment: its variables in addition to those of this process."""
    ours, theirs = socket_pair()
    try:
        return Program(command, theirs, environment), ours
    except CannotStart:
        ours.close()
        raise


def systemd_sockets(environment: Mapping[str, str]) -> int:
    """The number of sockets that systemd has passed to this process. Twisted has removed all but their names by now.

    The new process must know the names. It gets the sockets by the channel, because they have other descriptors now.
    """
    names = environment.get("LISTEN_FDNAMES", "")
    return 0 if "LISTEN_PID" in environment or not names else len(names.split(":"))


def systemd_variables(count: int) -> dict[str, str]:
    """The variables of a process that gets this number of sockets of systemd; it knows its own C{LISTEN_PID}."""
    return {"LISTEN_FDS": str(count)} if count else {}


def memory_file() -> int:
    """A file without a name. @return: its descriptor. @raise OSError: the system refuses."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sniproxy-upgrade")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def end_capture(standard_error: int) -> None:
    """In the new process: write what the file has to the real standard error, and use that from now on.

    @param standard_error: the descriptor of the real one, which is closed.
    """
    with suppress(OSError):
        written = os.pread(2, os.fstat(2).st_size, 0)
        os.dup2(standard_error, 2)
        while written:
            written = written[os.write(2, written) :]
    with suppress(OSError):
        os.close(standard_error)


def descriptors_from(environment: MutableMapping[str, str] = os.environ) -> tuple[int, int] | None:
    """The descriptors that L{CHANNEL} names; the first call only. None: no upgrade has started this process."""
    value = environment.pop(CHANNEL, None)
    if value is None:
        return None
    channel, standard_error = map(int, value.split(":"))
    for number in (channel, standard_error):
        os.set_inheritable(number, False)
    return channel, standard_error
