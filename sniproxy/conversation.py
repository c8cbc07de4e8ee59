"""The life of one connection, told by one coroutine: hello, route, targets, dial, relay.

A client that leaves while its target is being found or dialled is noticed when the relay begins: a few seconds at most,
and nothing is held for it but its socket.

Every stage answers or raises; one place turns what was raised into a result, a TLS alert or a plain close, and the
record that the access log shows.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from sniproxy.events import Connection, Observer, Result
from sniproxy.interfaces import Refused, Request, Resolution, ServerNameResolver, Target
from sniproxy.names import ip_literal
from sniproxy.net.dialer import Dialer, DialError
from sniproxy.net.hello import ClientGone, HelloStage, HelloTimeout
from sniproxy.net.linger import Closer
from sniproxy.net.listener import own_port
from sniproxy.net.relay import Ending, Relay, Way
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.commands_pb2 import CommandError, ServerError
from sniproxy.routing.patterns import captured
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import Turns
from sniproxy.schema import Timeouts
from sniproxy.wire.alerts import Alert, fatal_alert
from sniproxy.wire.clienthello import ClientHello, HelloError, HelloTooLong, NotTLS
from sniproxy.wire.foreign import PLAINTEXT_PULSAR

log = Logger()

QUIET = 60.0
"""Seconds before a resolver's failure is logged with its traceback again; the access log has each."""


@attrs.define
class LiveRoute:
    """A route with its resolver made.

    @ivar turns: whose turn it is among the targets.
    @ivar quiet_until: the reactor's time before which a failure of the resolver is not logged again.
    """

    server_name: str
    listener: str | None
    resolver: ServerNameResolver
    turns: Turns = attrs.field(factory=Turns)
    quiet_until: float = 0.0


@attrs.frozen
class Routing:
    """All that decides where a connection goes. @ivar plaintext: by the name of a plaintext listener."""

    table: RouteTable[LiveRoute]
    default: LiveRoute | None
    no_server_name: LiveRoute | None
    plaintext: Mapping[str, LiveRoute]


@attrs.frozen
class House:
    """What conversations share. @ivar way: how relays move bytes. @ivar observer: told of each ended connection."""

    reactor: Any
    routing: Routing
    timeouts: Timeouts
    dialer: Dialer
    closer: Closer
    way: Way
    observer: Observer


class _Refusal(Exception):
    """A stage's answer is no. @ivar alert: None: a plain close, after which Pulsar's clients try again."""

    def __init__(self, result: Result, reason: str, alert: Alert | None = None) -> None:
        super().__init__(reason)
        self.result = result
        self.alert = alert


_STAGE_RESULTS: Mapping[type[Exception], Result] = {
    ClientGone: Result.CLIENT_GONE,
    HelloTimeout: Result.HELLO_TIMEOUT,
    NotTLS: Result.NOT_TLS,
    HelloTooLong: Result.LIMIT,
    HelloError: Result.MALFORMED_HELLO,
}


