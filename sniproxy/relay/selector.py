"""Selects the relay of plain tunnels, as a configuration asks: the engine, or the relay in Python."""

from __future__ import annotations

from typing import NamedTuple

from twisted.logger import Logger

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay import engine as relayengine
from sniproxy.relay.engine import EngineUnavailable, RelayEngine
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()

AUTO, ENGINE, PYTHON = "auto", "engine", "python"
"""What a configuration may ask for. C{auto}: the engine if it is available."""


def describe_relay(wanted: str, threads: int) -> str:
    """The relay that plain tunnels will get, and why. @raise EngineUnavailable: C{engine} was asked for."""
    if wanted == PYTHON:
        return PYTHON
    try:
        relayengine.load()
    except EngineUnavailable as error:
        if wanted == ENGINE:
            raise
        return f"{PYTHON}: {error}"
    return f"{ENGINE}, {counted(threads, 'thread')}"


class Selection(NamedTuple):
    """The relay of new plain tunnels.

    @ivar engine: None: the relay in Python. @ivar why: why it is not the engine. Empty: it is, or was not asked for.
    """

    engine: RelayEngine | None = None
    why: str = ""

    @property
    def relay(self) -> str:
        """C{engine} or C{python}."""
        return PYTHON if self.engine is None else ENGINE

    @property
    def text(self) -> str:
        """For people, as L{describe_relay}."""
        if self.engine is not None:
            return f"{ENGINE}, {counted(self.engine.threads, 'thread')}"
        return f"{PYTHON}: {self.why}" if self.why else PYTHON


class RelaySelector:
    """Starts the engine of one proxy when a configuration first asks for it, and keeps it until L{close}.

    @param closer: closes sockets of tunnels that have ended.
    @ivar engine: None: it does not run. It may have tunnels although Python is selected.
    @ivar selection: of the current configuration.
    """

    def __init__(self, reactor: IReactor, closer: LingeringCloser) -> None:
        self._reactor = reactor
        self._closer = closer
        self.engine: RelayEngine | None = None
        self.selection = Selection()
        self._logged = ""

    def prepare(self, wanted: str, threads: int) -> Selection:
        """Start the engine if it is wanted and does not run. @param threads: relay threads.

        @raise EngineUnavailable: C{engine} was asked for.
        """
        if wanted == PYTHON:
            return Selection()
        if self.engine is None:
            try:
                self.engine = RelayEngine(self._reactor, self._closer, threads)
            except EngineUnavailable as error:
                if wanted == ENGINE:
                    raise
                return Selection(None, str(error))
        return Selection(self.engine)

    def use(self, selection: Selection, threads: int) -> None:
        """Log which relay new tunnels get. Open ones keep theirs, and an engine that runs keeps its threads.

        @param threads: what the configuration asks for.
        """
        self.selection = selection
        if selection.text != self._logged:
            self._logged = selection.text
            log.info("relay: {text}", text=selection.text)
        if selection.engine is not None and selection.engine.threads != threads:
            cure = f"{selection.engine.threads} at start; restart to change it"
            log.warn("warning: relay_threads = {threads}: {cure}", threads=threads, cure=cure)

    @property
    def held(self) -> int:
        """Bytes that the engine's tunnels hold for slow readers."""
        return 0 if self.engine is None else self.engine.held

    @property
    def descriptors(self) -> int:
        """Descriptors of the engine's pipes."""
        return 0 if self.engine is None else 2 * self.engine.pipes

    def close(self) -> None:
        """Stop the engine. Call this after the last tunnel has ended."""
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()
