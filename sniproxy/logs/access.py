"""The access log: one line for each connection, written when the connection ends.

A file gets one JSON object a line (docs/reference/access-log.md lists the fields). A terminal, and the program's log
if no access log is configured, get readable lines, with repeated refusals summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sniproxy.events import Connection, Observer, Proxied, Result
from sniproxy.logs.twistd import write_line
from sniproxy.logs.writer import LineWriter
from sniproxy.util.text import amount, bounded

log = Logger()

SUMMARY_INTERVAL_S = 10
"""Seconds between summaries of repeated refusals: one line for each client, server name and result."""

_MAX_SUMS = 1000  # combinations of client, server name and result
_PADDED = {result: f"{result:<15}" for result in Result}
_HEADER_SENT = ', "header_sent": true'
_ENDED_WELL = (Result.OK, Result.DRAINED, Result.IDLE_TIMEOUT)


OPEN = "open"
"""The C{result} in lines of tunnels that are open."""


def json_line(connection: Connection, result: str | None = None) -> str:
    """The connection as one line of JSON in ASCII, without a line end.

    @param result: instead of the connection's; None: the connection's.

    The line is what C{json.dumps} writes, in half of its time. msgspec is not faster with the same spaces (25 % faster
    without them), and does not escape DEL and characters outside ASCII.
    """
    one, quote = connection, encode_basestring_ascii
    alert = None if one.alert is None else one.alert.title
    offered = ", ".join([quote(bounded(protocol)) for protocol in one.alpn[:16]])
    return (
        f'{{"time": "{_rfc3339(one.time + one.total_s)}", "id": {quote(one.id)}, "listener": {quote(one.listener)}, '
        f'"client": {quote(one.client)}, "server_name": {_text(one.server_name)}, "alpn": [{offered}], '
        f'"route": {_text(one.route)}, "target": {_text(one.target)}, '
        f'"upstream_local": {_text(one.upstream_local)}, "result": "{result or one.result}", '
        f'"alert": {_text(alert)}, "bytes_up": {one.bytes_up}, "bytes_down": {one.bytes_down}, '
        f'"hello_s": {_seconds(one.hello_s)}, "resolve_s": {_seconds(one.resolve_s)}, '
        f'"connect_s": {_seconds(one.connect_s)}, "total_s": {_seconds(one.total_s)}, '
        f'"reason": {quote(bounded(one.reason))}{"" if one.proxied is None else _proxied(one.proxied)}'
        f"{_HEADER_SENT if one.header_sent else ''}{_faults(one.faults) if one.faults else ''}}}"
    )


def _proxied(proxied: Proxied) -> str:
    """The fields of a connection that came with a PROXY protocol header."""
    quote = encode_basestring_ascii
    tlvs = ", ".join([f"{quote(name)}: {quote(value)}" for name, value in proxied.tlvs.items()])
    return f', "peer": {quote(proxied.peer)}, "proxy_tlv": {{{tlvs}}}'


def _faults(names: tuple[str, ...]) -> str:
    """The names of the faults on purpose that were applied."""
    return f', "faults": [{", ".join(map(encode_basestring_ascii, names))}]'


def readable_line(connection: Connection, result: str | None = None) -> str:
    """The connection as one readable line, without a line end. @param result: as for L{json_line}."""
    one = connection
    target = "" if one.target is None else f" -> {one.target}"
    moved = alert = ""
    if one.bytes_up or one.bytes_down:
        moved = f"  up {amount(one.bytes_up)}, down {amount(one.bytes_down)}, {one.total_s:.2f} s"
    if one.alert is not None:
        alert = f"  alert {one.alert.title}"
    reason = f"  ({bounded(one.reason)})" if one.reason else ""
    shown = _PADDED[one.result] if result is None else f"{result:<15}"
    peer = "" if one.proxied is None or one.proxied.peer == one.client else f" (peer {one.proxied.peer})"
    return f"{shown} {one.client}{peer}  {one.server_name or '-'}{target}{moved}{alert}{reason}"


class ReadableLog:
    """Writes readable lines. Of repeated refusals it writes the first at once and the rest as ``x 37 in 10 s``."""

    def __init__(self, reactor: IReactorTime, write: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._write = write
        self._since = 0.0
        self._sums: dict[tuple[str, str | None, Result], int] = {}
        self._timer: IDelayedCall | None = None

    def __call__(self, connection: Connection) -> None:
        if connection.result in _ENDED_WELL:
            self._write(readable_line(connection))
            return
        key = (connection.client.rpartition(":")[0], connection.server_name, connection.result)
        if key in self._sums:
            self._sums[key] += 1
            return
        self._write(readable_line(connection))
        if len(self._sums) < _MAX_SUMS:
            self._sums[key] = 0
        if self._timer is None:
            self._since = self._reactor.seconds()
            self._timer = self._reactor.callLater(SUMMARY_INTERVAL_S, self._write_summary)

    def close(self) -> None:
        """Write the pending summary."""
        if self._timer is not None:
            self._timer.cancel()
            self._write_summary()

    def _write_summary(self) -> None:
        self._timer = None
        sums, self._sums = self._sums, {}
        elapsed = max(self._reactor.seconds() - self._since, 1)
        for (client, name, result), count in sums.items():
            if count:
                self._write(f"{result:<15} {client}  {name or '-'}  x {count} in {elapsed:.0f} s")


class AccessLog:
    """Writes each ended connection to a file, standard output or the program's log.

    @param path: a file, or C{-} for standard output: JSON lines, but readable lines on a terminal. None: readable
        lines in the program's log.
    @ivar write: the observer of ended connections.
    """

    write: Observer

    def __init__(self, reactor: IReactorTime, path: str | None) -> None:
        """@raise CannotOpen: the file cannot be opened."""
        self.path = path
        self._writer = None if path is None else LineWriter(reactor, path)
        self._readable: ReadableLog | None = None
        if self._writer is None:
            self.write = self._readable = ReadableLog(reactor, partial(write_line, log))
        elif self._writer.on_terminal:
            self.write = self._readable = ReadableLog(reactor, self._writer.write)
        else:
            self.write = _json_observer(self._writer)

    @property
    def lost(self) -> int:
        """Lines dropped because they could not be written."""
        return 0 if self._writer is None else self._writer.lost

    def write_open(self, connection: Connection) -> None:
        """Write a line of a tunnel that is open."""
        if self._writer is None:
            write_line(log, readable_line(connection, OPEN))
        elif self._readable is not None:
            self._writer.write(readable_line(connection, OPEN))
        else:
            self._writer.write(json_line(connection, OPEN))

    def reopen(self) -> None:
        """Open the file again, after a log rotation."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self) -> None:
        """Write pending lines and close the file."""
        if self._readable is not None:
            self._readable.close()
        if self._writer is not None:
            self._writer.close()


