"""The stages of a connection, in order: for a TLS listener and for a plaintext listener.

If a client leaves while its target is resolved, dialled or in a handshake, the stage is cancelled and the connection
ends. A FIN before the tunnel is open counts as leaving, because a client cannot complete a TLS handshake after it. On a
plaintext listener a FIN behind unread bytes is a legal half-close (C{printf ... | nc}): there only a reset counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sniproxy.connection.dial import dial
from sniproxy.connection.hello import read_hello
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.connection.proxyheader import read_first_message, read_proxy_header
from sniproxy.connection.resolve import resolve
from sniproxy.connection.sendproxy import header_for, send_header
from sniproxy.connection.termination import Terminator, end_tls
from sniproxy.connection.tunnel import start_relay
from sniproxy.relay.direction import DirectionFactory
from sniproxy.routing.router import LiveRoute

if TYPE_CHECKING:
    from sniproxy.config.proxyprotocol import AcceptProxy


async def handle_tls(
    conn: Lifecycle,
    terminator: Terminator | None = None,
    directions: DirectionFactory | None = None,
    proxy_protocol: AcceptProxy | None = None,
    believed: bool = False,
) -> None:
    """Handle a connection of a TLS listener.

    @param terminator: None: TLS stays end to end.
    @param directions: look at the tunnel's bytes. None: nothing does.
    @param proxy_protocol: None: the client sends no PROXY protocol header.
    @param believed: whether the header of this client is believed.

    @raise Refusal: there is no tunnel.
    """
    begun = None
    if proxy_protocol is not None:
        read = read_proxy_header(conn, proxy_protocol, believed)
        begun = read if isinstance(read, bytes) else await read
    hello, received = await read_hello(conn, begun)
    route = conn.context.routing.choose(hello, conn.record.listener)
    if terminator is not None:
        terminator.server_name(hello.server_name)
    conn.enter_route(route)
    targets = await resolve(conn, route, hello)
    upstream = await dial(conn, targets, route.plan, route.from_client)
    header = header_for(conn, route.send_proxy)
    if terminator is None:
        received = header + received
        conn.record.header_sent = bool(header)
    else:
        upstream, received = await end_tls(conn, terminator, upstream, received), b""
        send_header(conn, upstream, header)
    start_relay(conn, upstream, received, directions)


async def handle_plaintext(
    conn: Lifecycle,
    route: LiveRoute,
    directions: DirectionFactory | None = None,
    proxy_protocol: AcceptProxy | None = None,
    believed: bool = False,
) -> None:
    """Handle a connection of a plaintext listener.

    @param route: the listener's own route.
    @param directions: look at the tunnel's bytes. None: nothing does.
    @param proxy_protocol: None: the client sends no PROXY protocol header.
    @param believed: whether the header of this client is believed.

    @raise Refusal: there is no tunnel.
    """
    received = b""
    if proxy_protocol is not None:
        read = read_proxy_header(conn, proxy_protocol, believed)
        received = read if isinstance(read, bytes) else await read
        proxied = conn.record.proxied
        if not received and proxied is not None and proxied.destination is None:
            received = await read_first_message(conn)
        conn.receive_hello(len(received))
    conn.may_half_close = True
    conn.enter_route(route)
    targets = await resolve(conn, route, None)
    upstream = await dial(conn, targets, route.plan, route.from_client)
    send_header(conn, upstream, header_for(conn, route.send_proxy))
    start_relay(conn, upstream, received, directions)
