"""The stage that connects to a target, and records which targets failed.

Most routes have one target, an IP address. Such a route has a plan (L{sniproxy.net.dialplan}): its target is dialled
without asking anything again, and is often connected at once.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result, packed_address, short_seconds
from sniproxy.interfaces import Target
from sniproxy.net.connect import Begun, begin
from sniproxy.net.dialer import DialError
from sniproxy.net.transparent import NoSource, client_source, why_not_from
from sniproxy.routing.router import DialPlan
from sniproxy.tls.alerts import Alert

log = Logger()


async def dial(
    conn: Lifecycle, targets: Sequence[Target], plan: DialPlan | None = None, from_client: bool = False
) -> socket.socket:
    """Connect to the first target that can be reached, within what is left of C{timeouts.connect}.

    @param plan: of the route. None: there is none. @param from_client: dial from the client's address.
    @return: the target's socket.
    @raise Refusal: C{denied}, C{connect_failed} or C{connect_timeout}.
    """
    upstream = await _connect(conn, targets, plan, source_of(conn.record.client) if from_client else None)
    host, port = upstream.getsockname()[:2]
    conn.record.upstream = packed_address(host.partition("%")[0], port)
    return upstream


def source_of(client: str) -> str:
    """The address that a client's targets are dialled from: C{target_source}.

    @param client: as in L{client_source}. @raise Refusal: C{denied}, the client has no such address.
    """
    try:
        return client_source(client)
    except NoSource as error:
        why = f"target_source: targets cannot be dialled from the client: {error}"
        raise Refusal(Result.DENIED, why, Alert.ACCESS_DENIED) from error


async def _connect(
    conn: Lifecycle, targets: Sequence[Target], plan: DialPlan | None, source: str | None
) -> socket.socket:
    """L{dial}, without the record of the socket's own address.

    @param source: the IP address to dial from. None: the system chooses it.
    """
    if plan is None or targets is not plan.targets:
        return await _dial(conn, targets, source)
    if source is not None and why_not_from(source, plan.host) is not None:  # the ordinary dial reports the reason
        return await _dial(conn, targets, source)
    reactor, record = conn.context.reactor, conn.record
    began = reactor.seconds()
    stats = conn.context.upstreams.add_planned(plan.key)
    record.target, conn.target = plan.text, plan.targets[0]
    try:
        begun = begin(plan.host, plan.port, source)
    except OSError:  # the ordinary dial meets the same error and reports it
        return await _dial(conn, targets, source)
    if begun[1]:  # not connected yet
        return await _dial(conn, targets, source, begun)
    now = reactor.seconds()
    record.connect_s = short_seconds(now - began)
    stats.record_connect(record.connect_s, now)
    return begun[0]


async def _dial(
    conn: Lifecycle, targets: Sequence[Target], source: str | None, begun: Begun | None = None
) -> socket.socket:
    """L{dial} without a plan, or when the connect waits.

    @param source: see L{_connect}.
    @param begun: the first target is being dialled already, and may be. None: none is.
    """
    context, record, permit = conn.context, conn.record, conn.permit
    upstreams = context.upstreams

    def failed(target: Target, error: DialError) -> None:
        why = str(error)
        if upstreams.record_failure(target, why, context.reactor.seconds(), error.kind):
            seconds = upstreams.health.eject
            log.warn("target {target} ejected for {seconds:g} s: {why}", target=str(target), seconds=seconds, why=why)

    usable = list(targets) if begun is not None else upstreams.usable(record.route, targets)
    if targets and not usable:
        # No alert: the drain may be undone, and after a plain close all clients try again.
        raise Refusal(Result.CONNECT_FAILED, f"drained: {', '.join(map(str, targets))}")
    began = context.reactor.seconds()
    begins: list[tuple[Target, float]] = []

    def trying(target: Target) -> None:
        begins.append((target, context.reactor.seconds()))
        conn.enter_target(target)

    conn.stage = "connect"
    try:
        left = context.timeouts.connect - (record.resolve_s or 0.0)
        client = None if permit is None else permit.client
        dialling = context.dialer.dial(usable, left, trying, failed, client, begun, source)
        upstream = await conn.while_connected(dialling)
        target, now = conn.target, context.reactor.seconds()
        if target is not None:
            first = next((when for one, when in begins if one is target), began)
            upstreams.record_success(target, now - first, now)
        return upstream
    except DialError as error:
        alert = Alert.ACCESS_DENIED if error.result is Result.DENIED else None
        raise Refusal(error.result, str(error), alert) from error
    finally:
        record.connect_s = short_seconds(context.reactor.seconds() - began)
