"""The last stage of a connection: starts its relay."""

from __future__ import annotations

import socket

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.relay.direction import Direction, DirectionFactory
from sniproxy.relay.relay import Relay


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
    if context.engine is not None and plain:
        opened = context.engine.open(client, upstream, received, conn)
        if opened is not None:
            conn.enter_tunnel(opened)
            return
    relay = Relay(
        context.reactor,
        client,
        upstream,
        received,
        closer=context.closer,
        idle=context.timeouts.idle,
        half_closed=context.timeouts.half_closed,
        account=context.account,
        directions=directions or Direction,
    )
    conn.enter_tunnel(relay)
    relay.start(conn.finish)
