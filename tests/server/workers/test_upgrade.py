"""Tests for sniproxy.server.workers.upgrade."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.upgrade.program import CommandLine
from sniproxy.server.workers import upgrade
from sniproxy.server.workers.ends import Replaced
from sniproxy.server.workers.handover import Result
from sniproxy.server.workers.post import HEARTBEAT, UPGRADE
from sniproxy.server.workers.process import START_TIMEOUT_S
from sniproxy.server.workers.upgrade import (
    COUNT_TIMEOUT_S,
    END_TIMEOUT_S,
    REPLACE_TIMEOUT_S,
    WorkersUpgrade,
)
from tests.support.reactor import as_reactor, reactor
from tests.support.sockets import links, opened_since

COMMAND = CommandLine(["python", "-m", "x"], "/folder")
DONE = Replaced(None, 3, 1, in_charge=True)


class FakeKept:
    """The kept sockets of a worker. @ivar sent: the number of sockets that the worker has got."""

    def __init__(self, reactor: object = None) -> None:
        self.sent = 0
        self.error: OSError | None = None

    def send(self, sock: socket.socket) -> None:
        if self.error is not None:
            raise self.error
        assert sock.fileno() >= 0
        self.sent += 1


class FakeWorker:
    """A worker without a process. @ivar answered: called by a test when its upgrade has ended."""

    answered: Callable[[Replaced], None]

    def __init__(self, index: int, pid: int) -> None:
        self.index = index
        self.pid = pid
        self.orders: list[tuple[str, str]] = []
        self.limits: list[tuple[float, str]] = []
        self.upgrading = self.exited = self.ready = False
        self.counts = StateCounts()

    def wait_for_upgrade(self, reactor: object, seconds: float, answered: Callable[[Replaced], None]) -> None:
        assert seconds in (REPLACE_TIMEOUT_S, START_TIMEOUT_S)
        self.answered = answered

    def send_order(self, what: str, text: str = "") -> None:
        self.orders.append((what, text))

    def kill_after(self, reactor: object, seconds: float, what: str) -> None:
        self.limits.append((seconds, what))


class FakeSupervisor:
    """Two workers. @ivar new: the workers that were started. @ivar promoted: those in charge.
    @ivar used: whether the checked configuration was used; None: neither used nor discarded."""

    def __init__(self) -> None:
        self.running = True
        self.workers = [(FakeWorker(index, 100 + index), FakeKept()) for index in (0, 1)]
        for worker, _ in self.workers:
            worker.ready = True
        self.new: list[FakeWorker] = []
        self.promoted: list[FakeWorker] = []
        self.used: bool | None = None
        self.wanted = 2
        self.retired = False
        self.added: list[FakeWorker | None] = []
        self.error: OSError | None = None

    def check(self, read: Callable[[], Configuration]) -> Callable[[bool], None]:
        read()

        def use(wanted: bool) -> None:
            assert self.used is None
            self.used = wanted

        return use

    def retire_surplus(self) -> None:
        assert self.used
        self.retired = True

    def add_missing(self) -> Iterator[tuple[int, FakeWorker | None]]:
        yield from enumerate(self.added, 2)

    def current(self) -> list[tuple[FakeWorker, FakeKept]]:
        return self.workers

    def start_successor(self, index: int, kept: FakeKept, channel: socket.socket) -> FakeWorker:
        if self.error is not None:
            raise self.error
        assert channel.fileno() >= 0 and kept not in [one for _, one in self.workers]
        self.new.append(FakeWorker(index, 200 + index))
        return self.new[-1]

    def promote(self, worker: FakeWorker, kept: FakeKept) -> None:
        self.promoted.append(worker)


class UpgradeTests(SynchronousTestCase):
    """WorkersUpgrade, with workers that have no process. The new program checks the configuration."""

    def setUp(self) -> None:
        before = links()
        self.addCleanup(lambda: self.assertEqual({}, opened_since(before)))
        self.clock = Clock()
        self.supervisor = cast(Any, FakeSupervisor())
        self.text = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n'
        self.upgrade = WorkersUpgrade(
            as_reactor(self.clock), self.supervisor, COMMAND, lambda: parse(self.text, "x.toml")
        )
        self.checked: list[tuple[object, ...]] = []
        fake: Any = self.clock
        fake.spawnProcess = self.check
        self.patch(upgrade, "KeptSockets", FakeKept)

    def check(self, check: Any, program: str, words: object, variables: object, folder: str, childFDs: Any) -> None:
        self.checked.append((program, words, folder, sorted(childFDs)))
        check.processEnded(Failure(ProcessDone(0)))

    def answer(self, index: int, replaced: Replaced) -> None:
        """Let a worker say how its upgrade has ended."""
        self.clock.advance(1)
        self.supervisor.workers[index][0].answered(replaced)

    def test_all(self) -> None:
        """All workers are replaced, one after the other; then the configuration is used."""
        running = self.upgrade.upgrade()
        self.assertEqual([("python", [*COMMAND.words, "--check"], "/folder", [0, 1, 2])], self.checked)
        self.assertEqual([0], [one.index for one in self.supervisor.new])
        self.assertEqual([(UPGRADE, "200")], self.supervisor.workers[0][0].orders)
        self.answer(0, DONE)
        self.assertEqual([0], [one.index for one in self.supervisor.promoted])
        self.assertEqual([(UPGRADE, "201")], self.supervisor.workers[1][0].orders)
        self.assertIsNone(self.supervisor.used)
        with capturedLogs() as logs:
            self.answer(1, DONE)
        self.assertEqual(UpgradeReport(None, os.getpid(), 6, 2, 2.0), self.successResultOf(running))
        self.assertEqual(["upgrade: replaced 2 workers: 6 tunnels moved"], [formatEvent(event) for event in logs])
        self.assertEqual(self.supervisor.new, self.supervisor.promoted)
        self.assertEqual([1, 1], [kept.sent for _, kept in self.supervisor.workers])
        self.assertEqual(([[], []], True), ([one.limits for one in self.supervisor.new], self.supervisor.used))

    def failed(self, replaced: Replaced) -> str:
        """The first worker is replaced, and the second is not. @return: the reason."""
        running = self.upgrade.upgrade()
        self.answer(0, DONE)
        with capturedLogs() as logs:
            self.answer(1, replaced)
        report = self.successResultOf(running)
        self.assertIn(f"upgrade failed: {report.why}", formatEvent(logs[0]))
        self.assertFalse(self.supervisor.used)
        return str(report.why)

    def test_failed(self) -> None:
        """If a worker cannot be replaced, it continues, and its successor has to end."""
        self.assertEqual("worker 1: no memory", self.failed(Replaced("no memory")))
        self.assertEqual([0], [one.index for one in self.supervisor.promoted])
        self.assertEqual([(END_TIMEOUT_S, "end after a failed upgrade")], self.supervisor.new[1].limits)

    def test_failed_with_tunnels(self) -> None:
        """A successor that has taken tunnels keeps them until they end, although it is not in charge."""
        self.failed(Replaced("killed", moved=1))
        self.assertEqual([0], [one.index for one in self.supervisor.promoted])
        self.assertEqual([], self.supervisor.new[1].limits)

    def test_not_all_tunnels(self) -> None:
        """A successor is in charge although it could not take all tunnels: it is not killed."""
        self.failed(Replaced("no descriptors", moved=0, stayed=5, in_charge=True))
        self.assertEqual(self.supervisor.new, self.supervisor.promoted)
        self.assertEqual([], self.supervisor.new[1].limits)

    def test_starting(self) -> None:
        """A worker that was started a moment ago is replaced when it is ready; if it does not become so, it is not."""
        first, second = (worker for worker, _ in self.supervisor.workers)
        first.ready = second.ready = False
        running = self.upgrade.upgrade()
        self.assertEqual(([], []), (first.orders, self.supervisor.new))
        self.answer(0, Replaced(None, in_charge=True))
        self.assertEqual(([(UPGRADE, "200")], []), (first.orders, self.supervisor.promoted))
        self.answer(0, DONE)
        self.answer(1, Replaced("it exited"))
        self.assertEqual("worker 1: it is not ready: it exited", self.successResultOf(running).why)
        self.assertEqual(([], 1), (second.orders, len(self.supervisor.new)))

    def test_died(self) -> None:
        """The successor of a worker that dies meanwhile takes over."""
        self.assertIn("it was killed", self.failed(Replaced("it was killed", died=True)))
        self.assertEqual(self.supervisor.new, self.supervisor.promoted)

    def late(self, tunnels: int) -> FakeWorker:
        """The first worker does not answer in time. @return: its successor, which has this number of tunnels."""
        running = self.upgrade.upgrade()
        self.answer(0, Replaced("it does not answer", late=True))
        self.assertEqual("worker 0: it does not answer", self.successResultOf(running).why)
        new: FakeWorker = self.supervisor.new[0]
        self.assertEqual([(HEARTBEAT, "")], new.orders)
        new.counts = StateCounts(tunnels)
        self.clock.advance(COUNT_TIMEOUT_S)
        return new

    def test_late(self) -> None:
        """A successor without tunnels has to end; one that has tunnels keeps them."""
        self.assertEqual([(END_TIMEOUT_S, "end after a failed upgrade")], self.late(0).limits)

    def test_late_with_tunnels(self) -> None:
        """One that has taken tunnels keeps them, and is in charge if the old one says so after all."""
        new = self.late(1)
        self.assertEqual(([], []), (new.limits, self.supervisor.promoted))
        self.answer(0, DONE)
        self.assertEqual([new], self.supervisor.promoted)

    def test_late_and_dead(self) -> None:
        """One that has ended by then is not killed."""
        new = self.late(1)
        new.exited = True
        self.answer(0, Replaced("no memory"))
        self.assertEqual([], new.limits)

    def test_upgrading(self) -> None:
        """A worker that has not answered to the upgrade before is not replaced."""
        self.supervisor.workers[0][0].upgrading = True
        why = self.successResultOf(self.upgrade.upgrade()).why
        self.assertIn("worker 0: it has not answered to the upgrade before", str(why))
        self.assertEqual([], self.supervisor.new)

    def test_fewer(self) -> None:
        """A worker that the configuration does not ask for has no successor, and accepts no more."""
        self.supervisor.wanted = 1
        running = self.upgrade.upgrade()
        self.answer(0, DONE)
        self.assertIsNone(self.successResultOf(running).why)
        self.assertEqual((1, True), (len(self.supervisor.new), self.supervisor.retired))

    def added(self, *workers: FakeWorker | None) -> Deferred[UpgradeReport]:
        """All workers are replaced, and the configuration asks for more."""
        self.supervisor.added = list(workers)
        running = self.upgrade.upgrade()
        for index in (0, 1):
            self.answer(index, DONE)
        return running

    def test_more(self) -> None:
        """Workers that the configuration asks for in addition are started, one after the other."""
        new = [FakeWorker(index, 300) for index in (2, 3)]
        running = self.added(*new)
        for one in new:
            self.assertNoResult(running)
            one.answered(Replaced(None, in_charge=True))
        self.assertIsNone(self.successResultOf(running).why)

    def test_more_fail(self) -> None:
        """If one of them does not become ready, or cannot be started, that is the reason."""
        new = FakeWorker(2, 300)
        running = self.added(new)
        new.answered(Replaced("it exited during the upgrade", died=True))
        self.assertEqual("worker 2: it exited during the upgrade", self.successResultOf(running).why)
        self.supervisor.used = None
        self.assertEqual("worker 2: cannot start it; see the log", self.successResultOf(self.added(None)).why)

    def test_replacement(self) -> None:
        """At last the supervisor's program is replaced; if it is not, that is the reason."""
        given: list[object] = []

        async def replace(result: Result, reload: Callable[[], bool], check: object) -> str:
            self.upgrade.when_idle()
            given.extend((result, reload(), check))
            return "no memory"

        replacement: Any = SimpleNamespace(replace=replace)
        self.upgrade._replacement = replacement
        report = self.successResultOf(self.added())
        self.assertEqual(("supervisor: no memory", 6, 2), (report.why, report.moved, report.stayed))
        self.assertEqual([Result(2, 6, 2, 0.0), True, self.upgrade._check_program], given)

    def test_gone(self) -> None:
        """A worker that has died before its turn needs no successor: the supervisor starts it again."""
        running = self.upgrade.upgrade()
        dead, _ = self.supervisor.workers[1]
        replaced = self.supervisor.workers[0][0]
        del self.supervisor.workers[1]
        replaced.answered(DONE)
        report = self.successResultOf(running)
        self.assertEqual((None, 3), (report.why, report.moved))
        self.assertEqual((1, []), (len(self.supervisor.new), dead.orders))

    def test_cannot_start(self) -> None:
        """If the system refuses the process, or the channel to the old worker, nothing is replaced."""
        refusal = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.supervisor.error = refusal
        why = self.successResultOf(self.upgrade.upgrade()).why
        self.assertEqual("worker 0: cannot start its successor: Resource temporarily unavailable", why)
        self.assertEqual(([], False), (self.supervisor.workers[0][0].orders, self.supervisor.used))

    def test_no_channel(self) -> None:
        """If the old worker cannot get the channel, its successor, which waits for an offer, has to end."""
        self.supervisor.workers[0][1].error = OSError(errno.EPIPE, "Broken pipe")
        why = self.successResultOf(self.upgrade.upgrade()).why
        self.assertEqual("worker 0: cannot start its successor: Broken pipe", why)
        self.assertEqual([(END_TIMEOUT_S, "end after a failed upgrade")], self.supervisor.new[0].limits)

    def test_stopping(self) -> None:
        """A stop ends the upgrade."""
        running = self.upgrade.upgrade()
        self.supervisor.running = False
        self.answer(0, DONE)
        self.assertEqual("the proxy is stopping", self.successResultOf(running).why)
        self.assertEqual((1, False), (len(self.supervisor.new), self.supervisor.used))

    def test_invalid(self) -> None:
        """A configuration that is invalid by now replaces nothing."""
        self.text = "colour = 1\n"
        self.assertIn("unknown key", str(self.successResultOf(self.upgrade.upgrade()).why))
        self.assertEqual([], self.supervisor.new)

    def test_broken(self) -> None:
        """So does a fault of a plugin while it is read."""

        def read() -> Configuration:
            raise ZeroDivisionError("x")

        upgrading = WorkersUpgrade(as_reactor(self.clock), self.supervisor, COMMAND, read)
        why = self.successResultOf(upgrading.upgrade()).why
        self.assertEqual("internal error while reading the configuration: ZeroDivisionError: x", why)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_one_at_a_time(self) -> None:
        """While one upgrade runs, another is refused; what waits for its end, continues then."""
        self.successResultOf(self.upgrade.when_idle())
        running = self.upgrade.upgrade()
        waiting = self.upgrade.when_idle()
        self.assertEqual("an upgrade is running", self.successResultOf(self.upgrade.upgrade()).why)
        self.assertNoResult(waiting)
        for index in (0, 1):
            self.answer(index, DONE)
        self.successResultOf(waiting)
        self.assertIsNone(self.successResultOf(running).why)
        self.supervisor.used = None
        again = self.upgrade.upgrade()
        for index in (0, 1):
            self.answer(index, DONE)
        self.assertIsNone(self.successResultOf(again).why)

    def test_signal(self) -> None:
        """A signal asks for an upgrade."""
        called: list[object] = []
        fake: Any = self.clock
        fake.callFromThread = called.append
        self.upgrade.at_signal(12, None)
        self.assertEqual([self.upgrade.upgrade], called)


