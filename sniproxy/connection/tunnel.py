"""The last stage of a connection: starts its relay."""

from __future__ import annotations

import socket

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.relay.relay import Relay


def start_relay(conn: Lifecycle, upstream: socket.socket, received: bytes) -> None:
    """Start to move bytes. When the tunnel ends, the relay calls L{Lifecycle.finish}.

    The engine gets plain tunnels: nothing looks at the bytes, and no side speaks TLS with the proxy.

    @param received: the client's bytes that were read already. The target gets them first.
    """
    context, client = conn.context, conn.sock
    assert client is not None
    plain = conn.directions is context.directions and type(client) is type(upstream) is socket.socket
    if context.engine is not None and plain:
        conn.enter_tunnel(context.engine.open(client, upstream, received, context.timeouts, conn))
        return
    relay = Relay(
        context.reactor,
        client,
        upstream,
        received,
        directions=conn.directions,
        closer=context.closer,
        idle=context.timeouts.idle,
        half_closed=context.timeouts.half_closed,
    )
    conn.enter_tunnel(relay, (client, upstream))
    relay.start(conn.finish)
