"""Sends PROXY protocol headers to targets."""

from __future__ import annotations

import socket

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.net.listener import address_text
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.sending import SendProxy


def header_for(conn: Lifecycle, settings: SendProxy | None) -> bytes:
    """The header for the target of a connection. Empty: the target gets none.

    Call it while the lifecycle owns the client's socket, and before TLS is terminated on it.
    """
    if settings is None:
        return b""
    record = conn.record
    assert conn.sock is not None
    told = None if record.proxied is None else record.proxied.destination
    destination = told or _address(address_text(conn.sock.getsockname()))
    values = {"authority": record.server_name, "unique_id": record.id}
    return settings.header(_address(record.client), destination, values)


def send_header(conn: Lifecycle, upstream: socket.socket, header: bytes) -> None:
    """Send a header to a target that has got nothing yet, before the relay starts and without a tap.

    @param header: empty: nothing is sent.
    @raise Refusal: the target left. The target's socket is closed.
    """
    if not header:
        return
    try:
        sent = upstream.send(header)  # the socket's empty buffer has room for some hundred bytes
    except OSError as error:
        conn.context.closer(upstream)
        why = f"the target left before the PROXY protocol header: {error.strerror}"
        raise Refusal(Result.CONNECT_FAILED, why) from error
    if sent < len(header):
        conn.context.closer(upstream)
        raise Refusal(Result.CONNECT_FAILED, "the target's socket took only a part of the PROXY protocol header")
    conn.record.header_sent = True


def _address(text: str) -> Address | None:
    """@param text: as L{address_text} has it. A zone (``%eth0``) is left out: only this machine knows it."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]").partition("%")[0], int(port)) if host else None
