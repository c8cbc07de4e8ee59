"""When the configuration is read again: when somebody says so, and, if it asks for that itself, when it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sniproxy.config.model import Configuration
from sniproxy.util.files import FileWatch


class Reloadable(Protocol):
    """C{sniproxy.service.ProxyService} is one."""

    @property
    def configuration(self) -> Configuration: ...

    def reload(self, read: Callable[[], Configuration]) -> str | None: ...


class Reloader:
    """Reloads a proxy.

    @param read: gives the configuration as it is now.
    @param path: the file that is watched while C{reload_on_change} is in force. None: there is none.
    """

    def __init__(
        self, reactor: Any, proxy: Reloadable, read: Callable[[], Configuration], path: str | None = None
    ) -> None:
        self._proxy = proxy
        self._read = read
        self._watch = None if path is None else FileWatch(reactor, path, self.reload)

    def start(self) -> None:
        """The configuration has just been read and is in force: watch it, if it says so."""
        if self._watch is not None:
            self._watch.note()
        self._turn()

    def stop(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.stop()

    def reload(self) -> str | None:
        """Read the configuration again; how that went is the proxy's to tell. @return: as the proxy's own."""
        if self._watch is not None:
            self._watch.note()
        why = self._proxy.reload(self._read)
        self._turn()
        return why

    def _turn(self) -> None:
        if self._watch is None:
            return
        if self._proxy.configuration.reload_on_change:
            self._watch.start()
        else:
            self._watch.stop()