class Conversation:
    """One client connection, from accept to the end.

    @ivar record: what is known of it so far.
    @param plaintext: where it leads without a hello; None: TLS, and the hello says.
    @param way: how its bytes are moved; None: the house's way.
    """

    def __init__(
        self,
        house: House,
        sock: socket.socket,
        record: Connection,
        plaintext: LiveRoute | None = None,
        way: Way | None = None,
    ) -> None:
        self.record = record
        self._plaintext = plaintext
        self._way = way or house.way
        self._last_words = b""
        self._waits_for = "hello"
        self._house = house
        self._sock: socket.socket | None = sock
        self._started = house.reactor.seconds()
        self._legacy_version = 0x0303
        self._relay: Relay | None = None
        self._life: Deferred[None] | None = None
        self._ending: Ending | None = None

    def begin(self, ended: Callable[[Conversation], None]) -> None:
        """Live. @param ended: called when it is over."""
        life = self._life = Deferred.fromCoroutine(self._live())
        life.addErrback(lambda failure: log.failure("The end of connection {id} failed", failure, id=self.record.id))
        life.addCallback(lambda _: ended(self))

    def end(self, ending: Ending) -> None:
        """End it from outside, in order, in whatever stage it is."""
        self._ending = ending
        if self._relay is not None:
            self._relay.end(ending)
        elif self._life is not None:
            self._life.cancel()

    @property
    def state(self) -> str:
        """``hello``, ``resolve`` or ``connect``: what it waits for; ``open``, ``half_closed``: a tunnel."""
        if self._relay is None:
            return self._waits_for
        return "half_closed" if self._relay.half_closed else "open"

    @property
    def bytes_up(self) -> int:
        """Bytes written to the target by now."""
        return 0 if self._relay is None else self._relay.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client by now."""
        return 0 if self._relay is None else self._relay.bytes_down

    @property
    def tunnelling(self) -> bool:
        """Whether it has become a tunnel."""
        return self._relay is not None

    async def _live(self) -> None:
        record = self.record
        try:
            received = b""
            route = self._plaintext
            if route is None:
                hello, received = await self._hello()
                route = self._route(hello)
            record.route = route.server_name
            targets = await self._resolve(route)
            self._unless_ended()
            upstream = await self._dial(targets)
            ending = await self._tunnel(upstream, received)
            record.result, record.reason = ending.result, ending.reason
        except _Refusal as refusal:
            record.result, record.reason, record.alert = refusal.result, str(refusal), refusal.alert
        except CancelledError:
            ending = self._ending or Ending(Result.SHUTDOWN, "cancelled")
            record.result, record.reason = ending.result, ending.reason
        except Exception:
            log.failure("Connection {id} failed: a fault of the proxy", id=record.id)
            record.result, record.reason = Result.INTERNAL_ERROR, "a fault of the proxy: see its log"
        self._finish()

    def _unless_ended(self) -> None:
        """A resolver may have swallowed the cancellation that was meant for us."""
        if self._ending is not None:
            raise CancelledError

    async def _hello(self) -> tuple[ClientHello, bytes]:
        assert self._sock is not None
        stage = HelloStage(self._house.reactor, self._sock, self._house.timeouts.hello)
        try:
            hello = await stage.hello()
        except (ClientGone, HelloTimeout, HelloError) as error:
            alert = None
            if isinstance(error, HelloError):
                alert, self._legacy_version = error.alert, error.legacy_version
                if str(error) == PLAINTEXT_PULSAR:
                    self._last_words = THIS_PORT_SPEAKS_TLS
            raise _Refusal(_STAGE_RESULTS[type(error)], str(error), alert) from error
        finally:
            self.record.received = len(stage.received)
        self.record.hello_s = self._elapsed()
        self.record.server_name = hello.server_name
        self.record.alpn = hello.alpn
        self._legacy_version = hello.legacy_version
        return hello, bytes(stage.received)

    def _route(self, hello: ClientHello) -> LiveRoute:
        name, routing = hello.server_name, self._house.routing
        if name is None:
            route = routing.no_server_name
            if route is None:
                alert = Alert.MISSING_EXTENSION if hello.offers_tls13 else Alert.HANDSHAKE_FAILURE
                raise _Refusal(Result.NO_SERVER_NAME, _NO_NAME, alert)
        else:
            route = routing.table.match(name, self.record.listener)
            if route is None and ip_literal(name) is None:
                route = routing.default
            if route is None:
                raise _Refusal(Result.NO_ROUTE, self._why_no_route(name), Alert.UNRECOGNIZED_NAME)
        return route

    def _why_no_route(self, name: str) -> str:
        if ip_literal(name) is not None:
            return "the server name is an IP literal and has no exact route; use a service URL with a host name"
        closest = self._house.routing.table.closest(name)
        if closest is None:
            return "no route has this name"
        if closest == name:
            return f"no route has this name on listener {self.record.listener}; another listener has one"
        if closest == f"*.{name}":
            return f"no route has this name; {closest} has the names below it, not itself"
        return f"no route has this name; the closest is {closest}"

    async def _resolve(self, route: LiveRoute) -> list[Target]:
        record, reactor, seconds = self.record, self._house.reactor, self._house.timeouts.connect
        parts, port = captured(route.server_name, record.server_name), own_port(self._sock)
        request = Request(record.server_name, record.alpn, record.client, record.listener, parts, port)
        began = reactor.seconds()
        self._waits_for = "resolve"
        try:
            resolution = await Deferred.fromCoroutine(_ask(route.resolver, request)).addTimeout(seconds, reactor)
        except Refused as refused:
            why = f"the resolver refused: {refused.reason}"
            raise _Refusal(Result.NO_ROUTE, why, Alert.UNRECOGNIZED_NAME) from refused
        except DeferredTimeout as error:
            raise _Refusal(Result.RESOLVER_FAILED, f"the resolver gave no answer within {seconds:g} s") from error
        except Exception as error:
            if self._ending is not None:  # not the resolver: we are being ended
                raise
            if reactor.seconds() >= route.quiet_until:
                route.quiet_until = reactor.seconds() + QUIET
                log.failure("The resolver of route {route} failed", route=route.server_name)
            raise _Refusal(Result.RESOLVER_FAILED, f"the resolver failed: {type(error).__name__}: {error}") from error
        finally:
            record.resolve_s = reactor.seconds() - began
        if not isinstance(resolution, Resolution) or not resolution.targets:
            raise _Refusal(Result.RESOLVER_FAILED, "the resolver gave no target")
        return route.turns.order(resolution.targets)

    async def _dial(self, targets: Sequence[Target]) -> socket.socket:
        house, record = self._house, self.record

        def trying(target: Target) -> None:
            record.target = str(target)

        began = house.reactor.seconds()
        self._waits_for = "connect"
        try:
            # What the resolver left of the time that the client has patience for.
            left = house.timeouts.connect - (record.resolve_s or 0.0)
            return await house.dialer.dial(targets, left, trying)
        except DialError as error:
            alert = Alert.ACCESS_DENIED if error.result is Result.DENIED else None
            raise _Refusal(error.result, str(error), alert) from error
        finally:
            record.connect_s = house.reactor.seconds() - began

    async def _tunnel(self, upstream: socket.socket, received: bytes) -> Ending:
        house, client = self._house, self._sock
        assert client is not None
        relay = self._relay = Relay(
            house.reactor,
            client,
            upstream,
            received,
            way=self._way,
            closer=house.closer,
            idle=house.timeouts.idle,
            half_closed=house.timeouts.half_closed,
        )
        self._sock = None  # the relay's now
        try:
            return await relay.run()
        finally:
            self.record.bytes_up, self.record.bytes_down = relay.bytes_up, relay.bytes_down

    def _finish(self) -> None:
        """Tell the observer, then the client."""
        record = self.record
        record.total_s = self._elapsed()
        try:
            self._house.observer(record)
        except Exception:
            log.failure("An observer failed on connection {id}", id=record.id)
        if self._sock is not None:
            if record.alert is not None:
                self._last_words = fatal_alert(record.alert, self._legacy_version)
            self._house.closer(self._sock, self._last_words)

    def _elapsed(self) -> float:
        seconds: float = self._house.reactor.seconds() - self._started
        return seconds


# What a plaintext Pulsar client is told on a TLS port. Of all errors that come before CONNECTED, the Java client shows
# this one's text to its user; 2^64 - 1: it is about the connection.
THIS_PORT_SPEAKS_TLS = write(
    CommandError(
        request_id=2**64 - 1,
        error=ServerError.NotAllowedError,
        message="this port speaks TLS: use a pulsar+ssl:// service URL",
    )
)


async def _ask(resolver: ServerNameResolver, request: Request) -> object:
    """A resolver answers at once or later; its type is a promise that is checked by who asks."""
    answer = resolver.resolve(request)
    return await answer if isinstance(answer, Awaitable) else answer


_NO_NAME = (
    "the hello has no server name; Java sends none for names without a dot and for IP addresses: "
    "use a service URL with a dotted name, or write a [no_server_name] table"
)
