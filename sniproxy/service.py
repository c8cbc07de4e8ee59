"""Builds the house from a configuration, starts and drains it: what ``twistd sniproxy`` runs and others embed."""

from __future__ import annotations

import os
import resource
import socket
import time
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from sniproxy.admin.sources import ListenerStatus, Status
from sniproxy.bridge.crossing import Crossing
from sniproxy.bridge.spans import LiveSpan
from sniproxy.build import build_endpoint, build_routing, build_spans, build_terminator
from sniproxy.check import warnings
from sniproxy.conversation import Conversation
from sniproxy.events import Connection, Observer, Result
from sniproxy.inspector import Watch
from sniproxy.interfaces import Target
from sniproxy.life import House, Life
from sniproxy.names import host_port, ip_literal
from sniproxy.net import copying, splicing
from sniproxy.net.dialer import Dialer
from sniproxy.net.direction import Way
from sniproxy.net.linger import Closer
from sniproxy.net.listener import Accepted, Acceptor, NoSocket, listen_at_once
from sniproxy.net.loopguard import LoopGuard
from sniproxy.net.portholder import holder
from sniproxy.net.relay import Ending
from sniproxy.net.tapping import tapped
from sniproxy.settings import Bridge, Configuration, Listener
from sniproxy.siderooms import SideRooms
from sniproxy.text import counted

log = Logger()


RESERVE = 64
"""Descriptors that connections leave to the reactor, the log and the pipes between sockets."""

_AT_ONCE = Ending(Result.SHUTDOWN, "the proxy was told to stop at once")


class _NoProtocol(Factory):
    """What an endpoint is given to listen with: nothing it accepted would come here (see L{Acceptor})."""

    noisy = False

    def logPrefix(self) -> str:
        return "sniproxy"


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one. @return: the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a container may forbid it
            return soft
    return hard


