"""The stages of a client's connection through the bridge, in order."""

from __future__ import annotations

from sniproxy.bridge.firstframe import FirstFrame, NotConnect
from sniproxy.bridge.pending import PendingLookups
from sniproxy.bridge.redirects import LookupObserver
from sniproxy.bridge.runtime import BridgeRuntime
from sniproxy.bridge.tunnel import BridgeTunnel
from sniproxy.config.allowed import Broker
from sniproxy.connection.dial import dial
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.connection.sendproxy import header_for, send_header
from sniproxy.connection.termination import to_broker
from sniproxy.connection.tunnel import start_relay
from sniproxy.events import Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import text, write
from sniproxy.pulsar.serviceurl import TLS_PORT, BadServiceURL, host_and_port
from sniproxy.relay.pacing import Paced
from sniproxy.tls.alerts import Alert
from sniproxy.util.names import host_port, ip_literal

ROUTE = "bridge"
"""The route in the access log."""

BY_ADDRESS = "; an SNI proxy routes by name: advertise a host name in place of this address"
"""Added to the cause of a failure, because the hello of such a connection has no server name."""


async def handle_bridge(
    conn: Lifecycle, bridge: BridgeRuntime, tap: Paced | None = None, observe: LookupObserver | None = None
) -> None:
    """Handle a client connection of a bridge.

    @param tap: receives the frames of both sides as they were sent. None: no tap.
    @param observe: receives the lookups that the bridge itself sends to brokers. None: no observer.
    @raise Refusal: there is no tunnel.
    """
    conn.record.route = ROUTE
    connect, received = await read_connect(conn, bridge)
    named = text(connect, "proxy_to_broker_url", 300)
    brokers = [choose_broker(conn, bridge, named)] if named else bridge.service()
    if conn.permit is not None:
        conn.permit.enter_connecting(ROUTE, conn.record.listener)
    broker, upstream = await reach(conn, bridge, brokers)
    pending = None if named else PendingLookups(connect, conn.context.account)
    tunnel = BridgeTunnel(conn, bridge, broker, pending, tap, observe)
    conn.call_at_end(tunnel.end)
    send_header(conn, upstream, header_for(conn, bridge.send_proxy))
    start_relay(conn, upstream, received, tunnel.directions)


async def read_connect(conn: Lifecycle, bridge: BridgeRuntime) -> tuple[pb.CommandConnect, bytes]:
    """Read the client's first frame. @return: its CONNECT, and all bytes that were read, for the broker.

    @raise Refusal: the client sent no CONNECT before C{timeouts.hello}.
    """
    assert conn.sock is not None
    context = conn.context
    stage = FirstFrame(context.reactor, conn.sock, context.timeouts.hello, context.account)
    try:
        connect = await stage.first()
    except ClientGone as error:
        raise Refusal(Result.CLIENT_GONE, str(error)) from error
    except ReadTimeout as error:
        raise Refusal(Result.HELLO_TIMEOUT, str(error)) from error
    except NotConnect as error:
        bridge.warn(f"a client is refused: {error}")
        if error.speaks_pulsar:
            conn.last_bytes = _error_frame(pb.ServerError.NotAllowedError, str(error))
        raise Refusal(Result.NOT_PULSAR, str(error), Alert.HANDSHAKE_FAILURE if error.speaks_tls else None) from error
    finally:
        conn.record.received = len(stage.received)
    conn.receive_hello(len(stage.received))
    return connect, bytes(stage.received)


def choose_broker(conn: Lifecycle, bridge: BridgeRuntime, named: str) -> Broker:
    """The broker that CONNECT names. @raise Refusal: C{denied}."""
    try:
        host, port = host_and_port(named, "proxy_to_broker_url")
        broker = host, TLS_PORT if port is None else port
        why = bridge.allowing.denies(broker)
        shown = host_port(*broker)
    except BadServiceURL as error:
        why, shown = str(error), named
    if why is not None:
        message = f"the client asks for {shown}: {why}"
        bridge.warn(message)
        conn.last_bytes = _error_frame(pb.ServerError.ServiceNotReady, message)
        raise Refusal(Result.DENIED, message)
    return broker


async def reach(conn: Lifecycle, bridge: BridgeRuntime, brokers: list[Broker]) -> tuple[Broker, TLSSocket]:
    """Connect to the first broker that can be reached, and verify its name.

    @raise Refusal: of the last broker; none can be reached.
    """
    last: Refusal | None = None
    for broker in brokers:
        try:
            return broker, await _connect(conn, bridge, broker)
        except Refusal as refusal:
            by_address = bridge.proxy is not None and ip_literal(broker[0]) is not None
            bridge.warn(f"{host_port(*broker)} cannot be reached: {refusal}{BY_ADDRESS if by_address else ''}")
            last = refusal
    assert last is not None  # a service URL has a host
    # A plain close, without an error frame: clients then try again.
    raise Refusal(last.result, str(last)) from last


async def _connect(conn: Lifecycle, bridge: BridgeRuntime, broker: Broker) -> TLSSocket:
    context, record = conn.context, conn.record
    record.server_name = broker[0]
    host, port = (bridge.proxy.host, bridge.proxy.port) if bridge.proxy else broker
    target = Target(host, port)
    context.upstreams.stats.record_answer(target, context.reactor.seconds(), record.server_name, ROUTE)
    sock = await dial(conn, [target])
    began, conn.stage = context.reactor.seconds(), "handshake"
    upstream = TLSSocket(sock, bridge.tls().connection(broker[0]))
    spent = record.connect_s or 0.0
    try:
        left = max(context.timeouts.connect - spent, 0.0)
        await conn.while_connected(to_broker(context.reactor, upstream, broker[0], left, context.account))
    except BaseException:
        context.closer(upstream)
        raise
    finally:
        record.connect_s = spent + context.reactor.seconds() - began
    return upstream


def _error_frame(error: pb.ServerError, message: str) -> bytes:
    """The last frame of a connection. The request id 2^64 - 1 means the connection."""
    return write(pb.CommandError(request_id=2**64 - 1, error=error, message=message))