class CheckTests(TestCase):
    """The new program checks the configuration. It is a small one here."""

    timeout = 60

    async def why(self, code: str, program: str = sys.executable, folder: str = "/") -> str:
        """Why the program is not used, after no worker was replaced."""
        supervisor: Any = FakeSupervisor()

        def read() -> Configuration:
            raise ConfigError("read")

        command = CommandLine([program, "-c", code], folder)
        report = await WorkersUpgrade(reactor, supervisor, command, read).upgrade()
        self.assertEqual(([], None), (supervisor.new, supervisor.used))
        return str(report.why)

    async def test_valid(self) -> None:
        """It gets the option, the folder, and exits with 0: next, this process reads the configuration."""
        code = "import os, sys; sys.exit((sys.argv[1:], os.getcwd()) != (['--check'], '/'))"
        self.assertEqual("read", await self.why(code))

    async def test_invalid(self) -> None:
        """The last line of its standard error is the reason; terminals are safe from it."""
        self.assertEqual("x.toml: bad", await self.why("import sys; sys.exit('warning\\nsniproxy: x.toml: bad\\n\\n')"))
        self.assertNotIn("\x1b", await self.why("import sys; sys.exit('\\x1b[2J')"))
        self.assertIn("No module named", await self.why("import nowhere"))
        said = "the new program exited with status 3 when it checked the configuration"
        self.assertEqual(said, await self.why("import sys; sys.exit(3)"))

    async def test_cannot_start(self) -> None:
        """The system refuses the process."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

        self.patch(reactor, "spawnProcess", refuse)
        self.assertEqual("cannot start python: Resource temporarily unavailable", await self.why("", "python"))

    async def test_systemd(self) -> None:
        """It knows the sockets that systemd has passed by their names."""
        self.patch(os, "environ", {**os.environ, "LISTEN_FDNAMES": "front:admin"})
        code = "import os, sys; e = os.environ; sys.exit(f\"{e['LISTEN_PID'] == str(os.getpid())} {e['LISTEN_FDS']}\")"
        self.assertEqual("True 2", await self.why(code))

    async def test_state(self) -> None:
        """It gets the state of the supervisor and a pipe for its answer, if these are given."""
        (state, writes), (reads, answer) = os.pipe(), os.pipe()
        for number in (state, writes, reads, answer):
            self.addCleanup(os.close, number)
        os.write(writes, b"the state")
        code = (
            "import os; a, b = map(int, os.environ['SNIPROXY_SUPERVISOR'].split(':')); os.write(b, os.read(a, 99)[4:])"
        )
        nothing: Any = None
        upgrading = WorkersUpgrade(reactor, nothing, CommandLine([sys.executable, "-c", code], "/"), nothing)
        self.assertIsNone(await upgrading._check_program(state, answer))
        self.assertEqual(b"state", os.read(reads, 99))

    async def test_killed(self) -> None:
        """A program that is killed has not checked it."""
        why = await self.why("import os; os.kill(os.getpid(), 9)")
        self.assertEqual("the new program was killed by SIGKILL when it checked the configuration", why)

    async def test_late(self) -> None:
        """A program that takes too long is killed."""
        self.patch(upgrade, "CHECK_TIMEOUT_S", 0.5)
        why = await self.why("import threading; threading.Event().wait()")
        self.assertEqual("the new program did not check the configuration within 0.5 s", why)
