"""The stage that reads the PROXY protocol header of a connection."""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Proxied, Refusal, Result
from sniproxy.net.firstbytes import READ_BYTES, ClientGone, FirstBytes, ReadTimeout
from sniproxy.proxyprotocol.header import HeaderError, NoHeader, ProxyHeader
from sniproxy.proxyprotocol.reader import begins_header, read_header
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor
from sniproxy.util.timerwheel import Deadline, timer_wheel_of

if TYPE_CHECKING:
    from sniproxy.config.proxyprotocol import AcceptProxy

REST_S = 3.0
"""Seconds from the first byte of a header to its last. A sender writes it at once (PROXY protocol, section 2), and its
connection crosses one network: this allows for two retransmissions."""

Found = tuple[ProxyHeader | None, int]
"""A header, or None, and the number of its bytes."""


class HeaderStage(FirstBytes[Found]):
    """Reads a client's socket until a header is complete, or the bytes are none; raises C{HeaderError}.

    A header has L{REST_S} from its first byte on, within the stage's own deadline.

    @param peer: whose header is refused as soon as it begins. None: headers are believed.
    """

    __slots__ = ("_peer", "_rest")

    def __init__(
        self, reactor: IReactor, sock: socket.socket, seconds: float, account: BufferAccount, peer: str | None = None
    ) -> None:
        super().__init__(reactor, sock, seconds, account, "PROXY protocol header")
        self._peer = peer
        self._rest: Deadline | None = None

    def parse(self, data: bytes) -> Found | None:
        if self._peer is not None:
            # Anybody can send a long header with a checksum: it is not read.
            begins = begins_header(self.received)
            if begins:
                raise HeaderError(
                    f"a PROXY protocol header from {_host(self._peer)}, which proxy_protocol_from of this listener "
                    "does not list"
                )
            return None if begins is None else (None, 0)
        try:
            found = read_header(self.received)
        except NoHeader:
            return None, 0
        if found is None and self._rest is None:
            self._rest = timer_wheel_of(self._reactor).after(REST_S, self._incomplete)
        return found

    def _incomplete(self) -> None:
        self._fail(HeaderError(f"no complete PROXY protocol header within {REST_S:g} s of its first byte"))

    def _stop(self) -> None:
        super()._stop()
        if self._rest is not None:
            self._rest.cancel()


class FirstMessage(FirstBytes[bytes]):
    """Reads a client's socket until bytes arrive."""

    __slots__ = ()

    def parse(self, data: bytes) -> bytes | None:
        return data


def read_proxy_header(conn: Lifecycle, settings: AcceptProxy, believed: bool) -> bytes | Coroutine[Any, Any, bytes]:
    """Read the header of a connection, if it has one. From then on the client is the one that the header names.

    @param believed: whether the peer's header is believed. Then the connection counts for its client from now on, not
        for its peer.
    @return: the bytes that were read behind it. Most headers arrive as a whole, and are read without the reactor or a
        deadline; otherwise a coroutine of these bytes, which may raise the same.
    @raise Refusal: the header is malformed, is missing, or comes from a peer that is not believed; it did not come
        before C{timeouts.hello}; or a limit of the client is reached.
    """
    assert conn.sock is not None
    data = b""
    if believed:
        found: Found | None = None
        try:
            data = conn.sock.recv(READ_BYTES)
            found = read_header(data)
        except NoHeader:
            found = None, 0
        except BlockingIOError:
            pass
        except HeaderError as error:
            raise _refusal(str(error)) from error
        except OSError as error:
            raise _unread(ClientGone(error.strerror)) from error
        if found is not None:
            return _record(conn, settings, believed, found, data)
    return _wait_for_header(conn, settings, believed, data)


def _record(conn: Lifecycle, settings: AcceptProxy, believed: bool, found: Found, received: bytes) -> bytes:
    """Record what the header says. @return: the bytes behind it."""
    record, peer = conn.record, conn.record.client
    header, size = found
    record.received = len(received) - size
    if header is not None:
        record.proxied = Proxied(peer, header.tlvs, header.destination)
        if header.source is not None:
            record.client = header.source
    elif settings.required:
        raise _refusal(f"no PROXY protocol header from {_host(peer)}, and proxy_protocol requires one")
    if conn.permit is not None and believed:
        conn.permit.enter_client(record.client)
    return received[size:]


async def read_first_message(conn: Lifecycle) -> bytes:
    """Wait for the first bytes behind a header that names no client, on a plaintext listener.

    A load balancer's health checks end here, as on a TLS listener: no target is dialled for them.

    @raise Refusal: the client left, or nothing came before C{timeouts.hello}.
    """
    context, sock = conn.context, conn.sock
    assert sock is not None
    seconds = context.timeouts.hello
    stage = FirstMessage(context.reactor, sock, seconds, context.account, "first message", conn.elapsed())
    try:
        received = await stage.first()
    except (ClientGone, ReadTimeout) as error:
        raise _unread(error) from error
    conn.record.received = len(received)
    return received


async def _wait_for_header(conn: Lifecycle, settings: AcceptProxy, believed: bool, data: bytes) -> bytes:
    """L{read_proxy_header} of a header that is not complete. @param data: what has arrived."""
    context, peer = conn.context, None if believed else conn.record.client
    assert conn.sock is not None
    stage = HeaderStage(context.reactor, conn.sock, context.timeouts.hello, context.account, peer)
    try:
        found = (stage.take(data) if data else None) or await stage.first()
    except (ClientGone, ReadTimeout) as error:
        # A part of a header is worth a line in the access log, a client that sent nothing is not.
        conn.record.received = len(stage.received)
        raise _unread(error) from error
    except HeaderError as error:
        raise _refusal(str(error)) from error
    return _record(conn, settings, believed, found, bytes(stage.received))


def _unread(error: ClientGone | ReadTimeout) -> Refusal:
    return Refusal(Result.CLIENT_GONE if isinstance(error, ClientGone) else Result.HELLO_TIMEOUT, str(error))


def _refusal(why: str) -> Refusal:
    # No alert: a sender with a wrong header need not speak TLS.
    return Refusal(Result.PROXY_HEADER, why)


def _host(peer: str) -> str:
    return peer.rpartition(":")[0] or peer
