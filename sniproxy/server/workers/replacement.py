"""Replaces the supervisor's program in the same process, by execve(2), after its workers.

The process keeps its id, its children, and the descriptors that L{sniproxy.server.workers.handover} names. Before that,
the new program shows that it can read that document. Until execve(2) succeeds, this program can continue.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Protocol

from twisted.internet.task import deferLater
from twisted.logger import Logger

from sniproxy.server.upgrade.program import (
    SYSTEMD_FIRST,
    CommandLine,
    memory_file,
    systemd_sockets,
    systemd_variables,
)
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from sniproxy.server.workers.handover import Handover, Result, encode
from sniproxy.server.workers.takeover import STATE
from sniproxy.util.reactor import IReactor

log = Logger()

REQUESTS_TIMEOUT_S = 6.0
"""Seconds for the requests to the admin endpoint that are being answered. Later ones are cut."""

LOOK_INTERVAL_S = 0.05
"""Seconds between two looks at them."""

BLOCKED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that wait until the new program has its handlers: the default actions of these end the process."""

CANNOT = "the new program cannot take over from the supervisor of this release; restart when it suits"
"""The reason if the new program does not know of supervisors that are replaced."""


class Replaceable(Protocol):
    """The supervisor."""

    admin: SupervisorAdmin

    @property
    def running(self) -> object: ...

    def hand_over(self, result: Result, reload: bool, pid_file: str) -> Handover: ...


Check = Callable[[int, int], Awaitable[str | None]]
"""Lets the new program check the document with this descriptor. The second one is that of a pipe for its answer.

@return: why it fails. None: it has not."""


class SupervisorReplacement:
    """Replaces the program of a supervisor.

    @param command: starts it. @param surroundings: returns its variables in addition to those of this process, and the
        path of the pid file.
    @param execute: execve(2).
    """

    def __init__(
        self,
        reactor: IReactor,
        supervisor: Replaceable,
        command: CommandLine,
        surroundings: Callable[[], tuple[Mapping[str, str], str]],
        execute: Callable[[str, list[str], Mapping[str, str]], object] = os.execve,
    ) -> None:
        self._reactor = reactor
        self._supervisor = supervisor
        self._command = command
        self._surroundings = surroundings
        self._execute = execute

    async def replace(self, result: Result, reload: Callable[[], bool], check: Check) -> str:
        """Replace the program.

        @param reload: returns whether a reload waits for the end of the upgrade.
        @return: why it was not replaced. If it is, this does not return.
        """
        why = await self._check(result, check)
        if why is not None:
            return why
        admin = self._supervisor.admin
        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        admin.hold()
        try:
            await self._wait_for_requests()
            # Signals that came before they were blocked are handled by now.
            if not self._supervisor.running:
                return "the proxy is stopping"
            return self._replace(result, reload())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            admin.release()

    async def _check(self, result: Result, check: Check) -> str | None:
        """Let the new program read the document. @return: why it cannot. None: it can."""
        with ExitStack() as stack:
            state = _file_with(encode(self._supervisor.hand_over(result, False, "")))
            stack.callback(os.close, state)
            reads, writes = os.pipe()
            stack.callback(os.close, reads)
            stack.callback(os.close, writes)
            os.set_blocking(reads, False)
            why = await check(state, writes)
            if why is not None:
                return why
            try:
                answered = os.read(reads, 16)
            except BlockingIOError:
                answered = b""
            return None if answered else CANNOT

    async def _wait_for_requests(self) -> None:
        until = self._reactor.seconds() + REQUESTS_TIMEOUT_S
        for _ in range(2):  # calls that a signal has made
            await deferLater(self._reactor, 0, lambda: None)
        while self._supervisor.admin.busy and self._reactor.seconds() < until:
            await deferLater(self._reactor, LOOK_INTERVAL_S, lambda: None)

    def _replace(self, result: Result, reload: bool) -> str:
        environment, pid_file = self._surroundings()
        words = list(self._command.words)
        handover = self._supervisor.hand_over(result, reload, pid_file)
        log.info("upgrade: replacing the supervisor's program, in process {pid}", pid=os.getpid())
        with ExitStack() as undo:
            try:
                undo.callback(os.chdir, os.getcwd())
                os.chdir(self._command.folder)
                state = _file_with(encode(handover))
                undo.callback(os.close, state)
                count = systemd_sockets(os.environ)
                for number in (state, *handover.descriptors(), *_passed(count)):
                    undo.callback(os.set_inheritable, number, os.get_inheritable(number))
                    os.set_inheritable(number, True)
                self._supervisor.admin.lock(False)
                undo.callback(self._supervisor.admin.lock, True)
                variables = {**os.environ, **environment, **systemd_variables(count), STATE: str(state)}
                if count:
                    variables["LISTEN_PID"] = str(os.getpid())
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, ValueError):
                        stream.flush()
                self._execute(words[0], words, variables)
            except OSError as error:
                return f"cannot execute {words[0]}: {error.strerror}"
        return "it did not start"


def _file_with(data: bytes) -> int:
    """A file without a name that has these bytes. @return: its descriptor. @raise OSError: there is no memory."""
    number = memory_file()
    with open(number, "wb", closefd=False) as file:
        file.write(data)
    return number


def _passed(count: int) -> list[int]:
    """The sockets that systemd has passed and that are still open."""
    found = []
    for number in range(SYSTEMD_FIRST, SYSTEMD_FIRST + count):
        with suppress(OSError):  # it is closed, or something else by now
            sock = socket.socket(fileno=number)
            try:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.append(number)
            finally:
                sock.detach()
    return found
