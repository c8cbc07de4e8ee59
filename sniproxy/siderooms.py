"""What stands beside the tunnels of a running proxy and is fed by events: logs, inspector, metrics, admin endpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from sniproxy.admin.metrics import Metrics
from sniproxy.admin.refusals import Refusals
from sniproxy.admin.site import AdminSite
from sniproxy.admin.sources import StatusSource
from sniproxy.admin.topics import Topics
from sniproxy.events import Connection, Observer
from sniproxy.inspector import EventLog, Inspector
from sniproxy.journal import AccessLog, Journal
from sniproxy.linewriter import CannotOpen
from sniproxy.names import host_port
from sniproxy.net.listener import listen_at_once
from sniproxy.pulsar.events import Event
from sniproxy.settings import Configuration
from sniproxy.text import counted

log = Logger()


class SideRooms:
    """All of them, as the configuration asks for them.

    @param routed: whether some route of the proxy has a host name.
    @param observer: one more observer of ended connections.
    @ivar inspector: for plaintext listeners that are inspected; None: there is none.
    """

    def __init__(
        self,
        configuration: Configuration,
        reactor: Any,
        status: StatusSource,
        routed: Callable[[str], bool],
        observer: Observer | None,
    ) -> None:
        """Open the logs. @raise CannotOpen: one of them cannot be opened; none is open then."""
        self.inspector: Inspector | None = None
        self._access_log = AccessLog(reactor, configuration.access_log)
        self._event_log: EventLog | None = None
        self._journal = Journal(self._access_log)
        self._observers: list[Observer] = [self._journal] + ([observer] if observer is not None else [])
        self._watchers: list[Callable[[Event], None]] = []
        self._site: AdminSite | None = None
        self._port: Any = None
        if any(listener.inspect for listener in configuration.entrances):
            self._open_event_log(configuration, reactor, routed)
        if configuration.admin is not None:
            self._site = self._build_site(reactor, status, configuration.admin.hosts)

    @property
    def lost(self) -> int:
        """Lines of the access log that could not be written."""
        return self._access_log.lost

    def ended(self, connection: Connection) -> None:
        """Tell everybody of a connection that has ended."""
        for observer in self._observers:
            try:
                observer(connection)
            except Exception:
                log.failure("An observer failed on connection {id}", id=connection.id)

    def listen(self, endpoint: IStreamServerEndpoint, text: str) -> tuple[str, int] | None:
        """Begin to answer as the admin endpoint. @param text: the endpoint, as written. @return: its address, if TCP.

        @raise CannotListenError: it cannot be listened on.
        """
        assert self._site is not None
        self._port = listen_at_once(endpoint, self._site, text)
        bound = self._port.getHost()
        address = (bound.host, bound.port) if isinstance(bound, IPv4Address | IPv6Address) else None
        log.info("admin: listening on {where}", where=text if address is None else host_port(*address))
        return address

    def reopen(self) -> None:
        """After a log rotation."""
        self._access_log.reopen()
        if self._event_log is not None:
            self._event_log.reopen()

    def close(self) -> Deferred[None]:
        """Stop answering, and close the logs. @return: fires when all is closed."""
        self._access_log.close()
        if self._event_log is not None:
            self._event_log.close()
        port, self._port = self._port, None
        return maybeDeferred(lambda: None if port is None else port.stopListening())

    def summary(self) -> str:
        """What ended, in one line."""
        lost = f"; {counted(self.lost, 'line')} of the access log lost" if self.lost else ""
        return self._journal.summary() + lost

    def _open_event_log(self, configuration: Configuration, reactor: Any, routed: Callable[[str], bool]) -> None:
        wanted = configuration.inspect_log
        try:
            self._event_log = EventLog(reactor, wanted.path if wanted else None)
        except CannotOpen:
            self._access_log.close()
            raise
        self._watchers.append(self._event_log)
        self.inspector = Inspector(self._saw, routed, wanted.reveal if wanted else False)

    def _build_site(self, reactor: Any, status: StatusSource, hosts: Collection[str]) -> AdminSite:
        topics = None if self.inspector is None else Topics(self.inspector.ledger)
        metrics = Metrics(status.live, lambda: self.lost, None if topics is None else topics.__len__)
        refusals = Refusals()
        self._observers += [metrics.ended, refusals]
        self._watchers += [metrics.event] + ([topics.event] if topics is not None else [])
        return AdminSite(reactor, status, metrics, refusals, topics, hosts)

    def _saw(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)
