"""Sends a configuration to all workers, and returns to the one before if all of them refuse it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from twisted.logger import Logger

from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.server.workers.admin.state import SupervisorState
from sniproxy.server.workers.post import REFUSED, RELOAD, RELOADED

log = Logger()


class Reloading(Protocol):
    """The supervisor. @ivar current_text: the text of C{configuration}."""

    configuration: Configuration
    current_text: str

    def check(self, read: Callable[[], Configuration]) -> Callable[[bool], None]: ...
    def tell(self, what: str, text: str = "") -> None: ...


class WorkersReload:
    """Reloads of a supervisor's workers.

    @param state: shows their results. @param indexes: returns those of the workers that run.
    """

    def __init__(self, supervisor: Reloading, state: SupervisorState, indexes: Callable[[], Collection[int]]) -> None:
        self._supervisor = supervisor
        self._indexes = indexes
        self._state = state
        self._before: tuple[Configuration, str] | None = None
        self._refused: set[int] = set()

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        """Check a configuration once, and send it to all workers.

        @param read: returns it, or raises C{ConfigError}.
        @return: why it was refused; None if it was sent.
        """
        supervisor = self._supervisor
        try:
            use = supervisor.check(read)
        except ConfigError as error:
            why = str(error)
        except Exception as error:  # usually a fault of a resolver plugin
            log.failure("internal error while reading the configuration")
            why = f"internal error while reading it: {type(error).__name__}: {error}"
        else:
            self._before = (supervisor.configuration, supervisor.current_text)
            self._refused = set()
            use(True)
            self._state.reload_sent(self._indexes())
            supervisor.tell(RELOAD, supervisor.current_text)
            return None
        log.error("reload failed, keeping the current configuration: {why}", why=why)
        self._state.reload_failed(why)
        # The workers show it in their metrics and pages.
        supervisor.tell(REFUSED, why)
        return why

    def answered(self, index: int, what: str) -> None:
        """A worker has reported L{RELOADED} or L{REFUSED}."""
        if what == RELOADED:
            self._before = None
            self._state.reload_answered(index)
        elif self._before is not None:
            self._refused.add(index)
            self._state.reload_answered(index, refused=True)
            if self._refused >= set(self._indexes()):
                # All workers have kept the previous configuration.
                (self._supervisor.configuration, self._supervisor.current_text), self._before = self._before, None
                self._state.restore(self._supervisor.configuration)
