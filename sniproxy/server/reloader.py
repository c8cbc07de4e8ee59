"""Reloads the configuration on request, and when its file changes if C{reload_on_change} is set."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.config.model import Configuration
from sniproxy.util.files import FileWatch

log = Logger()


class Reloadable(Protocol):
    """A proxy that can reload, such as C{sniproxy.service.ProxyService}."""

    @property
    def configuration(self) -> Configuration: ...

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]: ...


class ReloadObserver(Protocol):
    """Follows the reloads of a proxy, such as L{sniproxy.server.sdnotify.ServiceManager}."""

    def reloading(self) -> None: ...

    def reloaded(self, why: str | None) -> None: ...


class Reloader:
    """Reloads a proxy.

    @param read: reads the configuration.
    @param observer: called when a reload begins and ends. None: nothing is.
    @param path: the file to watch while C{reload_on_change} is set. None: watch no file.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        proxy: Reloadable,
        read: Callable[[], Configuration],
        path: str | None = None,
        observer: ReloadObserver | None = None,
    ) -> None:
        self._proxy = proxy
        self._observer = observer
        self._read = read
        self._stopped = False
        self._successor: int | None = None
        self._watch = None if path is None else FileWatch(reactor, path, self.reload)

    def start(self) -> None:
        """Start watching the file, if the configuration says so. Call this after it was read for the first time."""
        if self._watch is not None:
            self._watch.note()
        self._update_watch()

    def stop(self, successor: int | None = None) -> None:
        """Stop watching.

        @param successor: the process that has taken over. A reload that is waiting here is passed on to it, because it
            may have read the file before the change. None: no process has taken over.
        """
        self._stopped, self._successor = True, successor
        if self._watch is not None:
            self._watch.stop()

    def reload(self) -> Deferred[str | None]:
        """Reload beside the traffic, after the reloads before. The proxy logs the outcome.

        @return: fires with why the reload failed; None if it succeeded.
        """
        if self._watch is not None:
            self._watch.note()
        if self._observer is not None:
            self._observer.reloading()
        # Later than now, the process id of a successor may be another program's.
        return self._proxy.reload_beside(self._read).addCallback(self._reloaded, may_pass=not self._stopped)

    def _reloaded(self, why: str | None, may_pass: bool) -> str | None:
        if may_pass and self._successor is not None:
            log.info("process {pid}, which has taken over, reloads instead", pid=self._successor)
            with suppress(ProcessLookupError):
                os.kill(self._successor, signal.SIGHUP)
        self._update_watch()
        if self._observer is not None:
            self._observer.reloaded(why)
        return why

    def _update_watch(self) -> None:
        if self._watch is None or self._stopped:
            return
        if self._proxy.configuration.reload_on_change:
            self._watch.start()
        else:
            self._watch.stop()
