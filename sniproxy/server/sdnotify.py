"""Tells systemd the state of the program: the protocol of sd_notify(3), for units of C{Type=notify}.

Each message is one datagram of C{NAME=value} lines. A message that cannot be sent is dropped: the program must not wait
for its service manager.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from sniproxy.util.text import printable

T = TypeVar("T")

STATUS_INTERVAL_S = 5.0
"""Seconds between two looks at the status. It is sent if it has changed."""


class ServiceManager:
    """The service manager that started this process. No method waits for it, and none fails if it is gone.

    @param address: of its socket: a path, or C{@} and a name in the abstract namespace.
    @param watchdog_s: seconds after which it restarts a process that does not report. None: it has no watchdog.
    @param status: returns one line for C{systemctl status}.
    """

    def __init__(
        self, reactor: IReactorTime, address: str, watchdog_s: float | None, status: Callable[[], str]
    ) -> None:
        self._reactor = reactor
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._interval_s = STATUS_INTERVAL_S if watchdog_s is None else min(watchdog_s / 2, STATUS_INTERVAL_S)
        self._watchdog = watchdog_s is not None
        self._watchdog_us = 0 if watchdog_s is None else round(watchdog_s * 1e6)
        self._status = status
        self._shown = ""
        self._timer: Any = None

    def ready(self) -> None:
        """The program listens. From now on the watchdog and the status are fed."""
        self._shown = self._status()
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={printable(self._shown)}")
        self._shown = ""  # after an upgrade, the first report may come too early: repeat the status
        if self._timer is None:
            self._timer = self._reactor.callLater(self._interval_s, self._report)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that takes over from this one."""
        found = {"NOTIFY_SOCKET": self._address.replace("\0", "@")}
        if self._watchdog:
            found["WATCHDOG_USEC"] = str(self._watchdog_us)
        return found

    def hand_over(self, pid: int) -> None:
        """Another process is the main one. This one reports no more."""
        self._send(f"MAINPID={pid}")
        self.stop(None)

    def reloading(self) -> None:
        """A reload begins. L{reloaded} must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self, why: str | None) -> None:
        """A reload has ended. @param why: the reason of its failure; None: it succeeded."""
        self._shown = self._status() if why is None else f"reload failed, keeping the current configuration: {why}"
        self._send("READY=1", f"STATUS={printable(self._shown)}")

    def stopping(self) -> None:
        """The program drains and stops. The watchdog is fed until the reactor ends."""
        self._send("STOPPING=1", "STATUS=draining")

    def stop(self, result: T) -> T:
        """Stop feeding the watchdog. @return: the result that it was called with, for a Deferred."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return result

    def _report(self) -> None:
        self._timer = self._reactor.callLater(self._interval_s, self._report)
        status = self._status()
        lines = ["WATCHDOG=1"] if self._watchdog else []
        if status != self._shown:
            self._shown = status
            lines.append(f"STATUS={printable(status)}")
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # the log has all that matters, and a log line each time would fill it


def from_environment(
    environment: MutableMapping[str, str], pid: int, reactor: IReactorTime, status: Callable[[], str]
) -> ServiceManager | None:
    """The service manager, by C{NOTIFY_SOCKET}, C{WATCHDOG_USEC} and C{WATCHDOG_PID}. None: there is none.

    The variables are removed, so that child processes do not report in the name of this one.

    @param pid: of this process: a watchdog for another one is ignored.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds, watched = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(pid))
    if address[:1] not in ("/", "@"):
        return None
    watchdog_s = int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else 0.0
    return ServiceManager(reactor, address, watchdog_s if watchdog_s and watched == str(pid) else None, status)
