"""The stage that reads the hello of a connection, and turns its faults into refusals."""

from __future__ import annotations

from collections.abc import Mapping

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.net.hello import HelloStage
from sniproxy.tls.clienthello import ClientHello, HelloError, HelloTooLong, NotTLS
from sniproxy.tls.nottls import PLAINTEXT_PULSAR

_RESULTS: Mapping[type[Exception], Result] = {
    ClientGone: Result.CLIENT_GONE,
    ReadTimeout: Result.HELLO_TIMEOUT,
    NotTLS: Result.NOT_TLS,
    HelloTooLong: Result.LIMIT,
    HelloError: Result.MALFORMED_HELLO,
}


async def read_hello(conn: Lifecycle) -> tuple[ClientHello, bytes]:
    """Read the hello. @return: the hello, and all bytes that were read, for the target.

    @raise Refusal: the client sent no valid hello before C{timeouts.hello}.
    """
    context, record = conn.context, conn.record
    assert conn.sock is not None
    stage = HelloStage(context.reactor, conn.sock, context.timeouts.hello, context.account)
    try:
        hello = stage.at_once()
        if hello is None:
            hello = await stage.first()
    except (ClientGone, ReadTimeout, HelloError) as error:
        alert = None
        if isinstance(error, HelloError):
            alert, conn.legacy_version = error.alert, error.legacy_version
            if str(error) == PLAINTEXT_PULSAR:
                conn.last_bytes = _tls_port_error()
        raise Refusal(_RESULTS[type(error)], str(error), alert) from error
    finally:
        record.received = len(stage.received)
    conn.receive_hello(len(stage.received))
    record.server_name, record.alpn = hello.server_name, hello.alpn
    conn.legacy_version = hello.legacy_version
    return hello, bytes(stage.received)


def _tls_port_error() -> bytes:
    """The frame for a plaintext Pulsar client on a TLS port."""
    # Imported here: few proxies ever send it.
    from sniproxy.pulsar.commands import write
    from sniproxy.pulsar.commands_pb2 import CommandError, ServerError

    # Of all errors before CONNECTED, the Java client shows the text of this one to its user. The request id 2^64 - 1
    # means the connection.
    message = "this port speaks TLS: use a pulsar+ssl:// service URL"
    return write(CommandError(request_id=2**64 - 1, error=ServerError.NotAllowedError, message=message))
