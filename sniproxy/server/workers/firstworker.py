"""A supervisor that replaces a process without workers: its first worker takes over from that process.

The supervisor has read the offer, and has taken the socket of the admin endpoint. It passes the rest of the offer on to
the worker, with the channel: from then on the worker and the old process speak as in L{sniproxy.server.upgrade}. When
the worker is in charge, the supervisor answers requests and starts the other workers. If the worker ends before that,
the supervisor ends, too, and the old process continues.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sniproxy.config.model import Configuration
from sniproxy.config.workers import CannotStart
from sniproxy.server.upgrade.channel import socket_pair
from sniproxy.server.upgrade.predecessor import Predecessor
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from sniproxy.server.workers.ends import Replaced
from sniproxy.server.workers.process import Worker
from sniproxy.server.workers.sockets import KeptSockets
from sniproxy.util.reactor import IReactor

log = Logger()

ANSWER_TIMEOUT_S = 120.0
"""Seconds between two looks at a worker that is not in charge. The old process has shorter limits, and decides."""

CLOSE_DELAY_S = 10.0
"""Seconds for the old process to read that the worker is in charge. Until then this process has the channel open, too:
if the worker dies, the old process does not continue, because another worker does."""


class Starting(Protocol):
    """The supervisor."""

    admin: SupervisorAdmin
    configuration: Configuration

    @property
    def running(self) -> object: ...

    def start_successor(self, index: int, kept: KeptSockets, channel: socket.socket) -> Worker: ...

    def promote(self, worker: Worker, kept: KeptSockets) -> None: ...

    def add_missing(self) -> Iterable[tuple[int, Worker | None]]: ...


class FirstWorker:
    """The first worker.

    @param predecessor: the process without workers.
    @ivar waits: whether the worker is not in charge yet.
    """

    def __init__(self, reactor: IReactor, supervisor: Starting, predecessor: Predecessor) -> None:
        self.waits = True
        self._reactor = reactor
        self._supervisor = supervisor
        self._predecessor = predecessor
        self._kept = KeptSockets(reactor)
        admin = supervisor.configuration.admin
        if admin is not None and (sock := predecessor.take_admin(admin.endpoint.text)) is not None:
            supervisor.admin.use_socket(sock)

    def start(self) -> None:
        """Start the worker. The admin endpoint is open, and accepts nothing yet.

        @raise CannotStart: the system refuses.
        """
        self._supervisor.admin.hold()
        self._supervisor.admin.state.ready = False
        ours, theirs = socket_pair()
        with theirs:
            try:
                self._worker = self._supervisor.start_successor(0, self._kept, theirs)
            except OSError as error:
                ours.close()
                raise CannotStart(f"cannot start a worker: {error.strerror}") from error
        self._predecessor.pass_on(self._reactor, ours)

    def take_over(self, in_charge: Callable[[], None], failed: Callable[[], None]) -> None:
        """Take over when the worker does. Call this when the reactor runs.

        @param in_charge: called when this program is in charge.
        @param failed: called, to end this program, if the worker has ended before: the old process continues.
        """

        def answered(replaced: Replaced) -> None:
            if replaced.late:
                self._worker.wait_for_upgrade(self._reactor, ANSWER_TIMEOUT_S, answered)
            elif replaced.in_charge:
                self._begin()
                in_charge()
                self._supervisor.admin.serve()
                Deferred.fromCoroutine(self._start_others()).addErrback(
                    lambda failure: log.failure("internal error while starting workers", failure)
                )
            else:
                self._predecessor.refuse(f"worker 0: {self._worker.error or replaced.why}")
                self.stop()
                failed()

        self._worker.wait_for_upgrade(self._reactor, ANSWER_TIMEOUT_S, answered)

    def stop(self) -> None:
        """This program stops. If the worker is not in charge, close only this process's descriptors."""
        if self.waits:
            self.waits = False
            self._supervisor.admin.leave()
            self._predecessor.close()

    def _begin(self) -> None:
        self.waits = False
        self._supervisor.promote(self._worker, self._kept)
        self._predecessor.finish()
        self._reactor.callLater(CLOSE_DELAY_S, self._predecessor.close)

    async def _start_others(self) -> None:
        await self._supervisor.admin.learn_drains(self._worker)
        if self._supervisor.running:
            for index, worker in self._supervisor.add_missing():
                if worker is not None:
                    log.info("worker {index}: started, as process {pid}", index=index, pid=worker.pid)
