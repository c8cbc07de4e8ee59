"""The last stage of a connection: starts its relay."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.relay.direction import Direction, DirectionFactory
from sniproxy.relay.relay import Relay
from sniproxy.relay.state import TunnelState


def start_relay(
    conn: Lifecycle, upstream: socket.socket, received: bytes, directions: DirectionFactory | None = None
) -> None:
    """Start to move bytes. When the tunnel ends, the relay calls L{Lifecycle.finish}.

    The engine gets plain tunnels: nothing looks at the bytes, and no side speaks TLS with the proxy.

    @param received: the client's bytes that were read already. The target gets them first.
    @param directions: make the relay's directions, which look at the bytes. None: nothing looks at them.
    """
    context, client = conn.context, conn.sock
    assert client is not None
    plain = directions is None and type(client) is type(upstream) is socket.socket
    if context.faults is not None and context.faults.rules and _start_faulty(conn, upstream, received, directions):
        return
    if context.engine is not None and plain:
        opened = context.engine.open(client, upstream, received, conn)
        if opened is not None:
            conn.enter_tunnel(opened)
            return
    relay = _relay(context, client, upstream, received, directions or Direction)
    conn.enter_tunnel(relay)
    relay.start(conn.finish)


def _start_faulty(
    conn: Lifecycle, upstream: socket.socket, received: bytes, directions: DirectionFactory | None
) -> bool:
    """Start a relay with faults on purpose, if some concern the connection. @return: whether they do."""
    context, client, record = conn.context, conn.sock, conn.record
    assert context.faults is not None and client is not None
    reads_pulsar = conn.may_half_close or isinstance(upstream, TLSSocket)
    if not context.faults.concern(record.listener, record.server_name, reads_pulsar=reads_pulsar):
        return False
    # Imported here: nearly all proxies have no fault.
    from sniproxy.faults.relay import FaultRelay
    from sniproxy.faults.tunnel import TunnelFaults

    active = context.faults
    faults = TunnelFaults(
        active, record.listener, record.server_name, reads_pulsar, lambda rule, what: active.applied(rule, record, what)
    )
    make = partial(FaultRelay, faults=faults)
    relay = _relay(context, client, upstream, received, directions or Direction, make)
    conn.enter_tunnel(relay)
    relay.start(conn.finish)
    return True


def resume_relay(conn: Lifecycle, state: TunnelState) -> None:
    """Continue a tunnel that a relay gave back, of this process or of another. It may end at once.

    If the connection was to end meanwhile, the tunnel ends so.
    """
    context = conn.context
    opened = None if context.engine is None else context.engine.resume(state, conn)
    if opened is not None:
        conn.enter_tunnel(opened)
    else:
        relay = _relay(context, state.client, state.target, b"", Direction)
        relay.restore(state)
        conn.enter_tunnel(relay)
        relay.start(conn.finish)
    conn.end_if_asked()


def _relay(
    context: ConnectionContext,
    client: socket.socket,
    upstream: socket.socket,
    received: bytes,
    directions: DirectionFactory,
    make: Callable[..., Relay] = Relay,
) -> Relay:
    return make(
        context.reactor,
        client,
        upstream,
        received,
        closer=context.closer,
        idle=context.timeouts.idle,
        half_closed=context.timeouts.half_closed,
        account=context.account,
        directions=directions,
    )
