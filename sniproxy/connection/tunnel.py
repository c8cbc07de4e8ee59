"""The last stage of a connection: starts its relay."""

from __future__ import annotations

import socket

from sniproxy.connection.lifecycle import Lifecycle, Tunnel
from sniproxy.relay.relay import Relay


def start_relay(conn: Lifecycle, upstream: socket.socket, received: bytes) -> None:
    """Start to move bytes. When the tunnel ends, the relay calls L{Lifecycle.finish}.

    @param received: the client's bytes that were read already. The target gets them first.
    """
    context, client = conn.context, conn.sock
    assert client is not None
    closer, timeouts = context.closer, context.timeouts
    relay: Tunnel | None = None
    if context.forwarding is not None and conn.directions is context.directions:
        relay = context.forwarding.relay(
            client, upstream, received, closer=closer, idle=timeouts.idle, half_closed=timeouts.half_closed
        )
    if relay is None:
        relay = Relay(
            context.reactor,
            client,
            upstream,
            received,
            directions=conn.directions,
            closer=closer,
            idle=timeouts.idle,
            half_closed=timeouts.half_closed,
            account=context.account,
        )
    conn.enter_tunnel(relay, upstream)
    relay.start(conn.finish)
