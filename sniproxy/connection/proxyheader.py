"""The stage that reads the PROXY protocol header of a connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Proxied, Refusal, Result
from sniproxy.net.firstbytes import ClientGone, FirstBytes, ReadTimeout
from sniproxy.proxyprotocol.header import HeaderError, NoHeader, ProxyHeader
from sniproxy.proxyprotocol.reader import read_header
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor

if TYPE_CHECKING:
    from sniproxy.config.proxyprotocol import ProxyProtocol

Found = tuple[ProxyHeader | None, int]
"""A header, or None, and the number of its bytes."""


class HeaderStage(FirstBytes[Found]):
    """Reads a client's socket until a header is complete, or the bytes are none; raises C{HeaderError}."""

    __slots__ = ()

    def __init__(self, reactor: IReactor, sock: socket.socket, seconds: float, account: BufferAccount) -> None:
        super().__init__(reactor, sock, seconds, account, "PROXY protocol header")

    def parse(self, data: bytes) -> Found | None:
        return _parse(self.received)


def _parse(data: bytes | bytearray) -> Found | None:
    try:
        return read_header(data)
    except NoHeader:
        return None, 0


async def read_proxy_header(conn: Lifecycle, settings: ProxyProtocol) -> bytes:
    """Read the header of a connection, if it has one. From then on the client is the one that the header names.

    @return: the bytes that were read behind it.
    @raise Refusal: the header is malformed, is missing, or comes from a peer that is not believed; it did not come
        before C{timeouts.hello}; or a limit of the client is reached.
    """
    (header, size), received = await _read(conn)
    record, peer = conn.record, conn.record.client
    record.received = len(received) - size
    if header is None:
        if settings.required:
            raise _refusal(f"no PROXY protocol header from {_host(peer)}, and proxy_protocol requires one")
    elif not settings.believes(peer):
        why = f"a PROXY protocol header from {_host(peer)}, which proxy_protocol_from of this listener does not list"
        raise _refusal(why)
    else:
        record.proxied = Proxied(peer, header.tlvs, header.destination)
        if header.source is not None:
            record.client = str(header.source)
    if conn.permit is not None and settings.believes(peer):
        conn.permit.enter_client(record.client)
    return received[size:]


async def _read(conn: Lifecycle) -> tuple[Found, bytes]:
    context = conn.context
    assert conn.sock is not None
    stage = HeaderStage(context.reactor, conn.sock, context.timeouts.hello, context.account)
    try:
        return await stage.first(), bytes(stage.received)
    except ClientGone as error:
        raise Refusal(Result.CLIENT_GONE, str(error)) from error
    except ReadTimeout as error:
        raise Refusal(Result.HELLO_TIMEOUT, str(error)) from error
    except HeaderError as error:
        conn.record.received = len(stage.received)
        raise _refusal(str(error)) from error


def _refusal(why: str) -> Refusal:
    # No alert: a sender with a wrong header need not speak TLS.
    return Refusal(Result.PROXY_HEADER, why)


def _host(peer: str) -> str:
    return peer.rpartition(":")[0] or peer
