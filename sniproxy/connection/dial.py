"""The stage that connects to a target, and records which targets failed.

Most routes have one target, an IP address. Such a route has a plan (L{sniproxy.net.dialplan}): its target is dialled
without asking anything again, and is often connected at once.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.connection.resolve import resolve
from sniproxy.events import Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.dialer import Begun, DialError, begin
from sniproxy.net.dialplan import plan_of
from sniproxy.routing.router import LiveRoute
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello

log = Logger()


async def connect(conn: Lifecycle, route: LiveRoute, hello: ClientHello | None) -> socket.socket:
    """Find the targets of a route and connect to one.

    @param hello: None on a plaintext listener.
    @return: the target's socket. @raise Refusal: as L{resolve} and L{dial}.
    """
    began = conn.context.reactor.seconds()
    begun = _begin_planned(conn, route)
    if begun is None:
        return await dial(conn, await resolve(conn, route, hello))
    record = conn.record
    record.resolve_s = 0.0
    if begun[1]:  # not connected yet
        assert conn.target is not None
        return await dial(conn, [conn.target], begun)
    record.connect_s = conn.context.reactor.seconds() - began
    return begun[0]


def _begin_planned(conn: Lifecycle, route: LiveRoute) -> Begun | None:
    """Dial the target of the route's plan. @return: None: there is no plan, or it cannot be used now."""
    context = conn.context
    dialer = context.dialer
    plan = None if dialer.guard is None else plan_of(route, dialer.veto, dialer.guard)
    if plan is None or not context.upstreams.add_planned(plan.key):
        return None
    conn.record.target, conn.target = plan.text, plan.target
    try:
        return begin(plan.host, plan.port)
    except OSError:  # the ordinary dial meets the same error and reports it
        return None


async def dial(conn: Lifecycle, targets: Sequence[Target], begun: Begun | None = None) -> socket.socket:
    """Connect to the first target that can be reached, within what is left of C{timeouts.connect}.

    @param begun: the first target is being dialled already, and may be. None: none is.
    @return: the target's socket.
    @raise Refusal: C{denied}, C{connect_failed} or C{connect_timeout}.
    """
    context, record, permit = conn.context, conn.record, conn.permit
    upstreams = context.upstreams

    def failed(target: Target, why: str) -> None:
        if upstreams.record_failure(target, why, context.reactor.seconds()):
            seconds = upstreams.health.eject
            log.warn("target {target} ejected for {seconds:g} s: {why}", target=str(target), seconds=seconds, why=why)

    usable = list(targets) if begun is not None else upstreams.usable(record.route, targets)
    if targets and not usable:
        # No alert: the drain may be undone, and after a plain close all clients try again.
        raise Refusal(Result.CONNECT_FAILED, f"drained: {', '.join(map(str, targets))}")
    began = context.reactor.seconds()
    conn.stage = "connect"
    try:
        left = context.timeouts.connect - (record.resolve_s or 0.0)
        client = None if permit is None else permit.client
        dialling = context.dialer.dial(usable, left, conn.enter_target, failed, client, begun)
        upstream = await conn.while_connected(dialling)
        if conn.target is not None:
            upstreams.record_success(conn.target)
        return upstream
    except DialError as error:
        alert = Alert.ACCESS_DENIED if error.result is Result.DENIED else None
        raise Refusal(error.result, str(error), alert) from error
    finally:
        record.connect_s = context.reactor.seconds() - began
