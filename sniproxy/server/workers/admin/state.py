"""What the supervisor itself knows of the proxy, for its admin endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sniproxy.admin.sources import Reloads
from sniproxy.admin.upgrades import OldProcess, Upgrade
from sniproxy.config.model import Configuration


class SupervisorState:
    """The supervisor writes it, the endpoint reads it.

    @param now: seconds since 1970.
    @ivar configuration: the current one. @ivar since: when it was loaded. @ivar started: when the proxy was started.
    @ivar ready: all workers have been ready, and the proxy is not stopping.
    @ivar upgrade: upgrades the program. None: the supervisor cannot upgrade itself.
    @ivar find_old_processes: returns workers that the configuration asks for no more and that have tunnels.
    @ivar reloads: a reload has succeeded when all workers have loaded the configuration.
    """

    def __init__(self, configuration: Configuration, now: Callable[[], float] = time.time) -> None:
        self.configuration = configuration
        self.started = self.since = self._before = now()
        self.ready = False
        self.upgrade: Upgrade | None = None
        self.reloads = Reloads()
        self.find_old_processes: Callable[[], Sequence[OldProcess]] = tuple
        self._now = now
        self._asked: set[int] = set()
        self._refused: set[int] = set()

    def use(self, configuration: Configuration) -> None:
        """Show another configuration, which a reload or an upgrade uses."""
        self._before = self.since
        self.configuration, self.since = configuration, self._now()

    def adopt(self, started: float, since: float, reloads: Reloads) -> None:
        """Continue with what the program before this one has shown."""
        self.started, self.since, self.reloads = started, since, reloads

    def restore(self, configuration: Configuration) -> None:
        """All workers have refused the configuration: show the one before."""
        self.configuration, self.since = configuration, self._before

    def reload_sent(self, workers: Iterable[int]) -> None:
        """Workers were sent the configuration. @param workers: their indexes."""
        self._asked, self._refused = set(workers), set()
        self._settle()

    def reload_failed(self, why: str) -> None:
        """The supervisor has refused a configuration."""
        self.reloads = self.reloads.with_failure(why, self._now())

    def reload_answered(self, worker: int, refused: bool = False) -> None:
        """A worker has loaded the configuration or refused it, or has ended. @param worker: its index."""
        if worker in self._asked:
            self._asked.discard(worker)
            if refused:
                self._refused.add(worker)
            self._settle()

    def _settle(self) -> None:
        if self._asked:
            return
        if self._refused:
            workers = ", ".join(map(str, sorted(self._refused)))
            self.reload_failed(f"refused by worker {workers}: see the log")
        else:
            self.reloads = self.reloads.with_success()
