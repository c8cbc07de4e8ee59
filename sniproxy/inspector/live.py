"""The inspector of live tunnels: what Pulsar's frames say as they pass through a plaintext listener.

It looks through a tap at the relay (L{sniproxy.relay.tee}): bytes are sent on before they are looked at, and nothing
that goes wrong here reaches a tunnel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from twisted.logger import Logger

from sniproxy.events import Connection
from sniproxy.inspector.format import json_line, readable_line
from sniproxy.inspector.inspection import Inspection
from sniproxy.inspector.ledger import Ledger
from sniproxy.logs.writer import LineWriter
from sniproxy.pulsar.events import Event, Value
from sniproxy.pulsar.filter import EventFilter
from sniproxy.util.buffered import TOTAL, Share

log = Logger()

Unrouted = Callable[[str, str], str | None]
"""Why TLS clients that are sent to a host will be refused, None unless that is news; by host and listener or bridge."""

Write = Callable[[Event], None]

SPARED_BYTES = 65_536
"""Bytes that the inspector may hold of a tunnel even while more than C{max_buffered} wait in the process."""


class EventLog:
    """Where events go.

    @param path: a file or C{-}, for lines of JSON, readable ones on a terminal; None: the program's own log.
    @ivar choice: which events; of the others nothing is written.
    """

    def __init__(self, reactor: Any, path: str | None) -> None:
        """@raise CannotOpen: the file cannot be opened."""
        self.path = path
        self.choice = EventFilter()
        self._writer = None if path is None else LineWriter(reactor, path, "event log")
        self._readable = self._writer is None or self._writer.on_terminal

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return 0 if self._writer is None else self._writer.lost

    def __call__(self, event: Event) -> None:
        if not self.choice.wants(event):
            return
        line = readable_line(event, colour=self._writer is not None) if self._readable else json_line(event)
        if self._writer is None:
            log.info("{line}", line=line)
        else:
            self._writer.write(line)

    def reopen(self) -> None:
        """After a log rotation."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self) -> None:
        """Write what waits, and close."""
        if self._writer is not None:
            self._writer.close()


class Inspector:
    """Makes a tap for each inspected tunnel, keeps the ledger, and holds what brokers advertise against the routes.

    @param write: told of each event.
    @param unrouted: asked about each host that is advertised to TLS clients.
    @ivar reveal: principals and properties are shown, too; of tunnels that begin from now on.
    @ivar commands: types of which each command is an event; likewise.
    @ivar ledger: which broker owns which topic.
    @ivar max_buffered: while more bytes wait in the process, it drops tunnels that hold more than L{SPARED_BYTES}.
        None: no limit.
    """

    def __init__(self, write: Write, unrouted: Unrouted, reveal: bool = False) -> None:
        self.ledger = Ledger()
        self._write = write
        self._unrouted = unrouted
        self.reveal = reveal
        self.commands: frozenset[str] = frozenset()
        self.max_buffered: int | None = None

    def watch(self, connection: Connection, place: str | None = None) -> ConnectionTap:
        """A tap for one tunnel.

        @param place: what it was made to, by which the ledger tells clusters apart. None: the server name.
        """
        return ConnectionTap(self, connection, place)

    def aside(self, connection: Connection) -> Callable[[str, bytes, bytes], None]:
        """Looks at what the bridge itself asks for a client, each question with its answer, by the broker's host."""

        def heard(host: str, question: bytes, answer: bytes) -> None:
            now = time.time()
            inspection = self.inspection(f"{connection.id}/{host}")
            events = [*inspection.client(question, now), *inspection.broker(answer, now)]
            self.told(events, connection.listener, connection.listener, host)

        return heard

    def inspection(self, connection: str) -> Inspection:
        """Looks at one connection, of this name."""
        return Inspection(connection, reveal=self.reveal, commands=self.commands)

    def told(self, events: list[Event], place: str, listener: str, service: str | None = None) -> None:
        """Take events of a tunnel, and write them with what follows from them.

        @param place: what the tunnel was made to.
        @param listener: the listener or bridge that the client came by.
        @param service: the server name that the tunnel's client asked for. None: it asked for none.
        """
        for event in events:
            self._write(event)
            for more in (*self.ledger.learn(event, place, service), *self._cross_check(event, listener)):
                self._write(more)

    def _cross_check(self, event: Event, listener: str) -> list[Event]:
        """What a TLS client would dial next must have a route: say so before the first one fails."""
        found = []
        for url in _tls_urls(event.fields):
            host = _host(url)
            why = None if host is None else self._unrouted(host, listener)
            if why is not None:
                log.warn("inspector: {why}", why=why)
                found.append(Event("unrouted", event.time, event.connection, {"broker_url_tls": url, "message": why}))
        return found


class ConnectionTap:
    """One tunnel's tap."""

    def __init__(self, inspector: Inspector, connection: Connection, place: str | None) -> None:
        self._inspector = inspector
        self._connection = connection
        self._place = place
        self._inspection: Inspection | None = inspector.inspection(connection.id)
        self._heard = False
        self._share = Share()

    def client(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._inspection is not None:
            self._look(self._inspection.client, data)

    def target(self, data: bytes) -> None:
        """Bytes from the broker."""
        if self._inspection is not None:
            self._look(self._inspection.broker, data)

    def end(self) -> None:
        """The tunnel has ended."""
        inspection, self._inspection = self._inspection, None
        self._share.holds(0)
        if inspection is not None and self._heard:  # who was refused has not said a word of Pulsar's
            self._look(lambda data, now: inspection.end(now), b"")

    def _look(self, look: Callable[[bytes, float], list[Event]], data: bytes) -> None:
        self._heard = True
        try:
            events = look(data, time.time())
            if events:
                name, listener = self._connection.server_name, self._connection.listener
                self._inspector.told(events, self._place or name or listener, listener, name)
        except Exception:
            self._inspection = None
            log.failure("The inspector failed; it lets go of this tunnel, which goes on")
        else:
            if self._inspection is not None and self._inspection.lost:
                self._inspection = None
        # What is remembered of hostile peers counts with what waits for slow readers: max_buffered bounds both.
        held = 0 if self._inspection is None else self._inspection.held
        self._share.holds(held)
        most = self._inspector.max_buffered
        if most is not None and held > SPARED_BYTES and TOTAL.bytes > most and self._inspection is not None:
            inspection, self._inspection = self._inspection, None
            self._share.holds(0)
            events = inspection.give_up("more bytes wait in the process than [limits] max_buffered allows", time.time())
            self._inspector.told(events, self._place or self._connection.listener, self._connection.listener)


def _tls_urls(value: Value, key: str = "") -> Iterator[str]:
    """The URLs for TLS clients among an event's fields, those of segments and assignments too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _tls_urls(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _tls_urls(inner)
    elif isinstance(value, str) and key.endswith("broker_url_tls"):
        yield value


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
