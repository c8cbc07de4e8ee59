"""Reloads the configuration on request, and when its file changes if C{reload_on_change} is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from sniproxy.config.model import Configuration
from sniproxy.util.files import FileWatch


class Reloadable(Protocol):
    """A proxy that can reload, such as C{sniproxy.service.ProxyService}."""

    @property
    def configuration(self) -> Configuration: ...

    def reload(self, read: Callable[[], Configuration]) -> str | None: ...


class Reloader:
    """Reloads a proxy.

    @param read: reads the configuration.
    @param path: the file to watch while C{reload_on_change} is set. None: watch no file.
    """

    def __init__(
        self, reactor: IReactorTime, proxy: Reloadable, read: Callable[[], Configuration], path: str | None = None
    ) -> None:
        self._proxy = proxy
        self._read = read
        self._watch = None if path is None else FileWatch(reactor, path, self.reload)

    def start(self) -> None:
        """Start watching the file, if the configuration says so. Call this after it was read for the first time."""
        if self._watch is not None:
            self._watch.note()
        self._update_watch()

    def stop(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.stop()

    def reload(self) -> str | None:
        """Reload now. The proxy logs the outcome. @return: why the reload failed; None if it succeeded."""
        if self._watch is not None:
            self._watch.note()
        why = self._proxy.reload(self._read)
        self._update_watch()
        return why

    def _update_watch(self) -> None:
        if self._watch is None:
            return
        if self._proxy.configuration.reload_on_change:
            self._watch.start()
        else:
            self._watch.stop()
