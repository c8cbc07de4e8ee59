"""The life of one connection, told by one coroutine (L{Conversation._pass}): hello, route, targets, dial, tunnel.

A client that leaves while its target is resolved, dialled or in a handshake ends its life at once: the step is
cancelled, and its sockets and places are free. A FIN before the tunnel is open counts as leaving, because a client
cannot complete a TLS handshake after it. On a plaintext listener a FIN behind bytes that the target has not received is
a legal half-close (C{printf ... | nc}): the dial continues, and only a reset ends it.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Mapping
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from sniproxy.connection.lifecycle import ConnectionContext, Life
from sniproxy.connection.termination import Terminator, to_broker, to_client
from sniproxy.events import Connection, Refusal, Result
from sniproxy.interfaces import Refused, Request, Resolution, Target, Unavailable, as_coroutine
from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.net.hello import HelloStage
from sniproxy.net.listener import own_port
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.relay.direction import DirectionFactory
from sniproxy.routing.patterns import captured
from sniproxy.routing.router import LiveRoute
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello, HelloError, HelloTooLong, NotTLS
from sniproxy.tls.nottls import PLAINTEXT_PULSAR

log = Logger()

REPEAT_INTERVAL_S = 60.0
"""Seconds before a resolver's failure is logged with its traceback again; the access log has each."""


_STAGE_RESULTS: Mapping[type[Exception], Result] = {
    ClientGone: Result.CLIENT_GONE,
    ReadTimeout: Result.HELLO_TIMEOUT,
    NotTLS: Result.NOT_TLS,
    HelloTooLong: Result.LIMIT,
    HelloError: Result.MALFORMED_HELLO,
}


