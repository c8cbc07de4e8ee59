"""What the admin endpoint shows of a running proxy, and the drains that operators begin there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime

from sniproxy.admin.sources import (
    DrainStatus,
    LimitsStatus,
    ListenerStatus,
    RelayStatus,
    Reloads,
    ResolverStatus,
    Status,
    TargetStatus,
)
from sniproxy.config.dump import dump_configuration
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.routing.upstreams import UpstreamTable
from sniproxy.server.build import Built
from sniproxy.server.connections import ConnectionManager
from sniproxy.server.drain import DrainManager, find_drain_target
from sniproxy.server.listeners import Listeners
from sniproxy.server.observers import Observers
from sniproxy.server.routecheck import RouteCheck


class ServiceView:
    """The L{sniproxy.admin.sources.StatusSource} of one proxy. The service writes what changes, the endpoint reads.

    @ivar ready: the proxy listens, and does not drain.
    @ivar reloads: how many reloads succeeded and failed.
    @ivar drains: drains of targets and routes.
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

    def reloaded(self) -> None:
        """A reload has succeeded."""
        self._since = time.time()
        self.reloads = self.reloads.with_success()

    def reload_failed(self, why: str) -> None:
        """A reload has failed; the configuration is the one before."""
        self.reloads = self.reloads.with_failure(why, time.time())

    def status(self) -> Status:
        """The state of the proxy."""
        configuration, observers = self._built.configuration, self.observers
        addresses = self._listeners.addresses
        return Status(
            self.ready,
            self._started,
            configuration.filename,
            self._since,
            [
                ListenerStatus(listener.name, listener.endpoint.text, addresses.get(listener.name))
                for listener in configuration.entrances
            ],
            0 if observers is None else observers.lost,
            [*self._cross_check.warnings, *self._warnings],
            self.reloads,
            self.drains.status(),
            self.resolvers_status(),
            self.targets_status(),
            self.limits_status(),
            0 if observers is None else observers.events_lost,
            self.relay_status(),
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

    def targets_status(self) -> list[TargetStatus]:
        """The targets whose health is tracked."""
        now, upstreams = self._reactor.seconds(), self._upstreams
        return [
            TargetStatus(str(one.target), one.state(now), upstreams.connections(one.target), one.why)
            for one in upstreams.known.values()
        ]

    def live(self) -> list[Lifecycle]:
        """The connections that have not ended, the oldest first."""
        return list(self._connections.live)

    def drain(self, name: str, rate: float) -> DrainStatus:
        """Drain a target or a route: send it no new connections, and end its tunnels. @param rate: tunnels a second.

        @raise UnknownDrainTarget: nothing has this name.
        """
        live, seen = self._connections.live, self._upstreams.answered
        return self.drains.begin(find_drain_target(name, self._built.configuration, live, seen), rate)

    def undrain(self, name: str) -> DrainStatus:
        """Send it new connections again. @raise UnknownDrainTarget: it is not being drained."""
        return self.drains.undo(name)
