"""Tests for sniproxy.server.workers.adopted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sniproxy.server.workers.adopted import AdoptedProcess
from tests.server.workers.handovers import worker_state
from tests.support.reactor import reactor

ANSWER = "import sys; print('got', input(), flush=True); sys.exit(3)"


class Collected(ProcessProtocol):
    """@ivar data: the output, by the number of the pipe. @ivar ended: fires with the reason of the end."""

    transport: Any

    def __init__(self) -> None:
        self.data: dict[int, bytes] = {}
        self.ended: Deferred[BaseException | None] = Deferred()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.data[childFD] = self.data.get(childFD, b"") + data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(reason.value)


class AdoptedTests(TestCase):
    """AdoptedProcess, with children that Twisted has not started."""

    timeout = 60

    def spawn(self, code: str) -> tuple[int, dict[int, int]]:
        """Start a child. @return: its process id; this end of its input and output, by their numbers."""
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)]
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, file_actions=actions)
        os.close(theirs_in)
        os.close(theirs_out)
        return pid, {0: ours_in, 1: ours_out}

    def adopt(self, pid: int, pipes: Mapping[int, int], **more: Any) -> Collected:
        found = Collected()
        for number in pipes.values():
            os.set_inheritable(number, True)
        state = worker_state(pid=pid, pipes=dict(pipes), orders=0, **more)
        AdoptedProcess(reactor, state, found)
        self.assertEqual(set(), {number for number in pipes.values() if os.get_inheritable(number)})
        return found

    async def test_runs(self) -> None:
        """Orders that were not sent are sent, its output is read, and its exit status collected."""
        found = self.adopt(*self.spawn(ANSWER), unsent=b"hello\n")
        reason = await found.ended
        assert isinstance(reason, ProcessTerminated)
        self.assertEqual((3, {1: b"got hello\n"}), (reason.exitCode, found.data))

    async def test_signalled(self) -> None:
        """It can be written to and killed."""
        pid, pipes = self.spawn("print(input(), flush=True); input()")
        found = self.adopt(pid, pipes)
        found.transport.writeToChild(0, b"x\n")
        found.transport.signalProcess("KILL")
        reason = await found.ended
        assert isinstance(reason, ProcessTerminated)
        self.assertEqual(signal.SIGKILL, reason.signal)

    async def test_ended(self) -> None:
        """It has ended by now."""
        pid, pipes = self.spawn("")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.assertIsInstance(await self.adopt(pid, pipes).ended, ProcessDone)

    async def test_collected(self) -> None:
        """Its status was collected before, and only its output is left: no other process with its number is touched."""
        reads, writes = os.pipe()
        os.write(writes, b"last")
        found = self.adopt(os.getpid(), {1: reads}, status=int(signal.SIGTERM), unsent=b"lost")
        self.assertIsNone(found.transport.pid)
        os.close(writes)
        reason = await found.ended
        assert isinstance(reason, ProcessTerminated)
        self.assertEqual((signal.SIGTERM, {1: b"last"}), (reason.signal, found.data))