class ProxyService(Service):
    """The proxy. L{startService} listens; L{stopService} stops listening and drains.

    @param observer: told of each ended connection, beside the access log.
    @param way: how bytes are moved; unless given, C{splice} where the system has it.
    @ivar addresses: where each listener is bound, by its name; only TCP listeners, only while it runs.
    @ivar admin_address: where the admin endpoint is bound; None: there is none, or it is not TCP.
    """

    def __init__(
        self, configuration: Configuration, reactor: Any, observer: Observer | None = None, way: Way | None = None
    ) -> None:
        """@raise ConfigError: the configuration cannot be used."""
        self.configuration = configuration
        self.addresses: dict[str, tuple[str, int]] = {}
        self.admin_address: tuple[str, int] | None = None
        self._warnings = list(warnings(configuration))
        self._reactor = reactor
        self._observer = observer
        self._way = way or (splicing.SpliceDirection if splicing.available else copying.CopyDirection)
        self._routing = build_routing(configuration, reactor)
        self._endpoints = [
            (listener, build_endpoint(configuration, f"listener[{number}].endpoint", listener.endpoint.text, reactor))
            for number, listener in enumerate(configuration.listeners)
        ]
        self._terminators = {
            listener.name: build_terminator(configuration, listener.termination, reactor.seconds)
            for listener in configuration.listeners
            if listener.termination is not None
        }
        self._bridges = [
            (span, build_endpoint(configuration, f"{bridge.key}.endpoint", bridge.endpoint.text, reactor), bridge)
            for bridge, span in build_spans(configuration, reactor.seconds)
        ]
        admin = configuration.admin
        self._admin = build_endpoint(configuration, "admin.endpoint", admin.endpoint.text, reactor) if admin else None
        self._closer = Closer(reactor)
        self._guard = LoopGuard()
        self._bridge_guard = LoopGuard()
        self._acceptors: list[Acceptor] = []
        self._descriptors = 0
        self._live: dict[Life, None] = {}
        self._count = 0
        self._at_once = False
        self._drain_timer: Any = None
        self._drained: Deferred[None] | None = None
        self._side: SideRooms | None = None
        self._started = time.time()
        # Unique among restarts and processes that write to one log.
        self._id_prefix = os.urandom(4).hex()
        self._house: House | None = None

    def startService(self) -> None:
        """Open the access log and listen.

        @raise CannotListenError: an address cannot be listened on; nothing listens then.
        @raise CannotOpen: the access log cannot be opened.
        """
        self._descriptors = raise_descriptor_limit()
        side = self._side = SideRooms(self.configuration, self._reactor, self, self._routed, self._observer)
        self._house = House(
            self._reactor,
            self._routing,
            self.configuration.timeouts,
            Dialer(self._reactor, self._veto, self._closer),
            self._closer,
            self._way,
            side.ended,
        )
        try:
            for listener, endpoint in self._endpoints:
                address = self._listen(listener, endpoint, self._accepting(listener))
                if address is not None:
                    self._guard.add(*address)
            for span, endpoint, bridge in self._bridges:
                span.address = self._listen(bridge, endpoint, self._crossing(bridge, span))
                if span.address is not None:
                    self._guard.add(*span.address)
                    self._bridge_guard.add(*span.address)
            admin = self.configuration.admin
            if self._admin is not None and admin is not None:
                self.admin_address = side.listen(self._admin, admin.endpoint.text)
                if self.admin_address is not None:
                    self._guard.add(*self.admin_address)
        except Exception:
            for acceptor in self._acceptors:
                acceptor.stop()
            self._acceptors.clear()
            side.close()
            raise
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Stop accepting, give the tunnels C{timeouts.drain} seconds, then end the rest in order.

        @return: fires when all is closed and logged.
        """
        Service.stopService(self)
        self._drained = Deferred()
        stopped = DeferredList([d for d in (acceptor.stop() for acceptor in self._acceptors) if d is not None])
        self._acceptors.clear()
        self.addresses.clear()
        for conversation in list(self._live):
            if not conversation.tunnelling:
                conversation.end(Ending(Result.SHUTDOWN, "the proxy is stopping"))
        seconds = 0.0 if self._at_once else self.configuration.timeouts.drain
        if self._live and seconds:
            tunnels = counted(len(self._live), "tunnel")
            log.info("draining for at most {seconds:g} s: {tunnels}", tunnels=tunnels, seconds=seconds)
            ending = Ending(Result.DRAINED, f"still open {seconds:g} s after the proxy began to stop")
            self._drain_timer = self._reactor.callLater(seconds, self._end_all, ending)
        elif self._live:
            self._end_all(_AT_ONCE)
        self._check_drained()
        drained = self._drained
        return (
            stopped.addCallback(lambda _: drained)
            .addCallback(lambda _: self._closer.settled())
            .addCallback(self._stopped)
        )

    def end_now(self) -> None:
        """End all tunnels at once: while it drains, or when it will be told to drain."""
        self._at_once = True
        self._end_all(_AT_ONCE)
        self._closer.close_now()

    def reopen_logs(self) -> None:
        """After a log rotation: the logs, all of them."""
        if self._side is not None:
            self._side.reopen()

    def _listen(
        self, listener: Listener | Bridge, endpoint: IStreamServerEndpoint, accepted: Accepted
    ) -> tuple[str, int] | None:
        port = listen_at_once(endpoint, _NoProtocol(), listener.endpoint.text)
        try:
            acceptor = Acceptor(self._reactor, port, listener.name, accepted, self._has_room)
        except NoSocket as error:
            raise CannotListenError(listener.endpoint.text, None, error) from error
        self._acceptors.append(acceptor)
        address = acceptor.address
        if address is not None:
            self.addresses[listener.name] = address
        log.info("listener {name}: listening on {where}", name=listener.name, where=_where(address, listener))
        return address

    def _accepting(self, listener: Listener) -> Accepted:
        plaintext = self._routing.plaintext.get(listener.name)
        terminator = self._terminators.get(listener.name)
        # splice moves bytes as they are: it cannot encrypt them.
        way = None if terminator is None else copying.CopyDirection
        assert self._side is not None
        inspector = self._side.inspector if listener.inspect else None

        def accepted(sock: socket.socket, client: str) -> None:
            assert self._house is not None
            record = self._record(listener.name, client)
            watch = inspector.watch(record) if inspector is not None else None
            tapping = way if watch is None else tapped(watch)
            self._begin(Conversation(self._house, sock, record, plaintext, terminator, tapping), watch)

        return accepted

    def _crossing(self, bridge: Bridge, span: LiveSpan) -> Accepted:
        assert self._house is not None and self._side is not None
        # It may lead to a listener of this very proxy; to a bridge, it would come back for ever.
        dialer = Dialer(self._reactor, self._bridge_veto, self._closer)
        house = attrs.evolve(self._house, dialer=dialer)
        inspector = self._side.inspector if bridge.inspect else None

        def accepted(sock: socket.socket, client: str) -> None:
            record = self._record(bridge.name, client)
            watch = inspector.watch(record) if inspector is not None else None
            heard = None if inspector is None else inspector.aside(record)
            self._begin(Crossing(house, sock, record, span, watch, heard), watch)

        return accepted

    def _record(self, listener: str, client: str) -> Connection:
        self._count += 1
        return Connection(f"{self._id_prefix}-{self._count}", time.time(), listener, client)

    def _begin(self, life: Life, watch: Watch | None) -> None:
        self._live[life] = None

        def ended(life: Life) -> None:
            if watch is not None:
                watch.end()
            self._live.pop(life, None)
            self._check_drained()

        life.begin(ended)

    def _bridge_veto(self, target: Target, address: str | None) -> str | None:
        return None if address is None else self._bridge_guard.denies(address, target.port)

    def _veto(self, target: Target, address: str | None) -> str | None:
        """Our own listeners always; then the policy, which has an opinion on what clients form."""
        loop = None if address is None else self._guard.denies(address, target.port)
        return loop or self.configuration.policy.refuses(target, address)

    def _has_room(self) -> bool:
        """Whether the descriptors suffice for one more connection and its dial; pipes make do with what is left."""
        reserve = min(RESERVE, self._descriptors // 4)
        return 2 * (len(self._live) + 1) + len(self._closer) <= self._descriptors - reserve

    def _check_drained(self) -> None:
        if self._drained is not None and not self._live and not self._drained.called:
            if self._drain_timer is not None and self._drain_timer.active():
                self._drain_timer.cancel()
            self._drained.callback(None)

    def _end_all(self, ending: Ending) -> None:
        for conversation in list(self._live):
            conversation.end(ending)

    def _stopped(self, _: object) -> Deferred[None]:
        splicing.close_spare_pipes()
        assert self._side is not None
        closed = self._side.close()
        log.info("stopped: {summary}", summary=self._side.summary())
        return closed

    # What the admin endpoint asks

    def status(self) -> Status:
        """The state of the proxy."""
        listeners = [
            ListenerStatus(listener.name, listener.endpoint.text, self.addresses.get(listener.name))
            for listener in self.configuration.entrances
        ]
        lost = 0 if self._side is None else self._side.lost
        ready = bool(self.running) and self._drained is None
        return Status(ready, self._started, self.configuration.filename, self._started, listeners, lost, self._warnings)

    def live(self) -> list[Life]:
        """The connections that have not ended, the oldest first."""
        return list(self._live)

    def _routed(self, host: str) -> bool:
        """Whether a TLS client that asks for this host would be let through; without TLS listeners nobody asks."""
        asked = [listener.name for listener in self.configuration.listeners if listener.plaintext is None]
        if not asked or (self._routing.default is not None and ip_literal(host) is None):
            return True
        return any(self._routing.table.match(host, name) is not None for name in asked)


def why_not_listening(error: CannotListenError) -> str:
    """What stands in the way of a listener, who holds the port, and the cure."""
    where = (
        f"{error.interface or 'all addresses'} port {error.port}"
        if isinstance(error.port, int)
        else str(error.interface)
    )
    problem = error.socketError
    message = f"cannot listen on {where}: {getattr(problem, 'strerror', None) or problem}"
    if isinstance(error.port, int):
        held_by = holder(error.port)
        if held_by is not None:
            message += f"; it is held by {held_by}"
        elif isinstance(problem, PermissionError):
            message += "; ports below 1024 need a privilege: CAP_NET_BIND_SERVICE"
    return message


def _where(address: tuple[str, int] | None, listener: Listener | Bridge) -> str:
    if address is None:
        return listener.endpoint.text
    return host_port(*address)
