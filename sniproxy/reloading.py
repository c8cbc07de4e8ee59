"""When the configuration is read again: when somebody says so, and, if it asks for that itself, when it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.task import LoopingCall

from sniproxy.settings import Configuration
from sniproxy.tls.reloading import EVERY, signature


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
        self._path = path
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._taken: object = None
        self._seen: object = None

    def start(self) -> None:
        """The configuration has just been read and is in force: watch it, if it says so."""
        self._note()
        self._turn()

    def stop(self) -> None:
        """Watch no longer."""
        if self._watch.running:
            self._watch.stop()

    def reload(self) -> None:
        """Read the configuration again; how that went is the proxy's to tell."""
        # Before the reading: what is written meanwhile is a change.
        self._note()
        self._proxy.reload(self._read)
        self._turn()

    def _note(self) -> None:
        self._taken = self._seen = None if self._path is None else signature(self._path)

    def _turn(self) -> None:
        wanted = self._path is not None and self._proxy.configuration.reload_on_change
        if wanted and not self._watch.running:
            self._watch.start(EVERY, now=False)
        elif not wanted and self._watch.running:
            self._watch.stop()

    def _look(self) -> None:
        assert self._path is not None
        before, self._seen = self._seen, signature(self._path)
        # Once it has changed it must be found the same twice: an editor may still be writing, and half a file can be a
        # good configuration, with half of the routes.
        if self._seen != self._taken and self._seen == before:
            self.reload()
