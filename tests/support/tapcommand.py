"""The program of sniproxy.tap with doubles around it: a proxy, a link to the upgrade, a reactor."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import tap
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.workers import stall
from sniproxy.tap import Command, Options
from sniproxy.util.reactor import IReactor

SHARED = '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n'
LISTENER = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'


class OutputCase(SynchronousTestCase):
    """Reads what is printed."""

    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)

    def ended(self, function: Callable[..., object], *args: Any) -> tuple[object, str, str]:
        """Call a function that ends the program. @return: exit status, standard output, standard error."""
        error = self.assertRaises(SystemExit, function, *args)
        return error.code, self.out.getvalue(), self.err.getvalue()


class FakeProxy:
    """A proxy that records its calls. @param error: raised at the start. @param refuses: why it refuses a reload."""

    def __init__(self, error: Exception | None = None, refuses: str | None = None) -> None:
        self.calls: list[str] = []
        self.configuration = parse(LISTENER, "x.toml")
        self.error = error
        self.refuses = refuses
        self.view = SimpleNamespace()
        self.first: Any = None

    def summary(self) -> str:
        return "0 tunnels"

    def counts(self) -> StateCounts:
        return StateCounts()

    def upgrade_by(self, command: object, read: object, surroundings: object) -> SimpleNamespace:
        return SimpleNamespace(at_signal=lambda number, frame: self.calls.append("upgrade workers"))

    def startService(self) -> None:
        if self.error is not None:
            raise self.error

    def stopService(self) -> Deferred[None]:
        self.calls.append("stop")
        return succeed(None)

    def end_now(self) -> None:
        self.calls.append("end")

    def reopen_logs(self) -> None:
        self.calls.append("reopen")

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        try:
            read()
        except ConfigError as error:
            self.calls.append(f"reload: {error}")
            return succeed(str(error))
        self.calls.append("reload")
        return succeed(self.refuses)

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        why: list[str | None] = []
        self.reload_beside(read).addCallback(why.append)
        return why[0]


class FakeLink:
    """A worker's link that records its reports."""

    def __init__(self) -> None:
        self.text = ""
        self.reports: list[str] = []
        self.obey: Callable[[str, str], None] = lambda what, text: None

    def receive_orders(self, reactor: object, obey: Callable[[str, str], None]) -> None:
        self.obey = obey

    def report(self, what: str) -> None:
        self.reports.append(what)


class FakeReactor:
    """Calls at once. @ivar stopped: how often it was stopped."""

    stopped = 0

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        function()

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()

    def stop(self) -> None:
        self.stopped += 1


class FakeUpgrade:
    """A L{ProgramUpgrade} that records its calls."""

    def __init__(self, *given: Any) -> None:
        *_, self.retired, self.stop = given
        self.calls: list[str] = []
        self.ready: Callable[[], None] = lambda: None

    def upgrade(self) -> None:
        self.calls.append("upgrade")

    def at_signal(self, number: int, frame: object) -> None:
        self.upgrade()

    def hand_over(self, start: object) -> None:
        self.calls.append("hand over")

    def take_over(self, ready: Callable[[], None]) -> None:
        self.calls.append("take over")
        self.ready = ready


class CommandCase(OutputCase):
    """A command whose proxy, upgrade and signals are recorded."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy, self.reactor = FakeProxy(), FakeReactor()
        self.handlers: dict[int, Callable[..., None]] = {}
        self.passed: list[int] = []
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(signal, "getsignal", lambda number: lambda number, frame: self.passed.append(number))
        self.made: list[FakeUpgrade] = []
        self.watched: list[str] = []
        watch = SimpleNamespace(start=lambda: self.watched.append("start"), stop=lambda: self.watched.append("stop"))
        self.patch(tap, "ProxyService", FakeProxy)
        self.patch(stall, "StallWatch", lambda reactor: watch)
        self.patch(tap, "ProgramUpgrade", self.make)

    def make(self, *given: Any) -> FakeUpgrade:
        self.made.append(FakeUpgrade(*given))
        return self.made[-1]

    def command(
        self, link: FakeLink | None = None, parent: dict[str, Any] | None = None, *warnings: str, **more: object
    ) -> Command:
        options = SimpleNamespace(
            proxy=self.proxy,
            post=link,
            parent=parent,
            warnings=list(warnings),
            again=lambda: self.proxy.configuration,
            changed=lambda: self.proxy.configuration,
            path=None,
            **{"predecessor": None, "pid_file": "", "command": None, "keeper": None, "takeover": None, **more},
        )
        return Command(cast(Options, options), cast(IReactor, self.reactor))

    def start(self, link: FakeLink | None = None) -> Command:
        command = self.command(link)
        command.privilegedStartService()
        return command

    def send(self, number: int) -> None:
        self.handlers[number](number, None)
