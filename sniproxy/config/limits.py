"""Checks C{[limits]}: the numbers and rates of connections. Pure.

L{sniproxy.connection.admission} enforces them.
"""

from __future__ import annotations

import math

import attrs

from sniproxy.config.schema import LimitsTable
from sniproxy.interfaces import BadValue
from sniproxy.routing.policy import Network, network
from sniproxy.util.names import client_at, plain_address

MAX_LIMIT = 100_000_000
"""Connections. A larger limit is rejected."""

MIN_BUFFERED_BYTES = 1 << 20
"""Bytes: enough for a few hellos of the largest size."""


@attrs.frozen
class Limits:
    """Limits of one process: each worker counts its own connections. None: no limit, unless stated otherwise.

    A client is an IPv4 address or an IPv6 network of 64 bits. The first six limits count concurrent connections.

    @ivar max_connections: None: capped by open files.
    @ivar max_connections_per_client: of one client.
    @ivar max_hellos: with an incomplete hello. None: half of C{max_connections}, but at least 64.
    @ivar max_hellos_per_client: as C{max_hellos}, of one client.
    @ivar max_connecting: with a complete hello and without a tunnel. None: half of C{max_connections}, but at least 64.
    @ivar max_connecting_per_route: as C{max_connecting}, of one route. None: no limit of its own.
    @ivar rate_per_client: new connections per second.
    @ivar burst_per_client: new connections at once after a pause.
    @ivar max_buffered: bytes of buffered data above which new connections wait.
    @ivar exempt: networks without limits per client.
    """

    max_connections: int | None = None
    max_connections_per_client: int | None = None
    max_hellos: int | None = None
    max_hellos_per_client: int | None = None
    rate_per_client: float | None = None
    burst_per_client: int = 1
    max_buffered: int | None = None
    exempt: tuple[Network, ...] = ()
    max_connecting: int | None = None
    max_connecting_per_route: int | None = None

    @property
    def by_client(self) -> bool:
        """Whether there is a limit per client."""
        return not (self.max_connections_per_client is self.max_hellos_per_client is self.rate_per_client is None)

    def client(self, host: str) -> str | None:
        """The client that an address belongs to. None: it has no limits per client.

        @param host: an IP address, with or without brackets. Empty: a client of a unix socket.
        """
        if not host:
            return None
        address = plain_address(host)
        if any(one.version == address.version and address in one for one in self.exempt):
            return None
        return client_at(address)


def make_limits(table: LimitsTable) -> Limits:
    """@raise BadValue: a value is wrong."""
    rate, burst = table.rate_per_client, table.burst_per_client
    if rate is not None and not 0.001 <= rate <= 1e6:
        cure = "must be a number of connections per second from 0.001 to 1000000; remove the key for no limit"
        raise BadValue("rate_per_client", rate, cure)
    if burst is not None and rate is None:
        raise BadValue("burst_per_client", burst, "it requires rate_per_client; write both")
    buffered = table.max_buffered
    if buffered is not None and not MIN_BUFFERED_BYTES <= buffered <= 1 << 50:
        cure = f"must be a number of bytes, {MIN_BUFFERED_BYTES} or more; remove the key for no limit"
        raise BadValue("max_buffered", buffered, cure)
    return Limits(
        connection_limit("max_connections", table.max_connections),
        connection_limit("max_connections_per_client", table.max_connections_per_client),
        connection_limit("max_hellos", table.max_hellos),
        connection_limit("max_hellos_per_client", table.max_hellos_per_client),
        rate,
        connection_limit("burst_per_client", burst) or math.ceil(rate or 1),
        buffered,
        tuple(network(text, "exempt_cidrs") for text in table.exempt_cidrs),
        connection_limit("max_connecting", table.max_connecting),
        connection_limit("max_connecting_per_route", table.max_connecting_per_route),
    )


def connection_limit(key: str, value: int | None) -> int | None:
    """Check a number of connections. @raise BadValue: it is out of range."""
    if value is not None and not 1 <= value <= MAX_LIMIT:
        raise BadValue(key, value, f"must be a number from 1 to {MAX_LIMIT}; remove the key for the default")
    return value


def describe_limits(limits: Limits) -> str:
    """Describe the limits that are set, in one line."""
    parts = [
        f"{key} {value}"
        for key in (
            "max_connections",
            "max_hellos",
            "max_connections_per_client",
            "max_hellos_per_client",
            "max_connecting",
            "max_connecting_per_route",
        )
        if (value := getattr(limits, key)) is not None
    ]
    if limits.rate_per_client is not None:
        parts.append(f"rate_per_client {limits.rate_per_client:g} (burst {limits.burst_per_client})")
    if limits.max_buffered is not None:
        parts.append(f"max_buffered {limits.max_buffered}")
    if limits.exempt:
        parts.append(f"exempt {', '.join(map(str, limits.exempt))}")
    return ", ".join(parts) or "none, capped by open files"
