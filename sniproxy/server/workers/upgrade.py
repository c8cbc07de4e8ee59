"""Replaces all workers, one after the other, by processes with the code that is on disk, then the supervisor's program.

The supervisor pairs each worker with its successor; these two then speak as in L{sniproxy.server.upgrade}. If a worker
cannot be replaced, it continues, and so do those after it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.server.upgrade.channel import socket_pair
from sniproxy.server.upgrade.program import (
    ADOPTING,
    MAX_ERROR_BYTES,
    SYSTEMD_FIRST,
    CommandLine,
    systemd_sockets,
    systemd_variables,
)
from sniproxy.server.workers.ends import Replaced, describe_end
from sniproxy.server.workers.handover import Result
from sniproxy.server.workers.post import HEARTBEAT, UPGRADE
from sniproxy.server.workers.process import START_TIMEOUT_S, Worker
from sniproxy.server.workers.replacement import SupervisorReplacement
from sniproxy.server.workers.sockets import KeptSockets
from sniproxy.server.workers.takeover import STATE
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted, printable

log = Logger()

CHECK_TIMEOUT_S = 60.0
"""Seconds for the new program to check the configuration."""

END_TIMEOUT_S = 10.0
"""Seconds for a new worker to end after a failed upgrade, unless it has taken tunnels."""

REPLACE_TIMEOUT_S = 120.0
"""Seconds for a worker to hand its tunnels over. It has shorter limits of its own."""


COUNT_TIMEOUT_S = 5.0
"""Seconds for a new worker to say how many tunnels it has taken, if the old one does not answer."""


class Replaceable(Protocol):
    """The supervisor."""

    @property
    def running(self) -> object: ...

    def check(self, read: Callable[[], Configuration]) -> Callable[[bool], None]:
        """Read and check a configuration. @return: uses it if its argument is true.

        @raise ConfigError: it is invalid.
        """

    def current(self) -> Iterable[tuple[Worker, KeptSockets]]:
        """The workers, with the sockets that are kept for them."""

    @property
    def wanted(self) -> int:
        """The number of workers that the configuration asks for which was checked last."""

    def add_missing(self) -> Iterable[tuple[int, Worker | None]]:
        """Start the workers that the current configuration asks for in addition to those that were started.

        @return: each index, and the worker. None: it cannot be started now; it is started later.
        """

    def retire_surplus(self) -> None:
        """Let workers that the current configuration does not ask for accept no more connections."""

    def start_successor(self, index: int, kept: KeptSockets, channel: socket.socket) -> Worker:
        """Start a worker with the checked configuration. @raise OSError: the system refuses."""

    def promote(self, worker: Worker, kept: KeptSockets) -> None:
        """It is the worker of its index now. The one before keeps what it has until it exits."""


class _Check(ProcessProtocol):
    """The new program, while it checks the configuration. @ivar ended: fires with why it is refused, or None."""

    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[str | None] = Deferred()
        self._errors = b""
        self._late = False

    def errReceived(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-MAX_ERROR_BYTES:]

    def stop(self) -> None:
        """It takes too long."""
        self._late = True
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(self._why(reason.value))

    def _why(self, reason: BaseException | None) -> str | None:
        if self._late:
            return f"the new program did not check the configuration within {CHECK_TIMEOUT_S:g} s"
        if isinstance(reason, ProcessDone):
            return None
        lines = [line for line in self._errors.decode(errors="replace").splitlines() if line.strip()]
        if lines:
            return printable(lines[-1]).removeprefix("sniproxy: ")
        return f"the new program {describe_end(reason)} when it checked the configuration"


class WorkersUpgrade:
    """Upgrades of a supervisor's workers.

    @param command: starts this program. @param read: reads the configuration.
    @param replacement: replaces the supervisor's program. None: it keeps its program.
    """

    def __init__(
        self,
        reactor: IReactor,
        supervisor: Replaceable,
        command: CommandLine,
        read: Callable[[], Configuration],
        replacement: SupervisorReplacement | None = None,
    ) -> None:
        self._reactor = reactor
        self._supervisor = supervisor
        self._command = command
        self._read = read
        self._replacement = replacement
        self._running = False
        self._waiting: list[Deferred[None]] = []

    def upgrade(self) -> Deferred[UpgradeReport]:
        """Replace all workers. @return: fires with the result; the log has it, too."""
        return Deferred.fromCoroutine(self._upgrade())

    def when_idle(self) -> Deferred[None]:
        """Wait for the end of an upgrade. @return: fires when none is running."""
        if not self._running:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def at_signal(self, number: int, frame: object) -> None:
        """Handle a signal that asks for an upgrade."""
        self._reactor.callFromThread(self.upgrade)

    async def _upgrade(self) -> UpgradeReport:
        if self._running:
            return UpgradeReport("an upgrade is running")
        self._running, began = True, self._reactor.seconds()
        found: list[Replaced] = []
        try:
            why = await self._replace_all(found)
            if why is None and self._replacement is not None:
                result = Result(len(found), sum(one.moved for one in found), sum(one.stayed for one in found), began)
                why = await self._replacement.replace(result, lambda: bool(self._waiting), self._check_program)
                why = f"supervisor: {why}"
        finally:
            self._running = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)
        moved, stayed = sum(one.moved for one in found), sum(one.stayed for one in found)
        done = counted(sum(one.in_charge or one.died for one in found), "worker")
        if why is None:
            log.info("upgrade: replaced {workers}: {moved} moved", workers=done, moved=counted(moved, "tunnel"))
        else:
            log.error("upgrade failed: {why}; replaced {workers}", why=why, workers=done)
        return UpgradeReport(why, os.getpid(), moved, stayed, self._reactor.seconds() - began)

    async def _replace_all(self, found: list[Replaced]) -> str | None:
        """@return: why it failed. None: it succeeded."""
        why = await self._check_program()
        if why is not None:
            return why
        try:
            use = self._supervisor.check(self._read)
        except ConfigError as error:
            return str(error)
        except Exception as error:  # usually a fault of a resolver plugin
            log.failure("internal error while reading the configuration")
            return f"internal error while reading the configuration: {type(error).__name__}: {error}"
        complete = False
        try:
            # A worker that the new configuration does not ask for keeps its tunnels, and needs no successor.
            for index in [one.index for one, _ in self._supervisor.current() if one.index < self._supervisor.wanted]:
                if not self._supervisor.running:
                    return "the proxy is stopping"
                current = {worker.index: (worker, kept) for worker, kept in self._supervisor.current()}
                if index not in current:  # it has died by now, and is started again with the code that is on disk
                    continue
                replaced = await self._replace(*current[index])
                found.append(replaced)
                if replaced.why is not None:
                    return f"worker {index}: {replaced.why}"
            complete = True
        finally:
            use(complete)
        self._supervisor.retire_surplus()
        for index, worker in self._supervisor.add_missing():
            if worker is None:
                return f"worker {index}: cannot start it; see the log"
            if (why := await self._wait_until_ready(worker)) is not None:  # the supervisor tries again
                return f"worker {index}: {why}"
        return None

    async def _wait_until_ready(self, worker: Worker) -> str | None:
        """Wait for a worker that was started a moment ago. @return: why it is not ready. None: it is."""
        answer: Deferred[Replaced] = Deferred()
        worker.wait_for_upgrade(self._reactor, START_TIMEOUT_S, answer.callback)
        return (await answer).why

    async def _check_program(self, *state: int) -> str | None:
        """Let the new program check the configuration. @return: why it does not start. None: it does.

        @param state: the descriptors of the supervisor's state, which it checks, too, and of a pipe for its answer.
        """
        count = systemd_sockets(os.environ)
        passed = range(SYSTEMD_FIRST, SYSTEMD_FIRST + count)
        words = [*(ADOPTING if count else ()), *self._command.words, "--check"]
        variables = {**os.environ, **systemd_variables(count)}
        given = dict(enumerate(state, SYSTEMD_FIRST + count))
        if given:
            variables[STATE] = ":".join(map(str, given))
        check = _Check()
        try:
            self._reactor.spawnProcess(
                check, words[0], words, variables, self._command.folder,
                childFDs={0: 0, 1: "r", 2: "r", **{number: number for number in passed}, **given},
            )  # fmt: skip
        except OSError as error:
            return f"cannot start {words[0]}: {error.strerror}"
        timer = self._reactor.callLater(CHECK_TIMEOUT_S, check.stop)
        why = await check.ended
        if timer.active():
            timer.cancel()
        return why

    async def _replace(self, old: Worker, kept: KeptSockets) -> Replaced:
        if old.upgrading:
            return Replaced("it has not answered to the upgrade before; end it, and it is started again")
        # What it says when it is ready must not be taken for the end of its upgrade.
        if not old.ready and (why := await self._wait_until_ready(old)) is not None:
            return Replaced(f"it is not ready: {why}")
        ours, theirs = socket_pair()
        new_kept = KeptSockets(self._reactor)
        new: Worker | None = None
        try:
            with ours, theirs:
                new = self._supervisor.start_successor(old.index, new_kept, theirs)
                kept.send(ours)
        except OSError as error:
            if new is not None:
                new.kill_after(self._reactor, END_TIMEOUT_S, "end after a failed upgrade")
            return Replaced(f"cannot start its successor: {error.strerror}")
        answer: Deferred[Replaced] = Deferred()

        def settle(replaced: Replaced) -> None:
            if replaced.in_charge or replaced.died:  # the new one takes over from a dead one, too
                self._supervisor.promote(new, new_kept)
            elif replaced.late:  # it may still say that the new one is in charge
                new.send_order(HEARTBEAT)
                self._reactor.callLater(COUNT_TIMEOUT_S, self._end_without_tunnels, new)
                old.wait_for_upgrade(self._reactor, REPLACE_TIMEOUT_S, settle)
            elif not replaced.moved and not new.exited:  # the old one has told it to end; with tunnels it lives on
                new.kill_after(self._reactor, END_TIMEOUT_S, "end after a failed upgrade")

        def answered(replaced: Replaced) -> None:
            settle(replaced)
            answer.callback(replaced)

        old.wait_for_upgrade(self._reactor, REPLACE_TIMEOUT_S, answered)
        old.send_order(UPGRADE, str(new.pid))
        return await answer

    def _end_without_tunnels(self, new: Worker) -> None:
        """End a new worker that has not said that it has tunnels. Others keep theirs until they end."""
        if not new.counts.tunnels and not new.ready and not new.exited:
            new.kill_after(self._reactor, END_TIMEOUT_S, "end after a failed upgrade")