class ConnectionCounter:
    """Observer that counts ended connections and passes them to another observer.

    Connections that the client closed before its first byte (port scans, health checks) are counted, but not passed.

    @param write: the other observer, which may be changed; None: there is none yet.
    @ivar ended: passed connections, by result. @ivar silent: connections closed before the first byte.
    """

    def __init__(self, write: Observer | None = None) -> None:
        self.ended: dict[Result, int] = {}
        self.silent = 0
        self.write = write

    def __call__(self, connection: Connection) -> None:
        if connection.result is Result.CLIENT_GONE and not connection.received:
            self.silent += 1
            return
        self.ended[connection.result] = self.ended.get(connection.result, 0) + 1
        if self.write is not None:
            self.write(connection)

    def summary(self) -> str:
        """The counts in one line."""
        parts = [f"{count} {result}" for result, count in sorted(self.ended.items())]
        if self.silent:
            parts.append(f"{self.silent} closed without sending data")
        return ", ".join(parts) or "no connections"


def _json_observer(writer: LineWriter) -> Observer:
    return lambda connection: writer.write(json_line(connection))


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring_ascii(value)


def _seconds(value: float | None) -> str:
    return "null" if value is None else repr(round(value, 6))


def _rfc3339(seconds: float) -> str:
    part, whole = math.modf(seconds)
    more, micros = divmod(round(part * 1e6), 1_000_000)
    return f"{_second(int(whole) + more)}.{micros // 1000:03}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
