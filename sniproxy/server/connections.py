"""The connections that have not ended: each begins here, if the limits allow it, as its entrance says."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sniproxy.admin.sources import LimitsStatus
from sniproxy.config.limits import Limits
from sniproxy.config.model import Bridge, Listener
from sniproxy.connection.admission import Admission, Permit
from sniproxy.connection.handler import handle_plaintext, handle_tls
from sniproxy.connection.lifecycle import ConnectionContext, Handler, Lifecycle
from sniproxy.events import Connection, Result
from sniproxy.logs.refusals import RefusalLog
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.listener import Accepted
from sniproxy.net.sockopts import reset_on_close
from sniproxy.relay import copy as copying
from sniproxy.relay.relay import Ending
from sniproxy.relay.vanished import VanishedPeers
from sniproxy.routing.randoms import LiveRandoms
from sniproxy.server.build import Built
from sniproxy.util.names import host_port

# What reads Pulsar is imported with what is inspected, or with a bridge.
if TYPE_CHECKING:
    from sniproxy.bridge.runtime import BridgeRuntime
    from sniproxy.inspector.live import Inspector
    from sniproxy.relay.pacing import Paced

RESERVED_DESCRIPTORS = 64
"""Descriptors that connections leave to the reactor, the log and the pipes between sockets."""

DESCRIPTORS_PER_CONNECTION = 2
"""Those of a connection: the client's and the target's."""

_WHY = {
    "descriptors": "the limit of open files is near",
    "max_connections": "there are as many connections as [limits] max_connections allows",
    "max_buffered": "as many bytes wait for slow readers as [limits] max_buffered allows",
    "max_hellos": "as many wait for their hello as [limits] max_hellos allows",
}


class ConnectionManager:
    """Begins them, and knows them until they have ended.

    @param closer: what it has not closed yet counts as open.
    @param inspector: gives the one that there is now, if any. @param ended: called when one has ended.
    @ivar live: those that have not ended, the oldest first.
    @ivar admission: which of those that come are let in. @ivar randoms: finds loops through other proxies.
    """

    def __init__(
        self,
        reactor: Any,
        closer: LingeringCloser,
        inspector: Callable[[], Inspector | None],
        ended: Callable[[], None],
    ) -> None:
        self.live: dict[Lifecycle, None] = {}
        self.randoms = LiveRandoms()
        self._log = RefusalLog(reactor)
        self.admission = Admission(reactor.seconds, self._log.refused, _end)
        self._when_over = self._over  # one object for all of them
        self._usable = 0
        self._waits_for: str | None = None
        self._closer = closer
        self._inspector = inspector
        self._ended = ended
        self._count = 0
        self._vanished = VanishedPeers(reactor, lambda: [conn.sockets for conn in self.live if conn.sockets])
        # Unique among restarts and processes that write to one log.
        self._id_prefix = os.urandom(4).hex()

    def change(self, limits: Limits, descriptors: int) -> None:
        """Other limits hold. @param descriptors: how many the process may have."""
        self._usable = descriptors - min(RESERVED_DESCRIPTORS, descriptors // 4)
        self.admission.change(limits, self._usable // DESCRIPTORS_PER_CONNECTION)

    def takes(self, descriptors: int) -> None:
        """Others take this many descriptors more; negative: fewer."""
        self.admission.aside += descriptors

    def limits_status(self) -> LimitsStatus:
        """What the admin endpoint says of limits."""
        ours = self.admission
        return LimitsStatus(
            ours.max_connections,
            ours.max_hellos,
            dict(ours.refusals),
            dict(ours.waits),
            ours.max_connecting,
            ours.connecting,
            self.randoms.loops,
        )

    def close(self) -> None:
        """Write the sums of refusals that wait."""
        self._log.close()

    def accepting(
        self, context: ConnectionContext, bridge_context: ConnectionContext, built: Built, entrance: Listener | Bridge
    ) -> Accepted:
        """What takes the connections of a listener or bridge."""
        if isinstance(entrance, Bridge):
            return self._accepting_bridge(bridge_context, entrance, built.bridges[entrance.name][1])
        listener = entrance
        route = built.routing.plaintext.get(listener.name)
        terminator = built.terminators.get(listener.name)
        handler: Handler = handle_tls
        if route is not None:
            handler = partial(handle_plaintext, route=route)
        elif terminator is not None:
            handler = partial(handle_tls, terminator=terminator)
        # splice moves bytes as they are: it cannot encrypt them.
        directions = context.directions if terminator is None else copying.CopyDirection
        from sniproxy.relay.pacing import Paced, pace_of
        from sniproxy.relay.tee import tapped

        def accepted(sock: socket.socket, client: str) -> None:
            permit = self.admission.admit(client)
            if permit is None:
                refuse(sock)
                return
            conn = Lifecycle(context, sock, self._record(listener.name, client), handler)
            conn.directions = directions
            inspector = self._inspector() if listener.inspect else None
            watch = None
            if inspector is not None:
                # A client of a plaintext listener names no broker; brokers advertise the address where it listens.
                place = None if route is None else _bound(sock)
                watch = Paced(pace_of(context.reactor), inspector.watch(conn.record, place))
                conn.directions = tapped(watch)
            if route is None:
                permit.waits_as(conn)
            self._begin(conn, permit, watch)

        return accepted

    def must_wait(self) -> str | None:
        """Why no connection may be accepted now. None: one may; whoever was slow with the hello may have made room."""
        while (limit := self._full()) is not None:
            # Bytes wait for readers: hellos in time are not to blame.
            if limit == "max_buffered" or not self.admission.make_room():
                if limit != self._waits_for:  # who waits looks again and again, and so does each listener
                    self._waits_for = limit
                    self.admission.waits[limit] += 1
                return _WHY[limit]
        self._waits_for = None
        return None

    def _full(self) -> str | None:
        """Whether the descriptors suffice for one more connection and its dial; pipes make do with what is left."""
        if DESCRIPTORS_PER_CONNECTION * (len(self.live) + 1) + len(self._closer) + self.admission.aside > self._usable:
            return "descriptors"
        return self.admission.full()

    def _accepting_bridge(self, context: ConnectionContext, bridge: Bridge, runtime: BridgeRuntime) -> Accepted:
        from sniproxy.bridge.handler import handle_bridge
        from sniproxy.relay.pacing import Paced, pace_of

        def accepted(sock: socket.socket, client: str) -> None:
            permit = self.admission.admit(client)
            if permit is None:
                refuse(sock)
                return
            inspector = self._inspector() if bridge.inspect else None
            record = self._record(bridge.name, client)
            # A bridge leads to one cluster, whatever the names of its brokers.
            watch = None if inspector is None else Paced(pace_of(context.reactor), inspector.watch(record, bridge.name))
            observe = None if inspector is None else inspector.aside(record)
            conn = Lifecycle(context, sock, record, partial(handle_bridge, bridge=runtime, tap=watch, observe=observe))
            permit.waits_as(conn)
            self._begin(conn, permit, watch)

        return accepted

    def _record(self, listener: str, client: str) -> Connection:
        self._count += 1
        return Connection(f"{self._id_prefix}-{self._count}", time.time(), listener, client)

    def _begin(self, conn: Lifecycle, permit: Permit, watch: Paced | None) -> None:
        self.live[conn] = None
        self._vanished.start()
        conn.permit = permit
        if watch is None:
            conn.begin(self._when_over)
            return

        def over(conn: Lifecycle) -> None:
            try:
                watch.end()
            finally:
                self._over(conn)

        conn.begin(over)

    def _over(self, conn: Lifecycle) -> None:
        self.live.pop(conn, None)
        if not self.live:
            self._vanished.stop()
        if conn.permit is not None:
            conn.permit.leave()
        self._ended()


def refuse(sock: socket.socket) -> None:
    """Close the socket of a client that is not let in, at once and with a reset.

    Its hello is on the way or here already, so that a plain close would become a reset as well, only later; this one
    leaves nothing in the kernel that would have to wait for the client. The reactor has never heard of the socket.
    """
    reset_on_close(sock)
    sock.close()


def _bound(sock: socket.socket) -> str | None:
    """What the client has dialled, ``host:port``; None: nothing of TCP."""
    name = sock.getsockname()
    return host_port(name[0], name[1]) if isinstance(name, tuple) else None


def _end(conn: Lifecycle, why: str) -> None:
    conn.end(Ending(Result.LIMIT, why))
