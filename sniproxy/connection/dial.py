"""The stage that connects to a target, and records which targets failed."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.dialer import DialError
from sniproxy.tls.alerts import Alert

log = Logger()


async def dial(conn: Lifecycle, targets: Sequence[Target]) -> socket.socket:
    """Connect to the first target that can be reached, within what is left of C{timeouts.connect}.

    @return: the target's socket.
    @raise Refusal: C{denied}, C{connect_failed} or C{connect_timeout}.
    """
    context, record, permit = conn.context, conn.record, conn.permit
    upstreams = context.upstreams

    def failed(target: Target, why: str) -> None:
        if upstreams.record_failure(target, why, context.reactor.seconds()):
            seconds = upstreams.health.eject
            log.warn("target {target} ejected for {seconds:g} s: {why}", target=str(target), seconds=seconds, why=why)

    usable = upstreams.usable(record.route, targets)
    if targets and not usable:
        # No alert: the drain may be undone, and after a plain close all clients try again.
        raise Refusal(Result.CONNECT_FAILED, f"drained: {', '.join(map(str, targets))}")
    began = context.reactor.seconds()
    conn.stage = "connect"
    try:
        left = context.timeouts.connect - (record.resolve_s or 0.0)
        client = None if permit is None else permit.client
        upstream = await conn.while_connected(context.dialer.dial(usable, left, conn.enter_target, failed, client))
        if conn.target is not None:
            upstreams.record_success(conn.target)
        return upstream
    except DialError as error:
        alert = Alert.ACCESS_DENIED if error.result is Result.DENIED else None
        raise Refusal(error.result, str(error), alert) from error
    finally:
        record.connect_s = context.reactor.seconds() - began
