"""What the admin endpoint is told, and by whom: small protocols that the service and the inspector's ledger fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sniproxy.events import Connection


class Live(Protocol):
    """A connection that has not ended: C{sniproxy.connection.lifecycle.Lifecycle} is one.

    @ivar record: what is known of it so far; its own byte counts are filled at its end only.
    @ivar bytes_up: bytes written to the target by now. @ivar bytes_down: bytes written to the client by now.
    @ivar state: one of L{OPENING} before it is a tunnel, then ``open``; ``half_closed``: one direction has ended.
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
"""The states of a connection that is not a tunnel yet: what it waits for."""


class ListenerStatus(msgspec.Struct, frozen=True):
    """@ivar endpoint: as configured. @ivar address: host and port it is bound to; None: not TCP, or not bound."""

    name: str
    endpoint: str
    address: tuple[str, int] | None

    @property
    def where(self) -> str | None:
        """The address as a person writes it."""
        if self.address is None:
            return None
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Reloads(msgspec.Struct, frozen=True):
    """How the configuration was read again since the start.

    @ivar succeeded: how often. @ivar failed: how often one was refused, and changed nothing.
    @ivar error: why the last one was refused. None: it was not, or there was none.
    @ivar time: when the last one was refused, in seconds since 1970. None: as C{error}.
    """

    succeeded: int = 0
    failed: int = 0
    error: str | None = None
    time: float | None = None

    def good(self) -> Reloads:
        """One more is in force."""
        return Reloads(self.succeeded + 1, self.failed)

    def refused(self, why: str, now: float) -> Reloads:
        """One more was refused."""
        return Reloads(self.succeeded, self.failed + 1, why, now)


class NoSuchGoal(Exception):
    """What shall be drained is not there; the message says why."""


class DrainStatus(msgspec.Struct, frozen=True):
    """A target or route whose tunnels are ended one by one, and which gets no new ones.

    @ivar kind: ``target`` or ``route``. @ivar since: when it began, in seconds since 1970.
    @ivar rate: tunnels a second. @ivar closed: tunnels ended so far.
    @ivar refused: new connections that it did not get. @ivar left: connections that it still has.
    @ivar clients: some of these, by address.
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
    """How a resolver does.

    @ivar kind: its type. @ivar counts: since it was made, by name: C{questions} that it was asked, and of what
        connections asked, C{hits} answered from memory, C{shared} by another one's question, C{stale} by an old answer
        because it failed, C{refused}; C{failures} are questions without an answer.
    @ivar breaker: ``closed``: it is asked; ``open``: a few questions a second pass.
    @ivar watch: what it knows, when it watches. @ivar error: why its last look failed. Both None: it does not watch.
    """

    name: str
    kind: str
    counts: Mapping[str, int]
    breaker: str = "closed"
    watch: str | None = None
    error: str | None = None


class TargetStatus(msgspec.Struct, frozen=True):
    """A target that is looked after.

    @ivar state: ``up``, ``down`` by the checks, or ``ejected`` for a time after connections failed.
    @ivar connections: how many dial it, or have it.
    @ivar why: why the last check or connection failed; empty: it did not.
    """

    target: str
    state: str
    connections: int
    why: str


class LimitsStatus(msgspec.Struct, frozen=True):
    """How many connections there may be at once, and how often that mattered since the start.

    @ivar max_hellos: of these, how many whose hello has not come.
    @ivar refused: connections, by limit. @ivar waited: how often accepting had to wait, by limit.
    @ivar max_connecting: connections whose hello has come and that have no tunnel yet. @ivar connecting: those now.
    @ivar loops: hellos that came back to this proxy through another one, and were denied.
    """

    max_connections: int = 0
    max_hellos: int = 0
    refused: Mapping[str, int] = msgspec.field(default_factory=dict)
    waited: Mapping[str, int] = msgspec.field(default_factory=dict)
    max_connecting: int = 0
    connecting: int = 0
    loops: int = 0


class Resolutions(msgspec.Struct, frozen=True):
    """Host names that the proxy resolves by the system's resolver; C{sniproxy.net.lookup.LookupCounts} fits.

    @ivar running: threads, by kind of name. @ivar waiting: names that wait for a thread, by kind.
    @ivar results: since the start, by result. @ivar limited: refused ones since the start, by limit.
    @ivar stale: since the start, how often the last good answer was used.
    """

    running: Mapping[str, int] = msgspec.field(default_factory=lambda: {"written": 0, "client_formed": 0})
    waiting: Mapping[str, int] = msgspec.field(default_factory=lambda: {"written": 0, "client_formed": 0})
    results: Mapping[str, int] = msgspec.field(default_factory=lambda: {"found": 0})
    limited: Mapping[str, int] = msgspec.field(default_factory=lambda: {"per_client": 0, "queue": 0, "time": 0})
    stale: int = 0


class Status(msgspec.Struct, frozen=True):
    """The state of the proxy. Times are seconds since 1970.

    @ivar ready: it listens, and does not drain. @ivar started: when the process began to serve.
    @ivar configuration: the file in force, or where else it came from. @ivar since: when it came into force.
    @ivar access_log_lost: lines of the access log that could not be written.
    @ivar warnings: what the operator should look at, a sentence each: brokers without a route, then what the
        configuration has. @ivar reloads: how reloads went.
    @ivar drains: what is being drained. @ivar resolvers: those with a table of their own.
    @ivar targets: those that are looked after. @ivar limits: of connections.
    @ivar event_log_lost: lines of the inspector's log that could not be written.
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


class StatusSource(Protocol):
    """C{sniproxy.server.view.ServiceView} is one; each call costs no more than what it returns."""

    @property
    def ready(self) -> bool:
        """It listens, and does not drain."""
        ...

    @property
    def reloads(self) -> Reloads:
        """How reloads went."""
        ...

    def targets_status(self) -> Sequence[TargetStatus]:
        """The targets whose health is tracked."""
        ...

    def resolvers_status(self) -> Sequence[ResolverStatus]:
        """The resolvers with a table of their own."""
        ...

    def limits_status(self) -> LimitsStatus:
        """The limits of connections."""
        ...

    def status(self) -> Status: ...

    def in_force(self, most: int) -> Mapping[str, Any]:
        """The configuration in force, as JSON has it. @param most: entries of each list."""
        ...

    def live(self) -> Sequence[Live]:
        """All connections that have not ended, the oldest first."""
        ...

    def drain(self, name: str, rate: float) -> DrainStatus:
        """End the tunnels of a target or a route at this rate a second, and give it no new ones.

        @raise NoSuchGoal: there is none of this name.
        """
        ...

    def undrain(self, name: str) -> DrainStatus:
        """Give it new connections again. @raise NoSuchGoal: it is not being drained."""
        ...
