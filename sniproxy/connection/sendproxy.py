"""Sends PROXY protocol headers to targets."""

from __future__ import annotations

import socket

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.sending import SendProxy


def header_for(conn: Lifecycle, settings: SendProxy | None) -> bytes:
    """The header for the target of a connection. Empty: the target gets none.

    Call it while the lifecycle owns the client's socket, and before TLS is terminated on it.
    """
    if settings is None:
        return b""
    record = conn.record
    destination = None if record.proxied is None else record.proxied.destination
    values = {"authority": record.server_name, "unique_id": record.id}
    return settings.header(_address(record.client), destination or _local(conn.sock), values)


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


def _address(client: str) -> Address | None:
    """@param client: ``192.0.2.7:50123``, ``[2001:db8::7]:50123`` or ``unix``."""
    host, _, port = client.rpartition(":")
    return Address(host.strip("[]"), int(port)) if host else None


def _local(sock: socket.socket | None) -> Address | None:
    name = None if sock is None else sock.getsockname()
    if not isinstance(name, tuple):
        return None
    host = name[0].removeprefix("::ffff:") if "." in name[0] else name[0]
    return Address(host.partition("%")[0], name[1])
