"""What the admin endpoint needs from the service: protocols that it implements, and the values that it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sniproxy.events import Connection
from sniproxy.util.names import host_port


class LiveConnection(Protocol):
    """An open connection. C{sniproxy.connection.lifecycle.Lifecycle} implements it.

    @ivar record: the record so far; its byte counts are set only at the end of the connection.
    @ivar bytes_up: bytes written to the target so far. @ivar bytes_down: bytes written to the client so far.
    @ivar state: one of L{OPENING} before it is a tunnel, then ``open``, or ``half_closed`` if one direction has ended.
    """

    @property
    def record(self) -> Connection: ...
    @property
    def bytes_up(self) -> int: ...
    @property
    def bytes_down(self) -> int: ...
    @property
    def state(self) -> str: ...


OPENING = ("hello", "resolve", "connect", "handshake")
"""The states of a connection that is not yet a tunnel: the stage that it waits for."""


class ListenerStatus(msgspec.Struct, frozen=True):
    """A listener.

    @ivar endpoint: as configured. @ivar address: the bound host and port; None if not bound or not TCP.
    """

    name: str
    endpoint: str
    address: tuple[str, int] | None

    @property
    def where(self) -> str | None:
        """The address as C{host:port}."""
        return None if self.address is None else host_port(*self.address)


class Reloads(msgspec.Struct, frozen=True):
    """The results of configuration reloads since the start.

    @ivar succeeded: the number of successful reloads. @ivar failed: the number of failed reloads, which change nothing.
    @ivar error: the error of the last reload; None if it succeeded or if there was none.
    @ivar time: the time of that error, in seconds since 1970; None as C{error}.
    """

    succeeded: int = 0
    failed: int = 0
    error: str | None = None
    time: float | None = None

    def with_success(self) -> Reloads:
        """Count a successful reload."""
        return Reloads(self.succeeded + 1, self.failed)

    def with_failure(self, why: str, now: float) -> Reloads:
        """Count a failed reload."""
        return Reloads(self.succeeded, self.failed + 1, why, now)


class UnknownDrainTarget(Exception):
    """No target or route has this name; the message lists those that exist."""


class DrainStatus(msgspec.Struct, frozen=True):
    """The drain of a target or a route: it gets no new connections, and its tunnels are closed one by one.

    @ivar kind: ``target`` or ``route``. @ivar since: the start, in seconds since 1970.
    @ivar rate: tunnels closed per second. @ivar closed: tunnels closed so far.
    @ivar refused: new connections that it did not get. @ivar left: remaining connections.
    @ivar clients: the client addresses of some of these.
    """

    kind: str
    name: str
    since: float
    rate: float
    closed: int
    refused: int
    left: int
    clients: Sequence[str]


class ResolverStatus(msgspec.Struct, frozen=True):
    """The state of a resolver.

    @ivar kind: its type. @ivar counts: counts since its creation: C{questions} are queries to the resolver, C{failures}
        queries without an answer; of the requests of connections, C{hits} were answered from the cache, C{shared} by a
        query already pending, C{stale} by an old answer because the query failed, and C{refused} were refused.
    @ivar breaker: the circuit breaker: ``closed``, or ``open`` if only a few queries a second pass.
    @ivar watch: what a watching resolver knows. @ivar error: the error of its last refresh, or None. Both are None if
        the resolver does not watch. @ivar names: what each name is that it has read, for the first names.
    """

    name: str
    kind: str
    counts: Mapping[str, int]
    breaker: str = "closed"
    watch: str | None = None
    error: str | None = None
    names: Mapping[str, str] = {}


class TargetStatus(msgspec.Struct, frozen=True):
    """A target whose health is tracked.

    @ivar state: ``up``, ``down`` after failed health checks, or ``ejected`` after failed connections.
    @ivar connections: the number of its connections, including those being dialled.
    @ivar why: why the last check or connection failed; empty if it succeeded.
    """

    target: str
    state: str
    connections: int
    why: str


class LimitsStatus(msgspec.Struct, frozen=True):
    """The limits of connections, and their effects since the start.

    @ivar max_connections: maximum of open connections.
    @ivar max_hellos: maximum of connections that have not sent a ClientHello.
    @ivar refused: refused connections, by limit. @ivar waited: pauses of accept, by limit.
    @ivar max_connecting: maximum of connections that have sent a ClientHello and are not yet tunnels.
    @ivar connecting: the current number of these.
    @ivar loops: ClientHellos that came back to this proxy through another proxy, and were denied.
    """

    max_connections: int = 0
    max_hellos: int = 0
    refused: Mapping[str, int] = msgspec.field(default_factory=dict)
    waited: Mapping[str, int] = msgspec.field(default_factory=dict)
    max_connecting: int = 0
    connecting: int = 0
    loops: int = 0


class RelayStatus(msgspec.Struct, frozen=True):
    """The relay of new plain tunnels, and the relay engine, which may have tunnels although it is not the relay of new
    ones.

    @ivar relay: ``engine`` or ``python``. @ivar why: why it is not the engine; empty: it is, or was not asked for.
    @ivar threads: of the engine; 0: it does not run. @ivar tunnels: its open tunnels.
    @ivar held_bytes: bytes that they hold for slow readers. @ivar pipes: its open pipes.
    """

    relay: str = "python"
    why: str = ""
    threads: int = 0
    tunnels: int = 0
    held_bytes: int = 0
    pipes: int = 0


class Resolutions(msgspec.Struct, frozen=True):
    """Host name lookups with the system resolver, as in C{sniproxy.net.lookup.LookupCounts}.

    @ivar running: lookups in progress, by kind of name. @ivar waiting: lookups waiting for a thread, by kind.
    @ivar results: lookups since the start, by result. @ivar limited: refused lookups since the start, by limit.
    @ivar stale: uses of the last good answer since the start, because a lookup failed.
    """

    running: Mapping[str, int] = msgspec.field(default_factory=lambda: {"written": 0, "client_formed": 0})
    waiting: Mapping[str, int] = msgspec.field(default_factory=lambda: {"written": 0, "client_formed": 0})
    results: Mapping[str, int] = msgspec.field(default_factory=lambda: {"found": 0})
    limited: Mapping[str, int] = msgspec.field(default_factory=lambda: {"per_client": 0, "queue": 0, "time": 0})
    stale: int = 0


class Status(msgspec.Struct, frozen=True):
    """The state of the proxy. Times are seconds since 1970.

    @ivar ready: whether it listens and does not drain. @ivar started: the start of the service.
    @ivar configuration: the source of the current configuration, usually a file. @ivar since: the time it was loaded.
    @ivar access_log_lost: access log lines that could not be written.
    @ivar warnings: one sentence each: first brokers without a route, then warnings of the configuration.
    @ivar reloads: the results of reloads. @ivar drains: the active drains.
    @ivar resolvers: the resolvers with a table of their own. @ivar targets: the targets with health tracking.
    @ivar limits: the limits of connections. @ivar event_log_lost: event log lines that could not be written.
    @ivar relay: the relay of new plain tunnels.
    """

    ready: bool
    started: float
    configuration: str
    since: float
    listeners: Sequence[ListenerStatus]
    access_log_lost: int = 0
    warnings: Sequence[str] = ()
    reloads: Reloads = msgspec.field(default_factory=Reloads)
    drains: Sequence[DrainStatus] = ()
    resolvers: Sequence[ResolverStatus] = ()
    targets: Sequence[TargetStatus] = ()
    limits: LimitsStatus = msgspec.field(default_factory=LimitsStatus)
    event_log_lost: int = 0
    relay: RelayStatus = msgspec.field(default_factory=RelayStatus)


class StatusSource(Protocol):
    """The admin endpoint's view of the proxy. The cost of a call is proportional to the size of its result."""

    @property
    def ready(self) -> bool:
        """Whether the proxy listens and does not drain."""
        ...

    @property
    def reloads(self) -> Reloads:
        """The results of reloads."""
        ...

    def targets_status(self) -> Sequence[TargetStatus]:
        """The targets with health tracking."""
        ...

    def resolvers_status(self) -> Sequence[ResolverStatus]:
        """The resolvers with a table of their own."""
        ...

    def limits_status(self) -> LimitsStatus:
        """The limits of connections, and their effects."""
        ...

    def relay_status(self) -> RelayStatus:
        """The relay of new plain tunnels."""
        ...

    def status(self) -> Status: ...

    def current_settings(self, limit: int) -> Mapping[str, Any]:
        """The current configuration as JSON. @param limit: maximum of entries of each list."""
        ...

    def live(self) -> Sequence[LiveConnection]:
        """All open connections, the oldest first."""
        ...

    def drain(self, name: str, rate: float) -> DrainStatus:
        """Drain a target or a route. @param rate: tunnels to close per second.

        @raise UnknownDrainTarget: no target or route has this name.
        """
        ...

    def undrain(self, name: str) -> DrainStatus:
        """Cancel a drain. @raise UnknownDrainTarget: the target or route is not being drained."""
        ...
