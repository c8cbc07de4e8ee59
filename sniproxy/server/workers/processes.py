"""The workers of a supervisor, and how a program hands them to the one that replaces it in the same process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.logger import Logger

from sniproxy.admin.upgrades import OldProcess
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from sniproxy.server.workers.handover import VERSIONS, Handover, Pause, Result, WorkerState
from sniproxy.server.workers.process import Worker
from sniproxy.server.workers.sockets import KeptSockets
from sniproxy.util.reactor import IReactor

log = Logger()


@attrs.define
class Processes:
    """The workers.

    @ivar current: by index. @ivar kept: the sockets that are kept for them.
    @ivar others: of upgrades: new ones that are not in charge yet, and old ones that have tunnels, with their sockets.
    @ivar pauses: the call that starts the worker of an index again, with the index and the pause.
    """

    current: dict[int, Worker] = attrs.field(factory=dict)
    kept: dict[int, KeptSockets] = attrs.field(factory=dict)
    others: dict[Worker, KeptSockets] = attrs.field(factory=dict)
    pauses: dict[int, Any] = attrs.field(factory=dict)

    def release(self) -> None:
        """Close all kept sockets of current workers."""
        for kept in self.kept.values():
            kept.release()

    def cancel_pauses(self) -> None:
        """Start no worker again."""
        while self.pauses:
            self.pauses.popitem()[1].cancel()

    def kill(self) -> None:
        """Kill the current workers, and forget them. Only while the reactor does not run."""
        for worker in self.current.values():
            worker.kill()
        self.current.clear()
        for kept in self.kept.values():
            kept.close_channel()
        self.release()

    def missing(self, count: int) -> list[int]:
        """The indexes of workers that do not run and are not to be started again. @param count: how many should run."""
        return [index for index in range(count) if index not in self.current and index not in self.pauses]

    def retire(self, count: int, ends: float) -> list[Worker]:
        """Forget the workers above a number. Those that run are others from now on.

        @param count: how many stay. @param ends: see L{Worker.ends}. @return: those that run.
        """
        for index in [index for index in self.pauses if index >= count]:
            self.pauses.pop(index).cancel()
        found = []
        for index in [index for index in self.kept if index >= count]:
            kept, worker = self.kept.pop(index), self.current.pop(index, None)
            if worker is None:
                kept.release()
            else:
                worker.ends = ends
                self.others[worker] = kept
                found.append(worker)
                log.info("worker {index} (pid {pid}) accepts no more connections", index=index, pid=worker.pid)
        return found

    def retired(self) -> list[Worker]:
        """The workers of L{retire} that run."""
        return [worker for worker in self.others if worker.ends is not None]

    def old_processes(self) -> list[OldProcess]:
        """The workers of L{retire} that have tunnels."""
        return [OldProcess(one.pid, one.counts.tunnels, one.ends) for one in self.retired() if one.counts.tunnels]

    def hand_over(
        self, now: float, admin: SupervisorAdmin, text: str, result: Result, reload: bool, pid_file: str
    ) -> Handover:
        """What the program that replaces this one must know. The descriptors stay open here.

        @param now: the reactor's time. @param text: see L{Handover}, as the others.
        """
        from sniproxy import __version__

        states = {one: one.hand_over(now) for one in self.current.values()}
        for one, kept in self.others.items():
            states[one] = replace(one.hand_over(now), sockets=kept.hand_over())
        shown, workers = admin.hand_over(states)
        return Handover(
            VERSIONS[0],
            __version__,
            text,
            tuple(workers),
            tuple(Pause(index, max(one.getTime() - now, 0.0), one.args[1]) for index, one in self.pauses.items()),
            {index: kept.hand_over() for index, kept in self.kept.items()},
            shown,
            result,
            reload,
            pid_file,
        )

    def adopt(
        self,
        reactor: IReactor,
        admin: SupervisorAdmin,
        handover: Handover,
        made: Callable[[int, float, float], Worker],
        start: Callable[[int, float], None],
    ) -> None:
        """Continue with what the program before this one has handed over.

        @param made: makes a worker without a process of its index, start and pause.
        @param start: starts the worker of an index after a pause.
        """
        adopted: list[tuple[Worker, WorkerState]] = []
        for index, sockets in handover.sockets.items():
            self.kept.setdefault(index, KeptSockets(reactor)).adopt(sockets)
        for state in handover.workers:
            worker = made(state.index, state.since, state.pause)
            if state.sockets is None:
                self.current[state.index] = worker
            else:
                self.others[worker] = KeptSockets(reactor)
                self.others[worker].adopt(state.sockets)
            adopted.append((worker, state))
        admin.adopt(handover.admin, dict(adopted))
        for pause in handover.pauses:
            self.pauses[pause.index] = reactor.callLater(pause.left, start, pause.index, pause.waited)
        for worker, state in adopted:  # one that has ended in the meantime says so at once
            worker.adopt(reactor, state)
