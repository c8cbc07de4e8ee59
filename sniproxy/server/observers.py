"""Feeds the logs, the inspector, the metrics and the admin endpoint with the proxy's events."""

from __future__ import annotations

import socket
from collections.abc import Callable, Container
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from sniproxy.admin.sources import Resolutions, StatusSource
from sniproxy.config.inspectlog import InspectLog
from sniproxy.config.model import AdminSettings, Configuration
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection, Observer
from sniproxy.inspector.advertised import AdvertisedBroker
from sniproxy.logs.access import AccessLog, ConnectionCounter
from sniproxy.logs.opened import OpenTunnel, OpenTunnels
from sniproxy.net.listener import hand_over, listen_at_once
from sniproxy.net.lookup import lookups_of
from sniproxy.net.reuseport import KeptEndpoint
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

# Imported when they are opened: importing a web server and Pulsar's commands is slow.
if TYPE_CHECKING:
    from sniproxy.admin.site import AdminSite
    from sniproxy.inspector.live import EventLog, Inspector
    from sniproxy.pulsar.events import Event

log = Logger()

Change = Callable[[], None]
"""Activates what was prepared. It does not fail."""


class Observers:
    """The observers that the current configuration asks for. Counters survive a reload.

    @param unrouted: tells the inspector why an advertised broker has no route; None: it has one.
    @param observer: one more observer of ended connections.
    @param account: counts buffered bytes, those of the inspector too.
    @param holds: called with the change in the number of descriptors that admin connections use.
    @param take_admin: returns the socket of another process for this endpoint. None: it has none.
    @ivar inspector: reads the tunnels of inspected plaintext listeners. None until a configuration has such a listener.
    @ivar admin_address: where the admin endpoint is bound. None if there is none, or if it is not TCP.
    """

    def __init__(
        self,
        reactor: IReactor,
        status: StatusSource,
        unrouted: Callable[[AdvertisedBroker, str], str | None],
        observer: Observer | None,
        account: BufferAccount,
        holds: Callable[[int], None] = lambda _: None,
        take_admin: Callable[[str], socket.socket | None] = lambda _: None,
    ) -> None:
        self.inspector: Inspector | None = None
        self.admin_address: tuple[str, int] | None = None
        self._reactor = reactor
        self._status = status
        self._unrouted = unrouted
        self._account = account
        self._access_log: AccessLog | None = None
        self._open_tunnels: OpenTunnels | None = None
        self._event_log: EventLog | None = None
        self._lost_before = 0
        self._events_lost_before = 0
        self._journal = ConnectionCounter()
        self._holds = holds
        self._observers: list[Observer] = [self._journal] + ([observer] if observer is not None else [])
        self._watchers: list[Callable[[Event], None]] = [self._write_event]
        self._site: AdminSite | None = None
        self._admin: str | None = None
        self._take_admin = take_admin
        self._handed_over = False
        self._port: Any = None

    def prepare(
        self,
        configuration: Configuration,
        endpoint: IStreamServerEndpoint | None,
        undo: ExitStack,
        token: bytes | None = None,
    ) -> Callable[[], None]:
        """Open logs and the admin endpoint as a configuration asks, unless they are open already.

        @param endpoint: of the admin endpoint; None: no admin endpoint.
        @param token: authorizes changing requests to the admin endpoint over TCP. None: such requests are refused.
        @param undo: gets callbacks that close what was opened.
        @return: activates what was opened.
        @raise CannotOpen: a log cannot be opened. @raise CannotListenError: the admin endpoint cannot listen.
        """
        changes = [
            self._prepare_access_log(configuration.access_log, configuration.open_lines, undo),
            self._prepare_inspector(configuration, undo),
            self._prepare_admin(configuration.admin, endpoint, undo, token),
        ]

        def change() -> None:
            for one in changes:
                one()

        return change

    @property
    def lost(self) -> int:
        """Access log lines that could not be written."""
        return self._lost_before + (0 if self._access_log is None else self._access_log.lost)

    @property
    def events_lost(self) -> int:
        """Event log lines that could not be written."""
        return self._events_lost_before + (0 if self._event_log is None else self._event_log.lost)

    def ended(self, connection: Connection) -> None:
        """Call all observers with an ended connection."""
        for observer in self._observers:
            try:
                observer(connection)
            except Exception:
                log.failure("observer failed on connection {id}", id=connection.id)

    def reopen(self) -> None:
        """Reopen the logs, after a log rotation."""
        for one in (self._access_log, self._event_log):
            if one is not None:
                one.reopen()

    def close(self) -> Deferred[None]:
        """Close the admin endpoint and the logs. @return: fires when all are closed."""
        for one in (self._open_tunnels, self._access_log, self._event_log):
            if one is not None:
                one.close()
        port, self._port = self._port, None
        if self._handed_over and self._site is not None:  # otherwise the port does it
            self._site.doStop()  # type: ignore[no-untyped-call]
        closed = maybeDeferred(lambda: None if port is None else port.stopListening())
        return closed.addCallback(lambda _: None if self._site is None else self._site.connections.settled())

    def summary(self) -> str:
        """The ended connections and lost lines, in one line."""
        lost = f"; {counted(self.lost, 'line')} of the access log lost" if self.lost else ""
        if self.events_lost:
            lost += f"; {counted(self.events_lost, 'line')} of the event log lost"
        return self._journal.summary() + lost

    def opened(self, tunnel: OpenTunnel) -> None:
        """A connection has become a tunnel. Called only if the configuration asks for such lines."""
        if self._open_tunnels is not None:
            self._open_tunnels(tunnel)

    def left(self, connection: Connection) -> None:
        """A tunnel continues in another process: what has happened here counts here."""
        if self._site is not None:
            self._site.metrics.count_left(connection)

    def adopted(self, tunnel: Lifecycle, bytes_up: int, bytes_down: int) -> None:
        """Another process has opened this tunnel, which may have ended, and has counted it and its bytes so far."""
        if self._site is not None:
            self._site.metrics.count_adopted(tunnel.record, bytes_up, bytes_down)
        if self._open_tunnels is not None:
            self._open_tunnels.follow(tunnel)

    @property
    def admin_socket(self) -> tuple[str, socket.socket] | None:
        """The text of the admin endpoint, and its listening socket. None: there is none."""
        sock = getattr(self._port, "socket", None)
        return (self._admin, sock) if self._admin is not None and isinstance(sock, socket.socket) else None

    def hold(self) -> None:
        """Accept no connections to the admin endpoint until L{release}."""
        if self.admin_socket is not None:
            self._port.stopReading()

    def release(self) -> None:
        """Accept connections to the admin endpoint again."""
        if self.admin_socket is not None:
            self._port.startReading()

    def hand_over(self, taken: Container[socket.socket]) -> None:
        """Another process is in charge, and uses C{taken}: close the admin endpoint. Open requests are answered."""
        if self.admin_socket is not None:
            hand_over(self._port, self.admin_socket[1] in taken)
            self._handed_over = True
            self._port = None

    def _prepare_access_log(self, path: str | None, open_lines: float | None, undo: ExitStack) -> Change:
        before = self._access_log
        opened = None
        if before is None or before.path != path:
            opened = AccessLog(self._reactor, path)
            undo.callback(opened.close)

        def change() -> None:
            if opened is not None:
                if before is not None:
                    before.close()
                    self._lost_before += before.lost
                self._access_log, self._journal.write = opened, opened.write
            self._choose_open_lines(open_lines)

        return change

    def _choose_open_lines(self, repeat: float | None) -> None:
        tunnels = self._open_tunnels
        if repeat is None and tunnels is not None:
            tunnels.close()
            self._open_tunnels = None
        elif repeat is not None and tunnels is None:
            self._open_tunnels = OpenTunnels(self._reactor, self._write_open, repeat)
        elif repeat is not None and tunnels is not None:
            tunnels.repeat = repeat

    def _write_open(self, connection: Connection) -> None:
        if self._access_log is not None:
            self._access_log.write_open(connection)

    def _prepare_inspector(self, configuration: Configuration, undo: ExitStack) -> Change:
        wanted, before = configuration.inspect_log, self._event_log
        path = wanted.path if wanted else None
        opened = None
        inspected = any(entrance.inspect for entrance in configuration.entrances)
        if inspected:
            from sniproxy.inspector.live import EventLog, Inspector
        if inspected and (before is None or before.path != path):
            opened = EventLog(self._reactor, path)
            undo.callback(opened.close)

        def change() -> None:
            if opened is not None:
                if before is not None:
                    before.close()
                    self._events_lost_before += before.lost
                self._event_log = opened
            if inspected and self.inspector is None:
                self.inspector = Inspector(self._saw, self._unrouted, self._account)
            if self.inspector is not None:
                self.inspector.max_buffered = configuration.limits.max_buffered
            if self.inspector is not None and self._event_log is not None:
                _choose(wanted or InspectLog(""), self.inspector, self._event_log)

        return change

    def _prepare_admin(
        self, admin: AdminSettings | None, endpoint: IStreamServerEndpoint | None, undo: ExitStack, token: bytes | None
    ) -> Change:
        site, port, before = self._site, self._port, self._port
        text = None if admin is None else admin.endpoint.text
        if endpoint is None or text is None or admin is None:
            port = None
        else:
            site = site or self._new_site(admin.instance)
            if text != self._admin or port is None:
                sock = self._take_admin(text)
                port = listen_at_once(endpoint if sock is None else KeptEndpoint(self._reactor, sock), site, text)
                site.connections.accept_at(port)
                undo.callback(port.stopListening)

        def change() -> None:
            if site is not None:
                self._open_site(site, admin)
                site.token = token
            if port is before:
                return
            self._port, self._admin = port, text
            self.admin_address = None
            if port is not None:
                bound = port.getHost()
                if isinstance(bound, IPv4Address | IPv6Address):
                    self.admin_address = bound.host, bound.port
                where = text if self.admin_address is None else host_port(*self.admin_address)
                if admin is not None and admin.instance is None:  # a worker's has no address
                    log.info("admin: listening on {where}", where=where)
            if before is not None:
                before.stopListening()

        return change

    def _new_site(self, instance: int | None) -> AdminSite:
        from sniproxy.admin.metrics import Metrics
        from sniproxy.admin.recentrefusals import RecentRefusals
        from sniproxy.admin.rejections import Rejections
        from sniproxy.admin.site import AdminSite

        status, rejections = self._status, Rejections(self._reactor.seconds)
        metrics = Metrics(
            status.live,
            lambda: self.lost,
            reloads=lambda: status.reloads,
            resolvers=status.resolvers_status,
            targets=status.targets_steps,
            stats=status.target_stats,
            limits=status.limits_status,
            admin_refused=lambda: rejections.counts,
            resolutions=self._resolutions,
            event_log_lost=lambda: self.events_lost,
            relay=status.relay_status,
            listeners=lambda: status.listener_names,
            readiness=status.readiness,
            old_processes=lambda: status.old_processes,
            faults=lambda: status.faults.counts,
        )
        refusals, holds = RecentRefusals(), self._holds
        return AdminSite(
            self._reactor, status, metrics, refusals, instance=instance, holds=holds, rejections=rejections
        )

    def _resolutions(self) -> Resolutions:
        counts = lookups_of(self._reactor).counts()
        return Resolutions(counts.running, counts.waiting, {"found": 0, **counts.results}, counts.limited, counts.stale)

    def _open_site(self, site: AdminSite, admin: AdminSettings | None) -> None:
        if self._site is None:
            self._site = site
            self._observers += [site.metrics.count_connection, site.refusals]
            self._watchers.append(site.metrics.count_event)
        if site.topics is None and self.inspector is not None:
            from sniproxy.admin.topics import Topics

            topics = site.topics = Topics(self.inspector.ledger)
            site.metrics.topics = topics.by_cluster
            self._watchers.append(topics.event)
        site.name_hosts(() if admin is None else admin.hosts)

    def _write_event(self, event: Event) -> None:
        if self._event_log is not None:
            self._event_log(event)

    def _saw(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)


def _choose(wanted: InspectLog, inspector: Inspector, event_log: EventLog) -> None:
    """Set which events the inspector reports and the event log has."""
    from sniproxy.pulsar.filter import EventFilter

    event_log.event_filter = EventFilter(wanted.follow, wanted.commands)
    inspector.commands = event_log.event_filter.extra_commands
    inspector.reveal = wanted.reveal
