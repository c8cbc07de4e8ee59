"""The proxy as a Twisted service: ``twistd sniproxy`` runs it, and other programs embed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.config.warnings import check_headers, plaintext_targets
from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.events import Observer
from sniproxy.logs.writer import CannotOpen
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.dialer import Dialer
from sniproxy.net.reuseport import SocketKeeper
from sniproxy.net.veto import DestinationVeto, LoopGuard
from sniproxy.relay.engine import EngineUnavailable
from sniproxy.relay.selector import RelaySelector
from sniproxy.routing.upstreams import UpstreamTable
from sniproxy.server.build import Built, build, build_beside, relay_error
from sniproxy.server.capability import check_transparent
from sniproxy.server.closedlisteners import ClosedListeners
from sniproxy.server.connections import ConnectionManager
from sniproxy.server.healthchecks import HealthChecker
from sniproxy.server.listeners import Listeners, raise_descriptor_limit, why_not_listening
from sniproxy.server.observers import Observers
from sniproxy.server.routecheck import RouteCheck
from sniproxy.server.shutdown import Shutdown
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.upgrade.listening import Listening
from sniproxy.server.upgrade.predecessor import Predecessor
from sniproxy.server.upgrade.program import Start
from sniproxy.server.upgrade.succession import Succession
from sniproxy.server.view import ServiceView
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.gcpause import gc_paused
from sniproxy.util.offload import Offload, at_once, finish, free, in_thread
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()


class ProxyService(Service):
    """The proxy. L{startService} listens, L{reload} changes the configuration, L{stopService} drains.

    @param observer: called with the record of each ended connection, in addition to the access log.
    @param keeper: keeps listening sockets for the next process. None: they are closed at the stop.
    @param predecessor: the process that this one replaces. It accepts no connections before L{take_over} says so. None:
        it replaces none.
    @param admin: serves the admin endpoint if the configuration has one. None: the endpoint that it names.
    @ivar view: status and drains, for the admin endpoint.
    """

    warnings: Sequence[str]
    """Warnings about the current configuration, for the operator."""

    def __init__(
        self,
        configuration: Configuration,
        reactor: IReactor,
        observer: Observer | None = None,
        keeper: SocketKeeper | None = None,
        predecessor: Predecessor | None = None,
        admin: IStreamServerEndpoint | None = None,
    ) -> None:
        """@raise ConfigError: the configuration cannot be used."""
        self._reactor = reactor
        self._admin = admin
        check_transparent(configuration)
        self._built = build(configuration, reactor)
        self.warnings = operator_warnings(configuration)
        self._closer = LingeringCloser(reactor)
        self._relays = RelaySelector(reactor, self._closer)
        self._guard, self._bridge_guard = LoopGuard(), LoopGuard()
        self._account = BufferAccount()
        live: dict[Lifecycle, None] = {}
        self._shutdown = Shutdown(reactor, live)
        self._connections = ConnectionManager(
            reactor,
            live,
            self._closer,
            self._relays,
            lambda: self._observers.inspector,
            self._shutdown.check,
            self._account,
        )
        self._reloading = DeferredLock()
        self._descriptors = 0
        self._listeners = Listeners(reactor, self._connections.must_wait, predecessor or keeper)
        self._upstreams = UpstreamTable()
        self._closed = ClosedListeners(self._listeners, self._upstreams, reactor.seconds)
        self._checker = HealthChecker(
            reactor, self._upstreams, self._closer, self._account, checked=self._closed.follow
        )
        self._cross_check = RouteCheck(configuration, self._built.routing, {})
        self.view = ServiceView(
            reactor, self._listeners, self._connections, self._upstreams, self._built, self.warnings, self._cross_check
        )
        self._observers = Observers(
            reactor,
            self.view,
            lambda broker, entrance: self._cross_check.unrouted(broker, entrance),
            observer,
            self._account,
            self._connections.add_descriptors,
            (lambda _: None) if predecessor is None else predecessor.take_admin,
        )
        self.view.observers = self._observers
        self._succession = Succession(
            reactor,
            Listening(self._listeners, self._observers, self.view),
            self._connections,
            self._observers.left,
            self._observers.adopted,
            self._checker.stop,
            predecessor,
        )
        self._succession.show(self.view)

    @property
    def configuration(self) -> Configuration:
        """The current configuration."""
        return self._built.configuration

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of each TCP listener, by its name, while the proxy runs."""
        return self._listeners.addresses

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of the admin endpoint, in a worker the supervisor's. None: there is none, or it is not TCP."""
        admin = self.configuration.admin
        return self._observers.admin_address or (None if admin is None else admin.supervisor_address)

    @property
    def connections(self) -> int:
        """The number of connections that have not ended."""
        return len(self._connections.live)

    def summary(self) -> str:
        """The state in one line, as in C{1,203 tunnels, 2 targets down}."""
        return str(self.counts())

    def counts(self) -> StateCounts:
        """The connections and the failing targets."""
        return self.view.counts()

    def startService(self) -> None:
        """Open the logs and listen.

        @raise ConfigError: the relay that the configuration asks for cannot be used.
        @raise CannotListenError: the proxy cannot listen on an address. Then it listens on none.
        @raise CannotOpen: a log cannot be opened.
        """
        self._descriptors = raise_descriptor_limit()
        try:
            self._apply(self._built, self.warnings)
        except BaseException:
            self._relays.close()
            raise
        Service.startService(self)
        self.view.ready = True
        self._succession.started()

    def take_over(self, in_charge: Callable[[bool], None]) -> None:
        """Take the tunnels of the predecessor, then accept connections. See L{Succession.take_over}."""
        self._succession.take_over(lambda: self._context, in_charge)

    def upgrade(
        self, start: Start, in_charge: Callable[[int], None], end: Callable[[], None]
    ) -> Deferred[UpgradeReport]:
        """Start a new process that takes over from this one. See L{Succession.upgrade}."""

        def begin() -> Deferred[UpgradeReport]:
            try:
                self._check_running()
            except ConfigError as error:
                return succeed(UpgradeReport(str(error)))
            return self._succession.upgrade(start, self.configuration.timeouts.upgrade_drain, in_charge, end)

        return self._reloading.run(begin)

    def retire(self, end: Callable[[], None]) -> None:
        """Accept no more connections. @param end: called after C{timeouts.upgrade_drain} seconds."""
        self._succession.retire(self.configuration.timeouts.upgrade_drain, end)

    def reload(self, read: Callable[[], Configuration]) -> str | None:
        """Replace the configuration, as a whole or not at all. The reactor waits meanwhile; see L{reload_beside}.

        Open connections keep the configuration that they were accepted with. A listener whose endpoint is unchanged
        keeps its socket.

        @param read: returns the configuration, or raises C{ConfigError}.
        @return: why the reload failed. None: it succeeded.
        """
        return finish(self._reload(read, at_once))

    def reload_beside(self, read: Callable[[], Configuration]) -> Deferred[str | None]:
        """As L{reload}, but read and build in a thread, beside the traffic. Such reloads run one after the other.

        @param read: is called in a thread.
        @return: fires with the result, also if the proxy stops meanwhile.
        """
        offload = in_thread(self._reactor)
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload(read, offload)))

    async def _reload(self, read: Callable[[], Configuration], offload: Offload) -> str | None:
        before = self._built
        try:
            self._check_running()
            with gc_paused():
                built = await build_beside(await offload(read), self._reactor, offload, before)
                check_transparent(built.configuration)
                warnings = await offload(lambda: operator_warnings(built.configuration))
            self._check_running()
            if self._built is not before:
                raise ConfigError("a later reload has succeeded meanwhile")
            self._apply(built, warnings)
        except CannotListenError as error:
            why = why_not_listening(error)
        except (ConfigError, CannotOpen) as error:
            why = str(error)
        except Exception as error:  # usually a fault of a resolver plugin
            log.failure("internal error while reading the configuration")
            why = f"internal error while reading it: {type(error).__name__}: {error}"
        else:
            self.view.reloaded()
            routes = counted(len(self.configuration.routes), "route")
            log.info("reloaded {file}: {routes}", file=self.configuration.filename, routes=routes)
            for warning in warnings:
                log.warn("warning: {text}", text=warning)
            # The objects of the routes are freed last, in slices; all else at once, with `before`.
            dropped: list[object] = [*before.configuration.routes, *before.routing.table.routes()]
            del before
            await offload(lambda: free(dropped))
            return None
        self.view.reload_failed(why)
        log.error("reload failed, keeping the current configuration: {why}", why=why)
        return why

    def _check_running(self) -> None:
        if self._succession.over:
            raise ConfigError("another process has taken over")
        if not self.running:
            raise ConfigError("the proxy is stopping")

    def stopService(self) -> Deferred[None]:
        """Stop listening, give tunnels C{timeouts.drain} seconds, then end the rest.

        @return: fires when all sockets are closed and all records are logged.
        """
        Service.stopService(self)
        self._succession.stop()  # an upgrade that fails may make the listeners ready
        self.view.ready = False
        self.view.drains.stop()
        self._checker.stop()
        stopped = DeferredList(self._listeners.stop())
        drained = self._shutdown.begin(self.configuration.timeouts.drain)
        return (
            stopped.addCallback(lambda _: self._shutdown.listeners_closed())
            .addCallback(lambda _: drained)
            .addCallback(lambda _: self._closer.settled())
            .addCallback(lambda _: self._built.resolvers.stop())
            .addCallback(self._stopped)
        )

    def end_now(self) -> None:
        """End all tunnels now, and do not drain, neither now nor at a later stop."""
        self._shutdown.end_now()
        self._closer.close_now()

    def reopen_logs(self) -> None:
        """Open all log files again, after a log rotation, also those of processes that this one has replaced."""
        self._succession.reopen()

    def _apply(self, built: Built, warnings: Sequence[str]) -> None:
        """Apply a configuration. All that can fail comes first; if it raises, nothing has changed."""
        configuration = built.configuration
        try:
            relay = self._relays.prepare(configuration.relay, configuration.relay_threads)
        except EngineUnavailable as error:
            raise relay_error(configuration, error) from error
        veto = DestinationVeto(self._guard, configuration.policy)
        context = ConnectionContext(
            self._reactor,
            built.routing,
            configuration.timeouts,
            Dialer(self._reactor, veto.denies, self._closer, self._connections.add_descriptors, self._guard),
            self._closer,
            self._observers.ended,
            self._upstreams,
            relay.engine,
            self._connections.randoms,
            self._account,
            None if configuration.open_lines is None else self._observers.opened,
            self._connections.faults,
        )
        with ExitStack() as undo:
            change_observers = self._observers.prepare(configuration, self._admin or built.admin, undo, built.token)
            change_listeners = self._listeners.prepare(built.listeners, undo)
            undo.pop_all()
        self._built, self.warnings = built, warnings
        self._context = context
        self._relays.use(relay, configuration.relay_threads)
        self._upstreams.reconfigure(
            configuration.health, built.written, plaintext_targets(configuration), check_headers(configuration)
        )
        built.resolvers.activate()
        self._connections.change(configuration.limits, self._descriptors)
        self._connections.faults.change(configuration.faults)
        # A bridge may lead to a listener of this proxy, but a bridge that leads to a bridge is a loop.
        bridge_veto = DestinationVeto(self._bridge_guard)
        dialer = Dialer(self._reactor, bridge_veto.denies, self._closer, self._connections.add_descriptors)
        bridge_context = attrs.evolve(context, dialer=dialer)
        # Listeners before the admin endpoint: scripts look for the first address in the log.
        change_listeners(partial(self._connections.accepting, context, bridge_context, built))
        change_observers()
        addresses = self.addresses
        self._cross_check = RouteCheck(configuration, built.routing, addresses, built.resolvers.names_of)
        self.view.change(built, warnings, self._cross_check)
        self._guard.change([*addresses.values(), *([] if self.admin_address is None else [self.admin_address])])
        bridges = [bridge for _, bridge in built.bridges.values()]
        for bridge in bridges:
            bridge.settle(addresses.get(bridge.name), bridges)
        self._closed.change(configuration)
        self._checker.use_dialer(context.dialer)
        self._bridge_guard.change(bridge.address for bridge in bridges if bridge.address is not None)

    def _stopped(self, _: object) -> Deferred[None]:
        self._connections.close()
        self._relays.close()
        closed = self._observers.close()
        log.info("stopped: {summary}", summary=self._observers.summary())
        return closed
