"""Admits, starts and tracks client connections."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from sniproxy.admin.sources import LimitsStatus, RelayStatus
from sniproxy.config.limits import Limits
from sniproxy.config.model import Bridge, Listener
from sniproxy.connection.admission import Admission, Permit
from sniproxy.connection.handler import handle_plaintext, handle_tls
from sniproxy.connection.lifecycle import ConnectionContext, Handler, Lifecycle
from sniproxy.connection.tunnel import resume_relay
from sniproxy.events import Connection, Result
from sniproxy.faults.active import ActiveFaults
from sniproxy.interfaces import Target
from sniproxy.logs.refusals import RefusalLog
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.listener import Accepted
from sniproxy.net.sockopts import reset_on_close
from sniproxy.relay.relay import Ending
from sniproxy.relay.selector import RelaySelector
from sniproxy.relay.state import TunnelState
from sniproxy.relay.vanished import VanishedPeers
from sniproxy.routing.randoms import LiveRandoms
from sniproxy.server.build import Built
from sniproxy.server.upgrade.messages import Tunnel
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.names import host_port

# Imported where they are needed: most configurations have neither a bridge nor an inspector.
if TYPE_CHECKING:
    from sniproxy.bridge.runtime import BridgeRuntime
    from sniproxy.inspector.live import Inspector
    from sniproxy.relay.pacing import Paced, Tap
    from sniproxy.server.recordings import LiveRecording

RESERVED_DESCRIPTORS = 64
"""Descriptors kept for the reactor, the relay threads and the logs."""

DESCRIPTORS_PER_CONNECTION = 2
"""Descriptors of one connection: the client's socket and the target's."""

_WHY = {
    "descriptors": "the limit of open files is nearly reached",
    "max_connections": "the number of connections has reached [limits] max_connections",
    "max_buffered": "the bytes held for slow readers have reached [limits] max_buffered",
    "max_hellos": "the connections without a complete hello have reached [limits] max_hellos",
}


class ConnectionManager:
    """All connections of one proxy, from accept to their end.

    @param live: empty; see below. Others read it.
    @param closer: sockets that it has not closed yet count as open descriptors.
    @param relays: bytes that the engine holds count as buffered, and its pipes as open descriptors.
    @param inspector: returns the inspector, or None if there is none.
    @param ended: called after a connection has ended. @param account: counts buffered bytes, for C{max_buffered}.
    @ivar live: the connections that have not ended, the oldest first.
    @ivar admission: admits connections. @ivar randoms: finds loops through other proxies. @ivar faults: on purpose.
    @ivar recording: records new inspected connections. None: no recording has begun.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        live: dict[Lifecycle, None],
        closer: LingeringCloser,
        relays: RelaySelector,
        inspector: Callable[[], Inspector | None],
        ended: Callable[[], None],
        account: BufferAccount,
    ) -> None:
        self.live = live
        self.randoms = LiveRandoms()
        self.faults = ActiveFaults()
        self.recording: LiveRecording | None = None
        self.account = account
        self._log = RefusalLog(reactor)
        self.admission = Admission(reactor.seconds, self._log.add_refusal, _end, account)
        self._when_over = self._over  # one bound method for all connections
        self._usable = 0
        self._waits_for: str | None = None
        self._closer = closer
        self._relays = relays
        self._inspector = inspector
        self._ended = ended
        self._count = 0
        self._vanished = VanishedPeers(reactor, self._sockets)
        # Connection ids are unique across restarts, and across processes that write to one log.
        self._id_prefix = os.urandom(4).hex()

    def change(self, limits: Limits, descriptors: int) -> None:
        """Apply other limits. @param descriptors: number of descriptors that the process may open."""
        self._usable = descriptors - min(RESERVED_DESCRIPTORS, descriptors // 4)
        self.admission.change(limits, self._usable // DESCRIPTORS_PER_CONNECTION)

    def add_descriptors(self, count: int) -> None:
        """Count descriptors in addition to those of connections. @param count: the change; negative: fewer."""
        self.admission.extra_descriptors += count

    def limits_status(self) -> LimitsStatus:
        """The limits and their counts, for the admin endpoint."""
        admission = self.admission
        return LimitsStatus(
            admission.max_connections,
            admission.max_hellos,
            dict(admission.refusals),
            # Zero, too: Prometheus sees the first pause only as the growth of a count that existed before.
            {**dict.fromkeys(_WHY, 0), **admission.waits},
            admission.max_connecting,
            admission.connecting,
            self.randoms.loops,
            self._full(),
        )

    def relay_status(self) -> RelayStatus:
        """The relay of new plain tunnels, for the admin endpoint."""
        engine, selection = self._relays.engine, self._relays.selection
        if engine is None:
            return RelayStatus(selection.relay, selection.why)
        return RelayStatus(selection.relay, selection.why, engine.threads, engine.tunnels, engine.held, engine.pipes)

    def close(self) -> None:
        """Log the counts of refused connections that are not logged yet."""
        self._log.close()

    def accepting(
        self, context: ConnectionContext, bridge_context: ConnectionContext, built: Built, entrance: Listener | Bridge
    ) -> Accepted:
        """Make the function that receives the accepted sockets of a listener or bridge."""
        if isinstance(entrance, Bridge):
            return self._accepting_bridge(bridge_context, entrance, built.bridges[entrance.name][1])
        listener = entrance
        route = built.routing.plaintext.get(listener.name)
        terminator = built.terminators.get(listener.name)
        headers = listener.proxy_protocol
        handler: Callable[..., Coroutine[Any, Any, None]] = handle_tls
        if route is not None:
            handler = partial(handle_plaintext, route=route)
        elif terminator is not None:
            handler = partial(handle_tls, terminator=terminator)
        believing = handler
        if headers is not None:
            handler = partial(handler, proxy_protocol=headers)
            believing = partial(handler, believed=True)
        from sniproxy.relay.tee import tapped_directions

        def accepted(sock: socket.socket, client: str) -> None:
            # A load balancer's connections count for the clients that its headers name.
            believed = headers is not None and headers.believes(client)
            permit = self.admission.admit(None if believed else client)
            if permit is None:
                refuse(sock)
                return
            conn = Lifecycle(context, sock, self._record(listener.name, client))
            inspector = self._inspector() if listener.inspect else None
            tap, stages = None, believing if believed else handler
            if inspector is not None:
                # A client of a plaintext listener names no broker; brokers advertise the address where it listens.
                place = None if route is None else _bound(sock)
                tap = self._tap(context, inspector, conn.record, place)
                stages = partial(stages, directions=tapped_directions(tap))
            if route is None or headers is not None:
                permit.wait_for_hello(conn)
            self._begin(conn, stages, permit, tap)

        return accepted

    def adopt(
        self, context: ConnectionContext, tunnel: Tunnel, record: Connection, target: Target, state: TunnelState
    ) -> Lifecycle:
        """Take over a tunnel of another process. @return: its connection, which may have ended."""
        conn = Lifecycle(context, None, record)
        conn.may_half_close = tunnel.half_closing
        conn.permit = self.admission.adopt(record.client, tunnel.route)
        conn.adopt(target, tunnel.elapsed, self._when_over)
        self.live[conn] = None
        self._vanished.start()
        resume_relay(conn, state)
        return conn

    def must_wait(self) -> str | None:
        """Why no connection may be accepted now, or None. It may end a connection with a slow hello to make room."""
        while (limit := self._full()) is not None:
            # Slow readers cause max_buffered: ending a slow hello would free nothing.
            if limit == "max_buffered" or not self.admission.make_room():
                if limit != self._waits_for:  # every listener asks repeatedly; a wait is counted once
                    self._waits_for = limit
                    self.admission.waits[limit] += 1
                return _WHY[limit]
        self._waits_for = None
        return None

    def _full(self) -> str | None:
        """The limit that is reached. One more connection and its dial need descriptors."""
        taken = DESCRIPTORS_PER_CONNECTION * len(self.live) + len(self._closer) + self.admission.extra_descriptors
        if taken + self._relays.descriptors + DESCRIPTORS_PER_CONNECTION > self._usable:
            return "descriptors"
        return self.admission.full(self._relays.held)

    def _accepting_bridge(self, context: ConnectionContext, bridge: Bridge, runtime: BridgeRuntime) -> Accepted:
        from sniproxy.bridge.handler import handle_bridge

        def accepted(sock: socket.socket, client: str) -> None:
            permit = self.admission.admit(client)
            if permit is None:
                refuse(sock)
                return
            inspector = self._inspector() if bridge.inspect else None
            record = self._record(bridge.name, client)
            tap, observe = None, None
            if inspector is not None:
                # All brokers behind a bridge are of one cluster, whatever their names.
                tap = self._tap(context, inspector, record, bridge.name)
                observe = inspector.lookup_tap(record)
            conn = Lifecycle(context, sock, record)
            permit.wait_for_hello(conn)
            self._begin(conn, partial(handle_bridge, bridge=runtime, tap=tap, observe=observe), permit, tap)

        return accepted

    def _tap(self, context: ConnectionContext, inspector: Inspector, record: Connection, place: str | None) -> Paced:
        from sniproxy.relay.pacing import Paced, pace_of

        tap: Tap = inspector.tap(record, place)
        if self.recording is not None:
            tap = self.recording.tap(tap, record)
        return Paced(pace_of(context.reactor), tap, context.account)

    def _record(self, listener: str, client: str) -> Connection:
        self._count += 1
        return Connection(f"{self._id_prefix}-{self._count}", time.time(), listener, client)

    def _sockets(self) -> list[tuple[socket.socket, ...]]:
        """The sockets of the tunnels that the engine does not serve: it watches its own."""
        tunnels = (conn.tunnel for conn in self.live)
        return [tunnel.sockets for tunnel in tunnels if tunnel is not None and tunnel.sockets]

    def _begin(self, conn: Lifecycle, handler: Handler, permit: Permit, tap: Paced | None) -> None:
        self.live[conn] = None
        self._vanished.start()
        conn.permit = permit
        if tap is None:
            conn.begin(handler, self._when_over)
            return

        def over(conn: Lifecycle) -> None:
            try:
                tap.end()
            finally:
                self._over(conn)

        conn.begin(handler, over)

    def _over(self, conn: Lifecycle) -> None:
        self.live.pop(conn, None)
        if not self.live:
            self._vanished.stop()
        if conn.permit is not None:
            conn.permit.release()
        self._ended()


def refuse(sock: socket.socket) -> None:
    """Close the socket of a client that is not admitted, with a reset.

    Its hello is on the way or received already, so a plain close would become a reset later. A reset at once leaves
    nothing in the kernel that waits for the client. The socket was never registered with the reactor.
    """
    reset_on_close(sock)
    sock.close()


def _bound(sock: socket.socket) -> str | None:
    """The address that the client has dialled, ``host:port``. None: not TCP."""
    name = sock.getsockname()
    return host_port(name[0], name[1]) if isinstance(name, tuple) else None


def _end(conn: Lifecycle, why: str) -> None:
    conn.end(Ending(Result.LIMIT, why))
