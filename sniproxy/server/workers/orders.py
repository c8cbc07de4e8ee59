"""What a worker does at the orders of its supervisor."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from typing import NoReturn, Protocol

from twisted.internet.defer import Deferred

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.server.reloader import Reloader
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.upgrade.program import CannotStart, Start, Successor
from sniproxy.server.workers import post
from sniproxy.server.workers.sockets import SocketChannel

BEATS_PER_COUNTS = 10
"""Heartbeats between two answers with the counts of this worker, of which each looks at all targets."""


class Worker(Protocol):
    """The proxy of a worker."""

    def counts(self) -> StateCounts: ...
    def reload(self, read: Callable[[], Configuration]) -> str | None: ...
    def reopen_logs(self) -> None: ...
    def end_now(self) -> None: ...


class Replaceable(Protocol):
    """The program of a worker; see L{sniproxy.server.upgrade.command.ProgramUpgrade}."""

    def hand_over(self, start: Start) -> Deferred[UpgradeReport]: ...
    def retire(self) -> None: ...


class Supervised:
    """A new worker as the old one sees it: the supervisor watches its process. @ivar pid: its process id."""

    ended = False

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def why(self) -> str:
        """The supervisor logs why."""
        return "it has closed the channel; see its lines in the log"

    def errors(self) -> list[str]:
        """The supervisor logs them."""
        return []

    def kill(self) -> None:
        """The supervisor kills it, if it does not end."""

    def close(self) -> None:
        """Nothing is open."""


class Orders:
    """Obeys orders.

    @param keeper: receives the channel of an upgrade. None: this worker cannot be upgraded.
    @param stop: stops the program, once.
    """

    def __init__(
        self,
        link: post.SupervisorLink,
        proxy: Worker,
        reloader: Reloader,
        keeper: SocketChannel | None,
        program: Replaceable,
        stop: Callable[[], None],
    ) -> None:
        self._keeper = keeper
        self._program = program
        self._link = link
        self._proxy = proxy
        self._reloader = reloader
        self._stop = stop
        self._beats = 0

    def obey(self, what: str, text: str) -> None:
        """Obey one order; see L{sniproxy.server.workers.post}."""
        report = self._link.report
        if what == post.HEARTBEAT:
            self._beats += 1
            counts = f" {self._proxy.counts().encode()}" if self._beats % BEATS_PER_COUNTS == 1 else ""
            report(f"{post.HEARTBEAT}{counts}")
        elif what == post.RELOAD:
            self._link.text = text
            self._reloader.reload().addCallback(lambda why: report(post.RELOADED if why is None else post.REFUSED))
        elif what == post.REFUSED:
            self._proxy.reload(partial(_raise, text))
        elif what == post.UPGRADE:
            self._program.hand_over(partial(self._start, int(text))).addCallback(self._upgraded)
        elif what == post.RETIRE:
            self._program.retire()
        elif what == post.REOPEN:
            self._proxy.reopen_logs()
        else:
            if what == post.END:
                self._proxy.end_now()
            self._stop()

    def _start(self, pid: int) -> tuple[Successor, socket.socket]:
        if self._keeper is None:
            raise CannotStart("this system passes no sockets between workers")
        try:
            return Supervised(pid), self._keeper.receive()
        except OSError as error:
            raise CannotStart(f"the channel to the new worker did not arrive: {error.strerror}") from error

    def _upgraded(self, report: UpgradeReport) -> None:
        result = json.dumps([report.why, report.moved, report.stayed, report.in_charge])
        self._link.report(f"{post.UPGRADED} {result}")


def _raise(why: str) -> NoReturn:
    raise ConfigError(why)
