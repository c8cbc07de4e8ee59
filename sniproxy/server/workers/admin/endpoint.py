"""The supervisor's admin endpoint: opened where the configuration says, moved by a reload."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import astuple, replace
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from sniproxy.admin.sources import Reloads
from sniproxy.admin.upgrades import OldProcess
from sniproxy.config.model import Configuration
from sniproxy.net.listener import hand_over, listen_at_once
from sniproxy.net.reuseport import KeptEndpoint
from sniproxy.server.build import Built
from sniproxy.server.workers.admin.drains import DrainKeeper
from sniproxy.server.workers.admin.queries import WorkerQueries
from sniproxy.server.workers.admin.site import WorkersSite
from sniproxy.server.workers.admin.state import SupervisorState
from sniproxy.server.workers.handover import AdminState, WorkerState
from sniproxy.server.workers.process import Worker
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

log = Logger()


class SupervisorAdmin:
    """The admin endpoint of all workers.

    @param workers: returns the current workers. @param old_processes: see L{SupervisorState.find_old_processes}.
    @ivar built: what was made from the configuration that was checked last. None: there was none.
    @ivar state: what the endpoint shows of the supervisor. @ivar drains: the drains of all workers.
    """

    def __init__(
        self,
        reactor: IReactor,
        configuration: Configuration,
        workers: Callable[[], Iterable[Worker]],
        old_processes: Callable[[], Sequence[OldProcess]] = tuple,
    ) -> None:
        self.built: Built | None = None
        self.state = SupervisorState(configuration)
        self.state.find_old_processes = old_processes

        def count() -> int:
            return self.state.configuration.workers

        self._queries = queries = WorkerQueries(workers, count)
        self.drains = DrainKeeper(reactor, queries, workers, count)
        self._site = WorkersSite(reactor, self.state, workers, queries, self.drains)
        self._reactor = reactor
        self._port: Any = None
        self._text: str | None = None
        self._adopted: socket.socket | None = None

    def start(self, configuration: Configuration) -> None:
        """Listen: all workers are ready. @raise CannotListenError: the endpoint cannot listen."""
        since = self.state.since
        self.prepare(configuration)(True)
        self.state.since, self.state.ready = since, True

    def prepare(self, configuration: Configuration) -> Callable[[bool], None]:
        """Listen where a configuration says, which was checked last, besides the present port.

        @return: uses the new port if its argument is true, else closes it. It does not fail.
        @raise CannotListenError: the endpoint cannot listen; nothing has changed.
        """
        admin, built = configuration.admin, self.built
        text = None if admin is None else admin.endpoint.text
        port = self._port
        if built is None or built.admin is None or text is None:
            port = None
        elif text != self._text:
            adopted, self._adopted = self._adopted, None
            endpoint = built.admin if adopted is None else KeptEndpoint(self._reactor, adopted)
            port = listen_at_once(endpoint, self._site, text)
            self._site.connections.accept_at(port)
        token = None if built is None else built.token

        def change(use: bool) -> None:
            if not use:
                if port is not None and port is not self._port:
                    port.stopListening()
                return
            before, self._port, self._text = self._port, port, text
            self.state.use(configuration)
            self._site.name_hosts(() if admin is None else admin.hosts)
            self._site.token = token
            if port is before:
                return
            if port is not None:
                bound = port.getHost()
                where = host_port(bound.host, bound.port) if isinstance(bound, IPv4Address | IPv6Address) else text
                log.info("admin: listening on {where}", where=where)
            if before is not None:
                before.stopListening()

        return change

    @property
    def busy(self) -> bool:
        """Whether requests are being answered, besides those that wait for the end of an upgrade."""
        return self._site.busy

    def hold(self) -> None:
        """Accept no connections until L{release}. Clients wait."""
        if self._port is not None:
            self._port.stopReading()

    def release(self) -> None:
        """Accept connections again."""
        if self._port is not None:
            self._port.startReading()

    def hand_over(self, workers: Mapping[Worker, WorkerState]) -> tuple[AdminState, list[WorkerState]]:
        """What the program that replaces this one must know. Call it when L{busy} is false.

        @return: behind it, the workers with what the endpoint knows of each.
        """
        past, seen = self._site.sums(workers)
        state = AdminState(
            self._text,
            None if self._port is None else self._port.fileno(),
            tuple((*key, drain.rate, drain.since) for key, drain in self.drains.drains.items()),
            self.state.started,
            self.state.since,
            astuple(self.state.reloads),
            *past,
            self._site.connections.promised,
        )
        confirmed = self.drains.confirmed
        return state, [
            replace(one, drains=confirmed(worker), totals=seen[worker][0], metrics=seen[worker][1])
            for worker, one in workers.items()
        ]

    def adopt(self, state: AdminState, workers: Mapping[Worker, WorkerState]) -> None:
        """Continue with what the program before this one has handed over. Call this before L{start}."""
        if state.socket is not None:
            os.set_inheritable(state.socket, False)
            self._adopted = socket.socket(fileno=state.socket)
        self.state.adopt(state.started, state.since, Reloads(*state.reloads))
        self.drains.restore(state.drains)
        for worker, one in workers.items():
            self.drains.adopt(worker, one.drains)
        seen = {worker: (one.totals, one.metrics) for worker, one in workers.items()}
        self._site.restore((state.totals, state.metrics), seen)

    def use_socket(self, sock: socket.socket) -> None:
        """Use the socket of another process, which this one replaces. Call this before L{start}."""
        self._adopted = sock

    def serve(self) -> None:
        """This process is in charge: accept connections."""
        self.state.ready = True
        self.release()

    def leave(self) -> None:
        """Close only this process's descriptor: another process continues to listen on the socket, or on the path."""
        if self._port is not None:
            hand_over(self._port)
        self._port = self._text = None

    async def learn_drains(self, worker: Worker) -> None:
        """Continue with the drains that a worker has begun by itself, in all workers."""
        if self.state.configuration.admin is None:
            return
        replies = await self._queries.send("GET", "/status?tunnels=0", [worker])
        for body in replies.bodies().values():
            self.drains.learn(worker, json.loads(body)["drains"])

    def lock(self, wanted: bool) -> None:
        """Lock the path of a UNIX socket, or unlock it because another program has the socket."""
        lock = getattr(self._port, "lockFile", None)
        if lock is not None and lock.locked != wanted:
            with suppress(OSError, ValueError):  # the folder may be another user's
                lock.lock() if wanted else lock.unlock()

    def ended(self, worker: Worker) -> None:
        """A worker has ended."""
        self.drains.ended(worker)
        self.state.reload_answered(worker.index)
        self._site.ended(worker)

    def replaced(self, worker: Worker) -> None:
        """Another worker has taken over from this one. What it has counted stays in the sums."""
        self.drains.ended(worker)
        self._site.ended(worker)

    def stopping(self) -> None:
        """The workers begin to drain."""
        self.state.ready = False
        self.drains.stop()

    def close(self) -> Deferred[None]:
        """Stop listening. @return: fires when the path of a UNIX socket is removed."""
        port, self._port, self._text = self._port, None, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)
