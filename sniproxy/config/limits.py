"""How many connections there may be and how fast they may come, as the configuration says it. Pure.

L{sniproxy.connection.admission} keeps to it.
"""

from __future__ import annotations

import math

import attrs

from sniproxy.config.schema import LimitsTable
from sniproxy.routing.policy import Network, network
from sniproxy.util.names import client_at, plain_address

MAX_LIMIT = 100_000_000
"""The largest number of connections that can be written: more than any machine has."""

MIN_BUFFERED_BYTES = 1 << 20
"""Bytes: a few hellos of the largest size must have room."""


class BadLimit(Exception):
    """A key is wrong. @ivar key: which. @ivar value: what was found."""

    def __init__(self, key: str, value: object, cure: str) -> None:
        super().__init__(cure)
        self.key = key
        self.value = value


@attrs.frozen
class Limits:
    """None: no limit of this kind, unless said otherwise. A client is an IPv4 address or an IPv6 network of 64 bits.

    All are of one process: each of several workers counts its own connections.

    @ivar max_connections: at once. None: as many as the descriptors suffice for.
    @ivar max_connections_per_client: at once.
    @ivar max_hellos: connections at once whose hello has not come. None: half of all, and 64 at least.
    @ivar max_hellos_per_client: as C{max_hellos}, of one client.
    @ivar rate_per_client: new connections a second. @ivar burst_per_client: how many may come at once after a pause.
    @ivar max_buffered: bytes that may wait in the process's memory before new connections have to.
    @ivar exempt: addresses that no limit by client is for.
    @ivar max_connecting: connections at once whose hello has come and that have no tunnel yet. None: half of all, and
        64 at least.
    @ivar max_connecting_per_route: of one route. None: as many as there is room for beside them.
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
        """Whether there is a limit by client."""
        return not (self.max_connections_per_client is self.max_hellos_per_client is self.rate_per_client is None)

    def client(self, host: str) -> str | None:
        """Who an address counts as. None: no limit by client is for it.

        @param host: an IP address, perhaps in brackets; empty: a unix socket, whose clients have none.
        """
        if not host:
            return None
        address = plain_address(host)
        if any(one.version == address.version and address in one for one in self.exempt):
            return None
        return client_at(address)


def make_limits(table: LimitsTable) -> Limits:
    """@raise BadLimit: a key is wrong. @raise BadPolicy: a network is."""
    rate, burst = table.rate_per_client, table.burst_per_client
    if rate is not None and not 0.001 <= rate <= 1e6:
        cure = "must be a number of connections per second from 0.001 to 1000000; remove the key for no limit"
        raise BadLimit("rate_per_client", rate, cure)
    if burst is not None and rate is None:
        raise BadLimit("burst_per_client", burst, "it requires rate_per_client; write both")
    buffered = table.max_buffered
    if buffered is not None and not MIN_BUFFERED_BYTES <= buffered <= 1 << 50:
        cure = f"must be a number of bytes, {MIN_BUFFERED_BYTES} or more; remove the key for no limit"
        raise BadLimit("max_buffered", buffered, cure)
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
    """A number of connections. @raise BadLimit: it is none."""
    if value is not None and not 1 <= value <= MAX_LIMIT:
        raise BadLimit(key, value, f"must be a number from 1 to {MAX_LIMIT}; remove the key for the default")
    return value


def describe_limits(limits: Limits) -> str:
    """The limits that are written, in one line."""
    said = [
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
        said.append(f"rate_per_client {limits.rate_per_client:g} (burst {limits.burst_per_client})")
    if limits.max_buffered is not None:
        said.append(f"max_buffered {limits.max_buffered}")
    if limits.exempt:
        said.append(f"exempt {', '.join(map(str, limits.exempt))}")
    return ", ".join(said) or "none, capped by open files"
