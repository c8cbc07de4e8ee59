"""Tests for sniproxy.server.upgrade.command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.server.upgrade import command
from sniproxy.server.upgrade.command import IDLE_INTERVAL_S, PID_FILE, ProgramUpgrade, write_pid_file
from sniproxy.server.upgrade.program import CommandLine, Start
from tests.support.reactor import as_reactor

REPORT = UpgradeReport(None, 7, 1, 2, 3.0)


class FakeProxy:
    """What is upgraded. @ivar taken: called by a test when this process is, or is not, in charge."""

    connections = 0
    taken: Callable[[bool], None]
    start: Start
    in_charge: Callable[[int], None]
    end: Callable[[], None]

    def upgrade(
        self, start: Start, in_charge: Callable[[int], None], end: Callable[[], None]
    ) -> Deferred[UpgradeReport]:
        self.start, self.in_charge, self.end = start, in_charge, end
        return succeed(REPORT)

    def take_over(self, in_charge: Callable[[bool], None]) -> None:
        self.taken = in_charge

    def retire(self, end: Callable[[], None]) -> None:
        self.end = end


class CommandCase(SynchronousTestCase):
    """An upgrade of a program. @ivar events: what it has called."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.proxy = FakeProxy()
        self.events: list[object] = []
        self.twistd: dict[str, Any] = {PID_FILE: "twistd.pid"}

    def made(self, twistd: bool = True, manager: bool = True) -> ProgramUpgrade:
        return ProgramUpgrade(
            as_reactor(self.clock),
            self.proxy,
            CommandLine(["python", "-m", "x"], "/folder"),
            self.twistd if twistd else None,
            self.manager() if manager else None,
            lambda successor: self.events.append(f"retired for {successor}"),
            lambda: self.events.append("stop"),
        )

    def manager(self) -> Any:
        return SimpleNamespace(environment={"NOTIFY_SOCKET": "@x"}, hand_over=self.events.append)


class UpgradeTests(CommandCase):
    """In the old process."""

    def begun(self, **made: Any) -> list[object]:
        """Begin an upgrade. @return: what starts the new process: the words and the variables."""
        started: list[object] = []
        self.patch(command, "start_program", lambda line, environment: started.append((line.words, environment)))
        self.assertEqual(REPORT, self.successResultOf(self.made(**made).upgrade()))
        self.proxy.start()
        return started

    def test_start(self) -> None:
        """The same command line is started, with the variables of the service manager."""
        self.assertEqual([(["python", "-m", "x"], {"NOTIFY_SOCKET": "@x"})], self.begun())
        self.assertEqual([(["python", "-m", "x"], {})], self.begun(manager=False))

    def test_retired(self) -> None:
        """Without a successor it accepts no more, and stops when no connection is left, or when its time is up."""
        self.proxy.connections = 1
        self.made().retire()
        self.assertEqual(["retired for None"], self.events)
        self.clock.advance(IDLE_INTERVAL_S)
        self.assertEqual(["retired for None"], self.events)
        self.proxy.connections = 0
        self.clock.advance(IDLE_INTERVAL_S)
        self.proxy.end()
        self.assertEqual(["retired for None", "stop", "stop"], self.events)

    def test_in_charge(self) -> None:
        """Then the service manager learns the new process, and twistd leaves the pid file to it."""
        self.begun()
        self.proxy.in_charge(7)
        self.assertEqual(([7, "retired for 7"], ""), (self.events, self.twistd[PID_FILE]))
        self.proxy.end()
        self.assertEqual("stop", self.events[-1])

    def test_embedded(self) -> None:
        """Another program than twistd has no pid file."""
        self.begun(twistd=False, manager=False)
        self.proxy.in_charge(7)
        self.assertEqual((["retired for 7"], "twistd.pid"), (self.events, self.twistd[PID_FILE]))

    def test_first(self) -> None:
        """The first process of a container cannot be replaced: the container ends with it."""
        self.patch(os, "getpid", lambda: 1)
        report = self.successResultOf(self.made().upgrade())
        self.assertIn("replace the container", str(report.why))
        self.assertEqual([], self.events)


class TakeOverTests(CommandCase):
    """In the new process."""

    def setUp(self) -> None:
        super().setUp()
        self.twistd[PID_FILE] = ""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "proxy.pid"

    def write(self, path: str = "") -> None:
        write_pid_file(path or str(self.file), self.twistd)

    def test_ready(self) -> None:
        """When this process is in charge, it says so."""
        self.made().take_over(lambda: self.events.append("ready"))
        self.assertEqual([], self.events)
        self.proxy.taken(True)
        self.assertEqual(["ready"], self.events)

    def test_pid_file(self) -> None:
        """The pid file is replaced at once, and twistd removes it at the end."""
        self.file.write_text("a longer number")
        self.write()
        self.assertEqual((str(os.getpid()), str(self.file)), (self.file.read_text(), self.twistd[PID_FILE]))
        self.assertEqual([self.file], list(self.folder.iterdir()))

    def test_none(self) -> None:
        """There may be no pid file; a program that is not twistd has none."""
        write_pid_file("", self.twistd)
        write_pid_file(str(self.file), None)
        self.assertEqual(("", []), (self.twistd[PID_FILE], list(self.folder.iterdir())))

    def test_folder(self) -> None:
        """In a folder that this process may not write to, the file itself is written."""

        def replace(path: str, text: str) -> None:
            raise PermissionError

        self.patch(command, "_replace", replace)
        self.file.write_text("a longer number")
        self.write()
        self.assertEqual(str(os.getpid()), self.file.read_text())

    def test_failure(self) -> None:
        """A pid file that cannot be written is reported with the process id."""
        with capturedLogs() as logs:
            self.write(str(self.folder / "none" / "proxy.pid"))
        [said] = [formatEvent(event) for event in logs]
        self.assertIn("proxy.pid: No such file or directory; this process is", said)
        self.assertEqual("", self.twistd[PID_FILE])

    def test_left_over(self) -> None:
        """A temporary file that another process has left is reported."""
        (self.folder / f"proxy.pid.{os.getpid()}").write_text("x")
        with capturedLogs() as logs:
            self.write()
        self.assertIn("cannot write", formatEvent(logs[0]))

    def test_not_in_charge(self) -> None:
        """The old process continues: this one stops when it has no connections, and is not ready before."""
        self.proxy.connections = 1
        with capturedLogs() as logs:
            self.made().take_over(lambda: self.events.append("ready"))
            self.proxy.taken(False)
        self.assertIn("the old process continues", formatEvent(logs[0]))
        for connections, events in ((1, []), (0, ["stop"])):
            self.proxy.connections = connections
            self.clock.advance(IDLE_INTERVAL_S)
            self.assertEqual(events, self.events)
        self.assertEqual([], self.clock.getDelayedCalls())
