"""Tests for sniproxy.server.workers.replacement."""

from __future__ import annotations

import errno
import os
import signal
import socket
import tempfile
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.upgrade.program import CommandLine
from sniproxy.server.workers import replacement
from sniproxy.server.workers.handover import Handover, Result, decode
from sniproxy.server.workers.replacement import BLOCKED, CANNOT, REQUESTS_TIMEOUT_S, SupervisorReplacement
from sniproxy.server.workers.takeover import STATE
from tests.server.workers.handovers import admin_state, handover
from tests.support.reactor import as_reactor
from tests.support.sockets import links, opened_since

RESULT = Result(2, 6, 1, 0.5)


class FakeAdmin:
    """@ivar busy: requests are being answered. @ivar did: the calls."""

    def __init__(self) -> None:
        self.busy = False
        self.did: list[str] = []

    def hold(self) -> None:
        self.did.append("hold")

    def release(self) -> None:
        self.did.append("release")

    def lock(self, wanted: bool) -> None:
        self.did.append("lock" if wanted else "unlock")


class FakeSupervisor:
    """A supervisor without workers. @ivar number: a descriptor that it hands over."""

    def __init__(self, number: int) -> None:
        self.running = True
        self.admin: Any = FakeAdmin()
        self.number = number

    def hand_over(self, result: Result, reload: bool, pid_file: str) -> Handover:
        return handover(
            workers=(), sockets={}, admin=admin_state(socket=self.number), result=result, reload=reload,
            pid_file=pid_file,
        )  # fmt: skip


class ReplacementTests(SynchronousTestCase):
    """SupervisorReplacement, without execve(2)."""

    def setUp(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        before = links()
        self.addCleanup(lambda: self.assertEqual({}, opened_since(before)))
        self.clock = Clock()
        self.supervisor = FakeSupervisor(listening.fileno())
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.answers = True
        self.why: str | None = None
        self.executed: list[tuple[str, list[str], Mapping[str, str]]] = []
        self.error: OSError | None = None
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.addCleanup(self.check_unchanged, os.getcwd())

    def check_unchanged(self, folder: str) -> None:
        """This program continues as before."""
        self.assertEqual(self.mask, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        self.assertEqual(folder, os.getcwd())
        self.assertFalse(os.get_inheritable(self.supervisor.number))

    async def check(self, state: int, answer: int) -> str | None:
        """The new program checks the document."""
        self.assertEqual(RESULT, self.read(state).result)
        if self.answers:
            os.write(answer, b"ok\n")
        return self.why

    def read(self, state: int) -> Handover:
        return decode(os.pread(state, os.fstat(state).st_size, 0))

    def execute(self, program: str, words: list[str], variables: Mapping[str, str]) -> None:
        self.executed.append((program, words, variables))
        if self.error is not None:
            raise self.error
        self.assertEqual(os.path.realpath(self.folder), os.getcwd())
        self.assertTrue(set(BLOCKED) <= signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        state = int(variables[STATE])
        for number in (state, self.supervisor.number):
            self.assertTrue(os.get_inheritable(number))
        found = self.read(state)
        self.assertEqual(("/run/x.pid", True), (found.pid_file, found.reload))

    def replace(self) -> Deferred[str]:
        one = SupervisorReplacement(
            as_reactor(self.clock),
            self.supervisor,
            CommandLine(["python", "run.py"], self.folder),
            lambda: ({"NOTIFY_SOCKET": "/run/notify"}, "/run/x.pid"),
            self.execute,
        )
        running = Deferred.fromCoroutine(one.replace(RESULT, lambda: True, self.check))
        for _ in range(3):
            self.clock.advance(0)
        return running

    def test_executed(self) -> None:
        """The new program gets the document, the descriptors and the variables, in the folder of the first one."""
        self.patch(os, "environ", {"PATH": "/bin"})
        self.assertEqual("it did not start", self.successResultOf(self.replace()))
        ((program, words, variables),) = self.executed
        self.assertEqual(("python", ["python", "run.py"]), (program, words))
        self.assertEqual({"PATH": "/bin", "NOTIFY_SOCKET": "/run/notify", STATE: variables[STATE]}, variables)
        self.assertEqual(["hold", "unlock", "lock", "release"], self.supervisor.admin.did)

    def test_systemd(self) -> None:
        """It gets the sockets that systemd has passed, and that are open; this process has its id."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.patch(replacement, "SYSTEMD_FIRST", listening.fileno())
        self.patch(replacement, "systemd_sockets", lambda environment: 1)
        self.replace()
        variables = self.executed[0][2]
        self.assertEqual(("1", str(os.getpid())), (variables["LISTEN_FDS"], variables["LISTEN_PID"]))
        self.assertEqual([listening.fileno()], replacement._passed(1))
        listening.close()
        self.assertEqual([], replacement._passed(1))
        with tempfile.TemporaryFile() as file:
            self.patch(replacement, "SYSTEMD_FIRST", file.fileno())
            self.assertEqual([], replacement._passed(1))

    def test_refused(self) -> None:
        """The new program does not start, or cannot read the document: nothing is held."""
        self.why = "No module named 'x'"
        self.assertEqual(self.why, self.successResultOf(self.replace()))
        self.assertEqual(([], []), (self.executed, self.supervisor.admin.did))

    def test_other_release(self) -> None:
        """The new program checks its configuration, and does not know of supervisors that are replaced."""
        self.answers = False
        self.assertEqual(CANNOT, self.successResultOf(self.replace()))
        self.assertEqual([], self.executed)

    def test_cannot_execute(self) -> None:
        """The system refuses the program, or the folder is gone."""
        self.error = OSError(errno.ENOENT, "No such file or directory")
        self.assertEqual("cannot execute python: No such file or directory", self.successResultOf(self.replace()))
        self.assertEqual(1, len(self.executed))
        os.rmdir(self.folder)
        self.assertEqual("cannot execute python: No such file or directory", self.successResultOf(self.replace()))
        self.assertEqual(1, len(self.executed))
        self.assertEqual("release", self.supervisor.admin.did[-1])

    def test_requests(self) -> None:
        """Requests that are being answered are waited for, for some time."""
        self.supervisor.admin.busy = True
        running = self.replace()
        self.assertNoResult(running)
        self.supervisor.admin.busy = False
        self.clock.advance(1)
        self.successResultOf(running)
        self.supervisor.admin.busy = True
        running = self.replace()
        self.clock.pump([0.1] * int(REQUESTS_TIMEOUT_S * 10 + 2))
        self.successResultOf(running)
        self.assertEqual(2, len(self.executed))

    def test_stop(self) -> None:
        """A stop that comes meanwhile has priority."""
        self.supervisor.admin.busy = True
        running = self.replace()
        self.supervisor.running = False
        self.supervisor.admin.busy = False
        self.clock.advance(1)
        self.assertEqual("the proxy is stopping", self.successResultOf(running))
        self.assertEqual([], self.executed)
