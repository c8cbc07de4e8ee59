"""Inspector of live tunnels: reads the Pulsar frames that pass through plaintext listeners and bridges.

It reads from a tap at the relay (L{sniproxy.relay.tee}). The relay forwards bytes before the tap gets them, and errors
of the inspector do not affect a tunnel.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.events import Connection
from sniproxy.inspector.advertised import AdvertisedBroker, advertised_brokers
from sniproxy.inspector.format import json_line, readable_line
from sniproxy.inspector.inspection import Inspection
from sniproxy.inspector.ledger import Ledger
from sniproxy.logs.writer import LineWriter
from sniproxy.pulsar.events import Event, Fields
from sniproxy.pulsar.filter import EventFilter
from sniproxy.util.buffered import BufferAccount, Share

log = Logger()

Unrouted = Callable[[AdvertisedBroker, str], str | None]
"""Given a broker and the listener or bridge that saw it: why the proxy refuses TLS clients that are sent to it. None:
it does not, this is unknown, or it was reported before."""

Write = Callable[[Event], None]

SPARED_BYTES = 65_536
"""Bytes that the inspector may hold for one tunnel even while the proxy buffers more than C{max_buffered}."""


class EventLog:
    """Writes events to a file, standard output or the program's log.

    @param path: a file, or C{-} for standard output: JSON lines, but readable lines on a terminal. None: readable
        lines in the program's log.
    @ivar event_filter: selects the events that are written.
    """

    def __init__(self, reactor: IReactorTime, path: str | None) -> None:
        """@raise CannotOpen: the file cannot be opened."""
        self.path = path
        self.event_filter = EventFilter()
        self._writer = None if path is None else LineWriter(reactor, path, "event log")
        self._readable = self._writer is None or self._writer.on_terminal

    @property
    def lost(self) -> int:
        """Lines dropped because they could not be written."""
        return 0 if self._writer is None else self._writer.lost

    def __call__(self, event: Event) -> None:
        if not self.event_filter.wants(event):
            return
        line = readable_line(event, colour=self._writer is not None) if self._readable else json_line(event)
        if self._writer is None:
            log.info("{line}", line=line)
        else:
            self._writer.write(line)

    def reopen(self) -> None:
        """Open the file again, after a log rotation."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self) -> None:
        """Write pending lines and close the file."""
        if self._writer is not None:
            self._writer.close()


class Inspector:
    """Makes a tap for each inspected tunnel, keeps the ledger, and checks advertised brokers against the routes.

    @param write: called with each event.
    @param unrouted: called with each broker that an answer names.
    @ivar account: counts buffered bytes, of taps and others.
    @ivar reveal: whether events name principals and properties; applies to new tunnels.
    @ivar commands: command types of which each command is an event; applies to new tunnels.
    @ivar ledger: which broker owns which topic.
    @ivar max_buffered: while the proxy buffers more bytes than this, the inspector stops inspecting tunnels for which
        it holds more than L{SPARED_BYTES}. None: no limit.
    """

    def __init__(self, write: Write, unrouted: Unrouted, account: BufferAccount, reveal: bool = False) -> None:
        self.ledger = Ledger()
        self.account = account
        self._write = write
        self._unrouted = unrouted
        self.reveal = reveal
        self.commands: frozenset[str] = frozenset()
        self.max_buffered: int | None = None

    def tap(self, connection: Connection, place: str | None = None) -> ConnectionTap:
        """Make a tap for one tunnel.

        @param place: the tunnel's destination, by which the ledger tells clusters apart. None: the server name.
        """
        return ConnectionTap(self, connection, place)

    def lookup_tap(self, connection: Connection) -> Callable[[str, bytes, bytes], None]:
        """Make a tap for the requests that a bridge itself sends for a client.

        The bridge calls it with the broker's host, the request and its answer.
        """

        def inspect(host: str, request: bytes, answer: bytes) -> None:
            now = time.time()
            inspection = self.inspection(f"{connection.id}/{host}")
            events = [*inspection.client(request, now), *inspection.broker(answer, now)]
            self.take_events(events, connection.listener, connection.listener, host)

        return inspect

    def inspection(self, connection: str) -> Inspection:
        """Make the inspection of one connection. C{connection}: its name in events."""
        return Inspection(connection, reveal=self.reveal, commands=self.commands)

    def take_events(self, events: list[Event], place: str, listener: str, service: str | None = None) -> None:
        """Write a tunnel's events, and the C{moved} and C{unrouted} events that follow from them.

        @param place: the tunnel's destination.
        @param listener: the listener or bridge that accepted the client.
        @param service: the server name that the client asked for. None: none.
        """
        for event in events:
            self._write(event)
            for more in (*self.ledger.learn(event, place, service), *self._check_routes(event, listener)):
                self._write(more)

    def _check_routes(self, event: Event, listener: str) -> list[Event]:
        """Report brokers that TLS clients dial next and that have no route, before the first client fails."""
        found = []
        for broker in advertised_brokers(event):
            why = self._unrouted(broker, listener)
            if why is not None:
                log.warn("inspector: {why}", why=why)
                fields: Fields = {"broker_url": broker.url, "broker_url_tls": broker.url_tls, "message": why}
                found.append(Event("unrouted", event.time, event.connection, fields))
        return found


class ConnectionTap:
    """Tap of one tunnel: gets its bytes and writes its events."""

    def __init__(self, inspector: Inspector, connection: Connection, place: str | None) -> None:
        self._inspector = inspector
        self._connection = connection
        self._place = place
        self._inspection: Inspection | None = inspector.inspection(connection.id)
        self._has_data = False
        self._share = Share(inspector.account)

    def client(self, data: bytes) -> None:
        """Inspect bytes from the client."""
        if self._inspection is not None:
            self._inspect(self._inspection.client, data)

    def target(self, data: bytes) -> None:
        """Inspect bytes from the broker."""
        if self._inspection is not None:
            self._inspect(self._inspection.broker, data)

    def end(self) -> None:
        """Finish the inspection: the tunnel has ended."""
        inspection, self._inspection = self._inspection, None
        self._share.holds(0)
        if inspection is not None and self._has_data:  # refused connections have none
            self._inspect(lambda data, now: inspection.end(now), b"")

    def _inspect(self, inspect: Callable[[bytes, float], list[Event]], data: bytes) -> None:
        self._has_data = True
        try:
            events = inspect(data, time.time())
            if events:
                name, listener = self._connection.server_name, self._connection.listener
                self._inspector.take_events(events, self._place or name or listener, listener, name)
        except Exception:
            self._inspection = None
            log.failure("inspector failed; this tunnel continues without inspection")
        else:
            if self._inspection is not None and self._inspection.lost:
                self._inspection = None
        # max_buffered bounds the relay's buffers and the inspector's memory together.
        held = 0 if self._inspection is None else self._inspection.held
        self._share.holds(held)
        most, buffered = self._inspector.max_buffered, self._inspector.account.bytes
        if most is not None and held > SPARED_BYTES and buffered > most and self._inspection is not None:
            inspection, self._inspection = self._inspection, None
            self._share.holds(0)
            events = inspection.stop("the proxy buffers more than [limits] max_buffered allows", time.time())
            self._inspector.take_events(events, self._place or self._connection.listener, self._connection.listener)
