"""The stage that asks the resolver of the route for the targets of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Refusal, Result
from sniproxy.interfaces import Refused, Request, Resolution, Target, Unavailable, as_coroutine
from sniproxy.net.dialplan import plan_of
from sniproxy.net.listener import own_port
from sniproxy.routing.patterns import captured
from sniproxy.routing.router import LiveRoute
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello

log = Logger()

REPEAT_INTERVAL_S = 60.0
"""Seconds before the same failure is logged again. The access log has every failure."""


async def resolve(conn: Lifecycle, route: LiveRoute, hello: ClientHello | None) -> Sequence[Target]:
    """Ask the route's resolver, unless the route itself names all targets.

    A route whose only target is an IP address has a plan (L{sniproxy.net.dialplan}); nothing is asked again for it.

    @param hello: None on a plaintext listener.
    @return: the targets, in the order to dial them.
    @raise Refusal: the resolver refused, failed, or gave no answer within C{timeouts.connect}; or the name leads back
        to this proxy.
    """
    reactor, record, dialer = conn.context.reactor, conn.record, conn.context.dialer
    if dialer.guard is not None and conn.context.upstreams.all_alike:
        plan = plan_of(route, dialer.veto, dialer.guard)
        if plan is not None:
            record.resolve_s = 0.0
            return plan.targets
    began = reactor.seconds()
    fixed = None if route.fixed is None else route.fixed()
    if fixed is not None:
        targets = _in_order(conn, route, fixed, hello is None)
        record.resolve_s = reactor.seconds() - began
        return targets
    conn.stage = "resolve"
    try:
        resolution = await _ask(conn, route)
    finally:
        record.resolve_s = reactor.seconds() - began
    targets = _in_order(conn, route, resolution, hello is None)
    if conn.ending:  # the resolver ignored the cancellation
        raise CancelledError
    if hello is not None and any(target.client_formed for target in targets):
        _deny_loop(conn, hello, route)
    return targets


async def _ask(conn: Lifecycle, route: LiveRoute) -> Resolution:
    record, reactor, seconds = conn.record, conn.context.reactor, conn.context.timeouts.connect
    parts, port = captured(route.server_name, record.server_name), own_port(conn.sock)
    tlvs = {} if record.proxied is None else record.proxied.tlvs
    destination = None if record.proxied is None else record.proxied.destination
    proxy_port = None if destination is None else destination.port
    request = Request(record.server_name, record.alpn, record.client, record.listener, parts, port, tlvs, proxy_port)
    try:
        resolution: object = route.resolver.resolve(request)
        if not isinstance(resolution, Resolution) and isinstance(resolution, Awaitable):
            # Most resolvers answer at once, and then nothing waits.
            resolution = await conn.while_connected(_answer(resolution, seconds, reactor))
    except Refused as refused:
        why = f"the resolver refused: {refused.reason}"
        raise Refusal(Result.NO_ROUTE, why, Alert.UNRECOGNIZED_NAME) from refused
    except DeferredTimeout as error:
        raise Refusal(Result.RESOLVER_FAILED, f"the resolver gave no answer within {seconds:g} s") from error
    except Unavailable as error:
        raise Refusal(Result.RESOLVER_FAILED, f"resolver unavailable: {error}") from error
    except Exception as error:
        if conn.ending:  # cancelled: the resolver has not failed
            raise
        if reactor.seconds() >= route.quiet_until:
            route.quiet_until = reactor.seconds() + REPEAT_INTERVAL_S
            log.failure("resolver of route {route} failed", route=route.server_name)
        raise Refusal(Result.RESOLVER_FAILED, f"the resolver failed: {type(error).__name__}: {error}") from error
    if not isinstance(resolution, Resolution) or not resolution.targets:
        raise Refusal(Result.RESOLVER_FAILED, "the resolver gave no target")
    return resolution


async def _answer(resolution: Awaitable[Resolution], seconds: float, reactor: IReactorTime) -> object:
    """Wait for an answer. @raise DeferredTimeout: none came within C{seconds}."""
    return await Deferred.fromCoroutine(as_coroutine(resolution)).addTimeout(seconds, reactor)


def _in_order(conn: Lifecycle, route: LiveRoute, resolution: Resolution, plaintext: bool) -> list[Target]:
    """The targets of an answer, in the order to dial them."""
    upstreams, now = conn.context.upstreams, conn.context.reactor.seconds()
    upstreams.record_answer(
        resolution.targets,
        conn.record.server_name,
        now,
        plaintext=plaintext,
        header=route.check_header,
        route=route.server_name if route.fixed is None else None,
    )
    return upstreams.order(route.turns.order(resolution.targets), route.least_connections, now)


def _deny_loop(conn: Lifecycle, hello: ClientHello, route: LiveRoute) -> None:
    """@raise Refusal: a connection with the same hello is open here, so the name leads back to this proxy."""
    reactor, randoms, record = conn.context.reactor, conn.context.randoms, conn.record
    if randoms.enter(hello.random):
        conn.call_at_end(partial(randoms.leave, hello.random))
        return
    if reactor.seconds() >= randoms.quiet_until:
        randoms.quiet_until = reactor.seconds() + REPEAT_INTERVAL_S
        log.warn(
            "listener {listener}: loop denied: the name {name} (route {route}) leads through another proxy back to "
            "this one; list the allowed names in [policy] allow_names",
            listener=record.listener, name=record.server_name, route=route.server_name,
        )  # fmt: skip
    why = "a loop: a connection with the same hello is open here; list the allowed names in [policy] allow_names"
    raise Refusal(Result.DENIED, why, Alert.ACCESS_DENIED)
