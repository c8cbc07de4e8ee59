"""What the admin endpoint shows of a running proxy, and the drains that operators begin there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import (
    CLOSED,
    DrainStatus,
    LimitsStatus,
    ListenerStatus,
    Readiness,
    RelayStatus,
    Reloads,
    ResolverStatus,
    RouteStatus,
    Send,
    Status,
    TargetStatus,
)
from sniproxy.admin.upgrades import OldProcess, Upgrade
from sniproxy.config.dump import dump_configuration
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.faults.active import ActiveFaults
from sniproxy.routing.targetstats import TargetStatsTable
from sniproxy.routing.upstreams import DrainTarget, UpstreamTable
from sniproxy.server.build import Built
from sniproxy.server.connections import ConnectionManager
from sniproxy.server.drain import DrainManager, find_drain_target
from sniproxy.server.listeners import Listeners
from sniproxy.server.observers import Observers
from sniproxy.server.routecheck import RouteCheck
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.targetview import TargetView
from sniproxy.util.text import quoted

if TYPE_CHECKING:
    from sniproxy.conversation.recorder import Recording


class ServiceView:
    """The L{sniproxy.admin.sources.StatusSource} of one proxy. The service writes what changes, the endpoint reads.

    @ivar ready: the proxy listens, and does not drain.
    @ivar reloads: how many reloads succeeded and failed.
    @ivar drains: drains of targets and routes.
    @ivar drains_changed: called when a drain has begun, has another rate or was cancelled.
    @ivar upgrade: upgrades the program. None: this process cannot upgrade itself.
    @ivar find_old_processes: returns the processes that upgrades have replaced and that still have tunnels.
    @ivar observers: count the lines that logs lost. None: they are not made yet.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        listeners: Listeners,
        connections: ConnectionManager,
        upstreams: UpstreamTable,
        built: Built,
        warnings: Sequence[str],
        cross_check: RouteCheck,
    ) -> None:
        self.ready = False
        self.reloads = Reloads()
        self.drains = DrainManager(reactor, upstreams, self.live, time.time)
        self.drains_changed: Callable[[], object] = bool
        self.upgrade: Upgrade | None = None
        self.find_old_processes: Callable[[], Sequence[OldProcess]] = tuple
        self.observers: Observers | None = None
        self._reactor = reactor
        self._listeners = listeners
        self._connections = connections
        self._upstreams = upstreams
        self._started = self._since = time.time()
        self.change(built, warnings, cross_check)

    def change(self, built: Built, warnings: Sequence[str], cross_check: RouteCheck) -> None:
        """Show another configuration. @param warnings: about it, for the operator."""
        self._built = built
        self._warnings = warnings
        self._cross_check = cross_check
        self._targets = TargetView(
            self._reactor, self._upstreams, self.drains, built.configuration, self.resolvers_status
        )

    def reloaded(self) -> None:
        """A reload has succeeded."""
        self._since = time.time()
        self.reloads = self.reloads.with_success()

    def reload_failed(self, why: str) -> None:
        """A reload has failed; the configuration is the one before."""
        self.reloads = self.reloads.with_failure(why, time.time())

    def counts(self) -> StateCounts:
        """The connections and the failing targets."""
        now = self._reactor.seconds()
        states = [one.state(now) for one in self._upstreams.known.values()]
        return StateCounts(len(self._connections.live), states.count("down"), states.count("ejected"))

    def status(self) -> Status:
        """The state of the proxy."""
        configuration, observers = self._built.configuration, self.observers
        addresses, closed = self._listeners.addresses, self._listeners.closed
        return Status(
            self.ready,
            self._started,
            configuration.filename,
            self._since,
            [
                ListenerStatus(
                    listener.name, listener.endpoint.text, addresses.get(listener.name), listener.name in closed
                )
                for listener in configuration.entrances
            ],
            0 if observers is None else observers.lost,
            [
                *(f"listener {name}: closed: {CLOSED}" for name in sorted(closed)),
                *self._cross_check.warnings,
                *self._warnings,
            ],
            self.reloads,
            self.drains.status(),
            self.resolvers_status(),
            self.limits_status(),
            0 if observers is None else observers.events_lost,
            self.relay_status(),
            self.old_processes,
            [*self.faults.document()],
        )

    def current_settings(self, most: int) -> Mapping[str, Any]:
        """The current configuration, for JSON. @param most: entries of each list."""
        return dump_configuration(self._built.configuration, most)

    def resolvers_status(self) -> Sequence[ResolverStatus]:
        """The resolvers that have a table of their own."""
        return self._built.resolvers.status()

    def limits_status(self) -> LimitsStatus:
        """The limits of connections."""
        return self._connections.limits_status()

    def relay_status(self) -> RelayStatus:
        """The relay of new plain tunnels."""
        return self._connections.relay_status()

    @property
    def old_processes(self) -> Sequence[OldProcess]:
        """The processes that upgrades have replaced and that still have tunnels."""
        return self.find_old_processes()

    @property
    def faults(self) -> ActiveFaults:
        """Faults on purpose."""
        return self._connections.faults

    def add_fault(self, values: Mapping[str, str]) -> Mapping[str, Any]:
        """Add a fault. @raise BadValue: a value is wrong."""
        # Imported here: nearly all proxies have no fault.
        from sniproxy.config.faults import pulsar_listeners

        rule = self.faults.add(values, pulsar_listeners(self._built.configuration))
        return next(one for one in self.faults.document() if one["name"] == rule.fault.name)

    def take_fault(self, values: Mapping[str, str], matched: int, applied: int, added: bool) -> None:
        """Continue with a fault of the process before this one. @raise BadValue: a value is wrong here."""
        from sniproxy.config.faults import pulsar_listeners

        listeners = pulsar_listeners(self._built.configuration)
        self.faults.take_over(values, listeners, matched, applied, added)

    def record(self, listeners: Sequence[str], what: Recording, send: Send) -> tuple[list[str], Callable[[], None]]:
        """Record conversations of inspected listeners and bridges. @param listeners: their names; empty: of all.

        @return: the names, and a function that ends the recording. @raise CannotRecord: it cannot begin.
        """
        from sniproxy.admin.recording import CannotRecord
        from sniproxy.server.recordings import LiveRecording

        inspected = [one.name for one in self._built.configuration.entrances if one.inspect]
        if not inspected:
            raise CannotRecord('no listener is inspected; write inspect = "pulsar" in its table, and reload')
        for name in listeners:
            if name not in inspected:
                raise CannotRecord(f"{quoted(name)} is no inspected listener; inspected: {', '.join(inspected)}")
        current = self._connections.recording
        if current is not None and not current.over:
            raise CannotRecord("another recording is running; end it first")
        names = list(dict.fromkeys(listeners)) or inspected
        recording = LiveRecording(names, what, send, self._reactor.seconds, self._connections.account)
        self._connections.recording = recording
        return names, recording.stop

    def readiness(self) -> Readiness:
        """Whether the proxy is ready, its workers and its drains."""
        return Readiness(self.ready, self._built.configuration.workers, self.drains.status())

    @property
    def listener_names(self) -> list[str]:
        """The names of the listeners and bridges."""
        return [one.name for one in self._built.configuration.entrances]

    @property
    def target_stats(self) -> TargetStatsTable:
        """The counts of targets."""
        return self._upstreams.stats

    def targets_steps(self, limit: int) -> Steps[tuple[list[TargetStatus], int]]:
        """List the targets in steps. @return: the first ones; how many there are."""
        return self._targets.targets_steps(limit)

    def routes_steps(self, limit: int) -> Steps[tuple[list[RouteStatus], int]]:
        """List the routes in steps. @return: the first ones; how many there are."""
        return self._targets.routes_steps(limit)

    def forget_targets(self) -> Steps[None]:
        """Drop the counts of targets that are no longer used."""
        return self._targets.forget_steps()

    def live(self) -> list[Lifecycle]:
        """The connections that have not ended, the oldest first."""
        return list(self._connections.live)

    def drain(self, name: str, rate: float, kind: str | None = None) -> DrainStatus:
        """Drain a target or a route: send it no new connections, and end its tunnels. @param rate: tunnels a second.

        @param kind: C{target} or C{route}, of which this is the exact name, also if nothing has it yet. None: find out.
        @raise UnknownDrainTarget: nothing has this name.
        """
        if kind is not None:
            goal = DrainTarget(kind, name)
        else:
            live, seen = self._connections.live, self._upstreams.answered
            goal = find_drain_target(name, self._built.configuration, live, seen)
        status = self.drains.begin(goal, rate)
        self.drains_changed()
        return status

    def undrain(self, name: str, kind: str | None = None) -> DrainStatus:
        """Send it new connections again. @param kind: as in L{drain}. @raise UnknownDrainTarget: it does not drain."""
        status = self.drains.undo(name, kind)
        self.drains_changed()
        return status
