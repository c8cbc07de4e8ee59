"""What the admin endpoint needs from the service: protocols that it implements, and the values that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sniproxy.admin.messagestream import Send as Send
from sniproxy.admin.reloads import Reloads as Reloads
from sniproxy.admin.slices import Steps
from sniproxy.admin.upgrades import OldProcess as OldProcess
from sniproxy.admin.upgrades import Upgrade
from sniproxy.admin.upgrades import UpgradeReport as UpgradeReport
from sniproxy.events import Connection
from sniproxy.faults.active import ActiveFaults
from sniproxy.routing.targetstats import TargetStats, TargetStatsTable
from sniproxy.util.names import host_port

if TYPE_CHECKING:
    from sniproxy.conversation.recorder import Recording


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


CLOSED = "no target of its closed_when_down route is up"
"""Why a listener is closed."""


class ListenerStatus(msgspec.Struct, frozen=True):
    """A listener.

    @ivar endpoint: as configured. @ivar address: the bound host and port; None if not bound or not TCP.
    @ivar closed: it refuses connections, because no target of its C{closed_when_down} route is up.
    """

    name: str
    endpoint: str
    address: tuple[str, int] | None
    closed: bool = False

    @property
    def where(self) -> str | None:
        """The address as C{host:port}."""
        return None if self.address is None else host_port(*self.address)


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


class Readiness(msgspec.Struct, frozen=True):
    """Whether the proxy takes new connections.

    @ivar ready: whether it listens and does not drain. @ivar workers: the number of processes that the configuration
        asks for. @ivar drains: the active drains of targets and routes.
    """

    ready: bool = True
    workers: int = 1
    drains: Sequence[DrainStatus] = ()


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
    """A target: the configuration names it, or a resolver has answered with it. Times are seconds since 1970.

    @ivar state: ``up``, ``down`` after failed health checks, ``ejected`` after failed connections, ``draining``, or
        ``unchecked``: neither health checks nor ejection are configured, or the first check has not ended.
    @ivar connections: the number of its connections, including those being dialled.
    @ivar why: why the last check or connection failed; empty if it succeeded.
    @ivar since: the start of this state. None: unknown. @ivar checked: the last health check. None: there was none.
    @ivar names: the first server names and patterns that lead to it. @ivar routes: its first routes.
    @ivar stats: its counts. None: it is one of too many targets, which are counted together.
    @ivar up: by health checks and ejection; a drained target may be up. None: it is unchecked.
    """

    target: str
    state: str
    connections: int
    why: str
    since: float | None = None
    checked: float | None = None
    names: Sequence[str] = ()
    routes: Sequence[str] = ()
    stats: TargetStats | None = None
    up: bool | None = None


class RouteStatus(msgspec.Struct, frozen=True):
    """A route.

    @ivar server_name: its pattern, or ``default``, ``no_server_name``, ``plaintext`` or ``bridge``.
    @ivar listener: None: it is for all TLS listeners.
    @ivar targets: as configured, or the first ones with which its resolver has answered.
    @ivar error: why connections fail now. None: nothing says that they do.
    @ivar keys: what its connections are counted by: the listener and the route in their records.
    """

    server_name: str
    listener: str | None
    targets: Sequence[str] = ()
    error: str | None = None
    keys: Sequence[tuple[str, str]] = ()


class LimitsStatus(msgspec.Struct, frozen=True):
    """The limits of connections, and their effects since the start.

    @ivar max_connections: maximum of open connections.
    @ivar max_hellos: maximum of connections that have not sent a ClientHello.
    @ivar refused: refused connections, by limit. @ivar waited: pauses of accept, by limit.
    @ivar max_connecting: maximum of connections that have sent a ClientHello and are not yet tunnels.
    @ivar connecting: the current number of these.
    @ivar loops: ClientHellos that came back to this proxy through another proxy, and were denied.
    @ivar reached: the limit for which a new connection would wait now. None: there is none.
    """

    max_connections: int = 0
    max_hellos: int = 0
    refused: Mapping[str, int] = msgspec.field(default_factory=dict)
    waited: Mapping[str, int] = msgspec.field(default_factory=dict)
    max_connecting: int = 0
    connecting: int = 0
    loops: int = 0
    reached: str | None = None


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
    @ivar resolvers: the resolvers with a table of their own.
    @ivar limits: the limits of connections. @ivar event_log_lost: event log lines that could not be written.
    @ivar relay: the relay of new plain tunnels.
    @ivar old_processes: those that upgrades have replaced and that still have tunnels.
    @ivar faults: those on purpose, as L{ActiveFaults.document} describes them.
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
    limits: LimitsStatus = msgspec.field(default_factory=LimitsStatus)
    event_log_lost: int = 0
    relay: RelayStatus = msgspec.field(default_factory=RelayStatus)
    old_processes: Sequence[OldProcess] = ()
    faults: Sequence[Mapping[str, Any]] = ()


class StatusSource(Protocol):
    """The admin endpoint's view of the proxy. The cost of a call is proportional to the size of its result."""

    @property
    def ready(self) -> bool:
        """Whether the proxy listens and does not drain."""
        ...

    @property
    def upgrade(self) -> Upgrade | None:
        """Upgrades the program. None: this process cannot upgrade itself."""
        ...

    @property
    def old_processes(self) -> Sequence[OldProcess]:
        """The processes that upgrades have replaced and that still have tunnels."""
        ...

    @property
    def faults(self) -> ActiveFaults:
        """Faults on purpose."""
        ...

    def add_fault(self, values: Mapping[str, str]) -> Mapping[str, Any]:
        """Add a fault. @param values: keys and values of a C{[[fault]]} table. @return: its description.

        @raise BadValue: a value is wrong.
        """
        ...

    def record(self, listeners: Sequence[str], what: Recording, send: Send) -> tuple[list[str], Callable[[], None]]:
        """Begin a recording. @return: the listeners, and what ends it. @raise CannotRecord: it cannot begin."""

    @property
    def reloads(self) -> Reloads:
        """The results of reloads."""
        ...

    @property
    def listener_names(self) -> Sequence[str]:
        """The names of the listeners and bridges."""
        ...

    @property
    def target_stats(self) -> TargetStatsTable:
        """The counts of targets."""
        ...

    def targets_steps(self, limit: int) -> Steps[tuple[Sequence[TargetStatus], int]]:
        """List the targets in steps, those of the configuration first. @return: the first ones; how many there are."""
        ...

    def routes_steps(self, limit: int) -> Steps[tuple[Sequence[RouteStatus], int]]:
        """List the routes in steps, in the order of the configuration. @return: the first ones; how many there are."""
        ...

    def forget_targets(self) -> Steps[None]:
        """Drop the counts of targets that are no longer used."""
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

    def readiness(self) -> Readiness:
        """Whether it is ready, its workers and its drains."""
        ...

    def status(self) -> Status: ...

    def current_settings(self, limit: int) -> Mapping[str, Any]:
        """The current configuration as JSON. @param limit: maximum of entries of each list."""
        ...

    def live(self) -> Sequence[LiveConnection]:
        """All open connections, the oldest first."""
        ...

    def drain(self, name: str, rate: float, kind: str | None = None) -> DrainStatus:
        """Drain a target or a route.

        @param rate: tunnels to close per second. @param kind: C{target} or C{route}, of which this is the exact name,
            also if it is unknown here. None: find out.
        @raise UnknownDrainTarget: no target or route has this name.
        """
        ...

    def undrain(self, name: str) -> DrainStatus:
        """Cancel a drain. @raise UnknownDrainTarget: the target or route is not being drained."""
        ...
