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


class RelayState(NamedTuple):
    """The relay of new plain tunnels, and the engine's figures.

    @ivar relay: C{engine} or C{python}. @ivar why: why not the engine; empty: it is the engine, or was not asked for.
    @ivar threads: of the engine. 0: it does not run. @ivar tunnels: open tunnels of the engine.
    @ivar held: bytes that its tunnels hold for slow readers. @ivar pipes: its open pipes.
    """

    relay: str = PYTHON
    why: str = ""
    threads: int = 0
    tunnels: int = 0
    held: int = 0
    pipes: int = 0


class Selection(NamedTuple):
    """The relay of new tunnels. @ivar engine: None: the relay in Python. @ivar why: see L{RelayState}."""

    engine: RelayEngine | None = None
    why: str = ""

    @property
    def text(self) -> str:
        """For people, as L{describe_relay}."""
        if self.engine is not None:
            return f"{ENGINE}, {counted(self.engine.threads, 'thread')}"
        return f"{PYTHON}: {self.why}" if self.why else PYTHON


class RelaySelector:
    """Starts the engine of one proxy when a configuration first asks for it, and keeps it until L{close}.

    @param closer: closes sockets of tunnels that have ended.
    """

    def __init__(self, reactor: IReactor, closer: LingeringCloser) -> None:
        self._reactor = reactor
        self._closer = closer
        self._engine: RelayEngine | None = None
        self._selected: Selection | None = None

    def prepare(self, wanted: str, threads: int) -> Selection:
        """Start the engine if it is wanted and does not run. @param threads: relay threads.

        @raise EngineUnavailable: C{engine} was asked for.
        """
        if wanted == PYTHON:
            return Selection()
        if self._engine is None:
            try:
                self._engine = RelayEngine(self._reactor, self._closer, threads)
            except EngineUnavailable as error:
                if wanted == ENGINE:
                    raise
                return Selection(None, str(error))
        return Selection(self._engine)

    def use(self, selection: Selection, threads: int) -> None:
        """Log which relay new tunnels get. Open ones keep theirs, and an engine that runs keeps its threads.

        @param threads: what the configuration asks for.
        """
        if selection != self._selected:
            self._selected = selection
            log.info("relay: {text}", text=selection.text)
        if selection.engine is not None and selection.engine.threads != threads:
            cure = f"{selection.engine.threads} at start; restart to change it"
            log.warn("warning: relay_threads = {threads}: {cure}", threads=threads, cure=cure)

    @property
    def held(self) -> int:
        """Bytes that the engine's tunnels hold for slow readers."""
        return 0 if self._engine is None else self._engine.held

    @property
    def descriptors(self) -> int:
        """Descriptors of the engine's pipes."""
        return 0 if self._engine is None else 2 * self._engine.pipes

    def state(self) -> RelayState:
        """The selected relay, and the engine's figures."""
        engine, (selected, why) = self._engine, self._selected or Selection()
        relay = PYTHON if selected is None else ENGINE
        if engine is None:
            return RelayState(relay, why)
        return RelayState(relay, why, engine.threads, engine.tunnels, engine.held, engine.pipes)

    def close(self) -> None:
        """Stop the engine. Call this after the last tunnel has ended."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