class Conversation(Life):
    """One client connection, from accept to the end.

    @param plaintext: where it leads without a hello; None: TLS, and the hello says.
    @param terminator: ends the client's TLS here; None: TLS stays end to end.
    @param way: how its bytes are moved; None: the house's way.
    """

    def __init__(
        self,
        house: ConnectionContext,
        sock: socket.socket,
        record: Connection,
        plaintext: LiveRoute | None = None,
        terminator: Terminator | None = None,
        way: DirectionFactory | None = None,
    ) -> None:
        super().__init__(house, sock, record)
        self._plaintext = plaintext
        self._terminator = terminator
        self._way = way or house.way
        self._may_half_close = plaintext is not None
        self._random: bytes | None = None

    async def _pass(self) -> None:
        hello, received = None, b""
        record, route = self.record, self._plaintext
        if route is None:
            hello, received = await self._hello()
            route = self._house.routing.choose(hello, record.listener)
            if self._terminator is not None:
                self._terminator.server_name(hello.server_name)
        record.route = route.server_name
        if self.guest is not None:
            self.guest.takes(route)
        fixed = None if route.fixed is None else route.fixed()
        if fixed is not None:
            began = self._house.reactor.seconds()
            targets = self._in_turn(route, fixed)
            record.resolve_s = self._house.reactor.seconds() - began
        else:
            targets = await self._resolve(route)
            self._unless_ended()
            if hello is not None and any(target.client_formed for target in targets):
                self._deny_loop(hello, route)
        upstream = await self._dial(targets)
        if self._terminator is not None:
            upstream, received = await self._end_tls(self._terminator, upstream, received), b""
        self._tunnel(upstream, received, self._way)

    async def _hello(self) -> tuple[ClientHello, bytes]:
        assert self._sock is not None
        stage = HelloStage(self._house.reactor, self._sock, self._house.timeouts.hello)
        try:
            hello = stage.at_once()
            if hello is None:
                hello = await stage.first()
        except (ClientGone, ReadTimeout, HelloError) as error:
            alert = None
            if isinstance(error, HelloError):
                alert, self._legacy_version = error.alert, error.legacy_version
                if str(error) == PLAINTEXT_PULSAR:
                    self._last_words = this_port_speaks_tls()
            raise Refusal(_STAGE_RESULTS[type(error)], str(error), alert) from error
        finally:
            self.record.received = len(stage.received)
        self._hello_came(len(stage.received))
        self.record.server_name = hello.server_name
        self.record.alpn = hello.alpn
        self._legacy_version = hello.legacy_version
        return hello, bytes(stage.received)

    async def _resolve(self, route: LiveRoute) -> list[Target]:
        record, reactor, seconds = self.record, self._house.reactor, self._house.timeouts.connect
        parts, port = captured(route.server_name, record.server_name), own_port(self._sock)
        request = Request(record.server_name, record.alpn, record.client, record.listener, parts, port)
        began = reactor.seconds()
        self._waits_for = "resolve"
        try:
            resolution: object = route.resolver.resolve(request)
            if not isinstance(resolution, Resolution) and isinstance(resolution, Awaitable):
                # Most answer at once: then nothing is made that would wait.
                resolution = await self._while_present(_answer(resolution, seconds, reactor))
        except Refused as refused:
            why = f"the resolver refused: {refused.reason}"
            raise Refusal(Result.NO_ROUTE, why, Alert.UNRECOGNIZED_NAME) from refused
        except DeferredTimeout as error:
            raise Refusal(Result.RESOLVER_FAILED, f"the resolver gave no answer within {seconds:g} s") from error
        except Unavailable as error:
            raise Refusal(Result.RESOLVER_FAILED, f"the resolver does not say: {error}") from error
        except Exception as error:
            if self._ending is not None:  # not the resolver: we are being ended
                raise
            if reactor.seconds() >= route.quiet_until:
                route.quiet_until = reactor.seconds() + REPEAT_INTERVAL_S
                log.failure("The resolver of route {route} failed", route=route.server_name)
            raise Refusal(Result.RESOLVER_FAILED, f"the resolver failed: {type(error).__name__}: {error}") from error
        finally:
            record.resolve_s = reactor.seconds() - began
        if not isinstance(resolution, Resolution) or not resolution.targets:
            raise Refusal(Result.RESOLVER_FAILED, "the resolver gave no target")
        return self._in_turn(route, resolution)

    def _deny_loop(self, hello: ClientHello, route: LiveRoute) -> None:
        """@raise Refusal: a connection with the same hello is alive here: its name leads back to this proxy."""
        house, record = self._house, self.record
        if house.randoms.enter(hello.random):
            self._random = hello.random
            return
        if house.reactor.seconds() >= house.randoms.quiet_until:
            house.randoms.quiet_until = house.reactor.seconds() + REPEAT_INTERVAL_S
            log.warn(
                "listener {listener}: loop denied: the name {name} (route {route}) leads through another proxy back to "
                "this one; list the names that may be formed in [policy] allow_names",
                listener=record.listener, name=record.server_name, route=route.server_name,
            )  # fmt: skip
        why = (
            "a loop: the same hello is alive here, so its name leads back to this proxy; restrict [policy] allow_names"
        )
        raise Refusal(Result.DENIED, why, Alert.ACCESS_DENIED)

    def _finish(self) -> None:
        if self._random is not None:
            self._house.randoms.leave(self._random)
        super()._finish()

    def _in_turn(self, route: LiveRoute, resolution: Resolution) -> list[Target]:
        """An answer's targets, in the order to dial them."""
        standing, now = self._house.standing, self._house.reactor.seconds()
        standing.record_answer(resolution.targets, self.record.server_name, now, plaintext=self._plaintext is not None)
        return standing.order(route.turns.order(resolution.targets), route.least_connections, now)

    async def _end_tls(self, terminator: Terminator, upstream: socket.socket, received: bytes) -> TLSSocket:
        """Shake hands with the target, then with the client. @return: the target's side."""
        house, record, client = self._house, self.record, self._sock
        assert client is not None
        began, self._waits_for = house.reactor.seconds(), "handshake"
        broker: TLSSocket | None = None
        try:
            name = record.server_name
            assert name is not None  # L{Terminator.server_name} has seen to it
            broker = TLSSocket(upstream, terminator.broker().connection(name))
            left = house.timeouts.connect - (record.resolve_s or 0.0) - (record.connect_s or 0.0)
            try:
                await self._while_present(to_broker(house.reactor, broker, name, max(left, 0.0)))
            finally:
                record.connect_s = (record.connect_s or 0.0) + house.reactor.seconds() - began
            context, place = terminator.shown().context(name)
            shown = SSL.Connection(context, None)
            shown.set_accept_state()
            self._sock = client = TLSSocket(client, shown, received)
            await to_client(house.reactor, client, place, house.timeouts.hello)
        except BaseException:
            house.closer(upstream if broker is None else broker)
            raise
        return broker


async def _answer(resolution: Awaitable[Resolution], seconds: float, reactor: Any) -> object:
    """A resolver's answer. @raise DeferredTimeout: it did not come within C{seconds}."""
    return await Deferred.fromCoroutine(as_coroutine(resolution)).addTimeout(seconds, reactor)


def this_port_speaks_tls() -> bytes:
    """What a plaintext Pulsar client is told on a TLS port."""
    # Imported here: few proxies ever say it.
    from sniproxy.pulsar.commands import write
    from sniproxy.pulsar.commands_pb2 import CommandError, ServerError

    # Of all errors that come before CONNECTED, the Java client shows this one's text to its user; 2^64 - 1: it is about
    # the connection.
    said = "this port speaks TLS: use a pulsar+ssl:// service URL"
    return write(CommandError(request_id=2**64 - 1, error=ServerError.NotAllowedError, message=said))
