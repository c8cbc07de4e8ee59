"""The stage that reads the hello of a connection, and turns its faults into refusals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.net.firstbytes import READ_BYTES, ClientGone, ReadTimeout
from sniproxy.net.hello import HelloStage
from sniproxy.tls.clienthello import ClientHello, HelloError, HelloTooLong, NotTLS, read_whole_hello
from sniproxy.tls.nottls import HEADER_FAULTS, PLAINTEXT_PULSAR, SECOND_HEADER

_RESULTS: Mapping[type[Exception], Result] = {
    ClientGone: Result.CLIENT_GONE,
    ReadTimeout: Result.HELLO_TIMEOUT,
    NotTLS: Result.NOT_TLS,
    HelloTooLong: Result.LIMIT,
    HelloError: Result.MALFORMED_HELLO,
}


_shared_int = lru_cache(maxsize=256)(int)
"""Clients repeat the lengths of their hellos: idle tunnels share one object for each."""


async def read_hello(conn: Lifecycle, received: bytes | None = None) -> tuple[ClientHello, bytes]:
    """Read the client's hello.

    @param received: its first bytes, which were read behind a PROXY protocol header; often empty. None: nothing was
        read before.

    @return: the hello, and all bytes that were read, for the target.
    @raise Refusal: the client sent no valid hello before C{timeouts.hello}.
    """
    found = _read_at_once(conn, received or b"")
    if not isinstance(found, bytes):
        return found
    context, spent = conn.context, 0.0 if received is None else conn.elapsed()
    assert conn.sock is not None
    stage = HelloStage(context.reactor, conn.sock, context.timeouts.hello, context.account, spent)
    try:
        hello = stage.take(found) if found else None
        if hello is None:
            hello = await stage.first()
    except (ClientGone, ReadTimeout, HelloError) as error:
        raise _refusal(conn, error) from error
    finally:
        conn.record.received = len(stage.received)
    return _record(conn, hello, bytes(stage.received))


def _read_at_once(conn: Lifecycle, received: bytes) -> tuple[ClientHello, bytes] | bytes:
    """Read the hello if it has arrived as a whole, as nearly all have: without the reactor or a deadline.

    @return: as L{read_hello}; or the bytes that have arrived.
    @raise Refusal: the connection is broken.
    """
    assert conn.sock is not None
    data = received
    try:
        data = received or conn.sock.recv(READ_BYTES)
        hello = read_whole_hello(data)
    except (BlockingIOError, HelloError):  # the stage meets this again, and reports it
        return data
    except OSError as error:
        raise _refusal(conn, ClientGone(error.strerror)) from error
    return data if hello is None else _record(conn, hello, data)


def _record(conn: Lifecycle, hello: ClientHello, received: bytes) -> tuple[ClientHello, bytes]:
    record = conn.record
    record.received = _shared_int(len(received))
    conn.receive_hello(len(received))
    record.server_name, record.alpn = hello.server_name, hello.alpn
    conn.legacy_version = hello.legacy_version
    return hello, received


def _refusal(conn: Lifecycle, error: ClientGone | ReadTimeout | HelloError) -> Refusal:
    alert, reason = None, str(error)
    if reason in HEADER_FAULTS and conn.record.proxied is not None:
        reason = SECOND_HEADER
    if isinstance(error, HelloError):
        alert, conn.legacy_version = error.alert, error.legacy_version
        if reason == PLAINTEXT_PULSAR:
            conn.last_bytes = _tls_port_error()
    return Refusal(_RESULTS[type(error)], reason, alert)


def _tls_port_error() -> bytes:
    """The frame for a plaintext Pulsar client on a TLS port."""
    # Imported here: few proxies ever send it.
    from sniproxy.pulsar.commands import write
    from sniproxy.pulsar.commands_pb2 import CommandError, ServerError

    # Of all errors before CONNECTED, the Java client shows the text of this one to its user. The request id 2^64 - 1
    # means the connection.
    message = "this port speaks TLS: use a pulsar+ssl:// service URL"
    return write(CommandError(request_id=2**64 - 1, error=ServerError.NotAllowedError, message=message))
