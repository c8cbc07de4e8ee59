"""Upgrades of the program ``twistd sniproxy``: its pid file, its service manager, and its end."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.server.sdnotify import ServiceManager
from sniproxy.server.upgrade.program import CommandLine, Start, start_program
from sniproxy.util.reactor import IReactor

log = Logger()

PID_FILE = "pidfile"
"""The name of twistd's option."""

IDLE_INTERVAL_S = 1.0
"""Seconds between two looks whether a process that is not in charge has tunnels left."""


class Upgradable(Protocol):
    """What is upgraded: C{sniproxy.service.ProxyService}."""

    def upgrade(
        self,
        start: Start,
        in_charge: Callable[[int], None],
        end: Callable[[], None],
    ) -> Deferred[UpgradeReport]: ...

    def take_over(self, in_charge: Callable[[bool], None]) -> None: ...

    def retire(self, end: Callable[[], None]) -> None: ...

    @property
    def connections(self) -> int: ...


class ProgramUpgrade:
    """Both ends of upgrades of one program.

    @param twistd: its options. None: the program is not twistd.
    @param manager: the service manager. None: there is none.
    @param retired: called when another process is in charge, with its id; with None if this one retires without one.
    @param stop: stops this program.
    """

    def __init__(
        self,
        reactor: IReactor,
        proxy: Upgradable,
        command: CommandLine,
        twistd: MutableMapping[str, Any] | None,
        manager: ServiceManager | None,
        retired: Callable[[int | None], None],
        stop: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._command = command
        self._twistd = {} if twistd is None else twistd
        self._manager = manager
        self._retired = retired
        self._stop = stop

    def upgrade(self) -> Deferred[UpgradeReport]:
        """Replace this program. @return: fires with the result; the log has it, too."""
        if os.getpid() == 1:
            return succeed(
                UpgradeReport("this process is the first of its container, which ends with it; replace the container")
            )
        environment = {} if self._manager is None else dict(self._manager.environment)
        return self._proxy.upgrade(partial(start_program, self._command, environment), self._leave_charge, self._stop)

    def hand_over(self, start: Start) -> Deferred[UpgradeReport]:
        """Hand everything over to a process that another program starts. @return: as L{upgrade}."""
        return self._proxy.upgrade(start, self._leave_charge, self._stop)

    def retire(self) -> None:
        """Accept no more connections, and stop when those that are left have ended, or after a time."""
        self._proxy.retire(self._stop)
        self._retired(None)
        self._stop_when_idle()

    def at_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal that asks for an upgrade."""
        self._reactor.callFromThread(self.upgrade)

    def take_over(self, ready: Callable[[], None]) -> None:
        """Take over from the process that has started this one. @param ready: called when this process is in charge."""

        def in_charge(taken: bool) -> None:
            if not taken:
                log.error("upgrade: the old process continues; this one ends when it has no tunnels")
                self._stop_when_idle()
                return
            ready()

        self._proxy.take_over(in_charge)

    def _leave_charge(self, pid: int) -> None:
        """Another process is in charge, which has written the pid file."""
        self._twistd[PID_FILE] = ""  # twistd would remove it
        if self._manager is not None:
            self._manager.hand_over(pid)
        self._retired(pid)

    def _stop_when_idle(self) -> None:
        if self._proxy.connections:
            self._reactor.callLater(IDLE_INTERVAL_S, self._stop_when_idle)
        else:
            self._stop()


def write_pid_file(path: str, twistd: MutableMapping[str, Any] | None) -> None:
    """This process is in charge: write its pid file, which twistd removes at the end.

    @param path: empty: there is no such file. @param twistd: its options. None: the program is not twistd.
    """
    if not path or twistd is None:
        return
    try:
        try:
            _replace(path, f"{os.getpid()}")
        except PermissionError:  # of the folder
            with open(path, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
    except OSError as error:
        log.error("cannot write {path}: {why}; this process is {pid}", path=path, why=error.strerror, pid=os.getpid())
        return
    twistd[PID_FILE] = path


def _replace(path: str, text: str) -> None:
    """Replace a file at once. @raise OSError: it cannot be written."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "x", encoding="ascii") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
