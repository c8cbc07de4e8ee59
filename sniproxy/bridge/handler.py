"""One client's connection through the bridge, from accept to end."""

from __future__ import annotations

import socket
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.bridge.answers import Answers, BridgeCallbacks, Response, failed
from sniproxy.bridge.direction import RewrittenDirection
from sniproxy.bridge.firstframe import FirstFrame, NotConnect
from sniproxy.bridge.pending import MAX_BYTES, MAX_REQUESTS, PendingRequests
from sniproxy.bridge.redirects import Follower, Heard
from sniproxy.client.brokers import Access
from sniproxy.client.failures import ClientError
from sniproxy.client.logins import Login
from sniproxy.config.allowed import Allowing, Broker
from sniproxy.connection.lifecycle import ConnectionContext, Life
from sniproxy.connection.termination import to_broker
from sniproxy.events import Connection, Refusal, Result
from sniproxy.interfaces import Target
from sniproxy.net.firstbytes import ClientGone, ReadTimeout
from sniproxy.net.tlssocket import TLSSocket
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import text, write
from sniproxy.pulsar.serviceurl import TLS_PORT, BadServiceURL, SniProxy, host_and_port
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.direction import Direction, DirectionFactory, Side
from sniproxy.relay.pacing import Paced, pace_of
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.tee import TappedDirection
from sniproxy.tls.alerts import Alert
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.util.buffered import Share
from sniproxy.util.names import host_port

log = Logger()

ROUTE = "bridge"
"""What the access log has for a route."""


class BridgeRuntime(Protocol):
    """How one bridge reaches its cluster.

    @ivar name: in logs. @ivar proxy: None: brokers are dialled by their own names.
    @ivar named_before: a topic's migration has sent clients here, whose Java clients must not skip the lookup.
    """

    name: str
    proxy: SniProxy | None
    allowing: Allowing
    named_before: bool

    def service(self) -> list[Broker]:
        """The hosts of the service URL, each connection beginning with the next one."""

    def tls(self) -> BrokerTLS:
        """Whom the bridge trusts, and what it shows, now."""

    def access(self, login: Login) -> Access:
        """The same, for connections of the bridge's own."""

    def elsewhere(self, broker: Broker, here: str) -> str | None:
        """The plain URL of the bridge to another cluster, for a client that came by this address."""

    def warn(self, message: str) -> None:
        """Tell the operator, but not again and again."""


class Crossing(Life):
    """One client connection of a bridge.

    @param tap: is shown the frames of both sides as they were sent. None: there is no tap.
    @param heard: is shown what the bridge itself asks brokers. None: nobody looks.
    """

    def __init__(
        self,
        house: ConnectionContext,
        sock: socket.socket,
        record: Connection,
        span: BridgeRuntime,
        tap: Paced | None,
        heard: Heard | None,
    ) -> None:
        super().__init__(house, sock, record)
        self._bridge = span
        self._tap = tap
        self._heard = heard
        self._down: RewrittenDirection | None = None
        self._follows: set[Deferred[None]] = set()
        self._followed = Share()  # lookups whose redirects are followed, and these
        self._follower: Follower | None = None

    async def _pass(self) -> Ending:
        record = self.record
        record.route = ROUTE
        connect, received = await self._first()
        named = text(connect, "proxy_to_broker_url", 300)
        brokers = [self._wanted(named)] if named else self._bridge.service()
        if self.guest is not None:
            self.guest.connects(ROUTE, record.listener)
        broker, upstream = await self._reach(brokers)
        asked = None if named else PendingRequests(connect)
        self._answers = Answers(self._bridge.allowing, self._told(asked, broker), asked, not self._bridge.named_before)
        try:
            return await self._relay_for(upstream, received, self._directions(asked)).run()
        finally:
            if asked is not None:
                asked.end()
            for follow in list(self._follows):
                follow.cancel()
            if self._follower is not None:
                self._follower.close()

    async def _first(self) -> tuple[pb.CommandConnect, bytes]:
        assert self._sock is not None
        stage = FirstFrame(self._house.reactor, self._sock, self._house.timeouts.hello)
        try:
            connect = await stage.first()
        except ClientGone as error:
            raise Refusal(Result.CLIENT_GONE, str(error)) from error
        except ReadTimeout as error:
            raise Refusal(Result.HELLO_TIMEOUT, str(error)) from error
        except NotConnect as error:
            self._bridge.warn(f"a client is refused: {error}")
            if error.speaks_pulsar:
                self._last_words = _refusal(pb.ServerError.NotAllowedError, str(error))
            raise Refusal(
                Result.NOT_PULSAR, str(error), Alert.HANDSHAKE_FAILURE if error.speaks_tls else None
            ) from error
        finally:
            self.record.received = len(stage.received)
        self._hello_came(len(stage.received))
        return connect, bytes(stage.received)

    def _wanted(self, named: str) -> Broker:
        """The broker that CONNECT names."""
        try:
            host, port = host_and_port(named, "proxy_to_broker_url")
            broker = host, TLS_PORT if port is None else port
            why = self._bridge.allowing.denies(broker)
            shown = host_port(*broker)
        except BadServiceURL as error:
            why, shown = str(error), named
        if why is not None:
            message = f"the client asks for {shown}: {why}"
            self._bridge.warn(message)
            self._last_words = _refusal(pb.ServerError.ServiceNotReady, message)
            raise Refusal(Result.DENIED, message)
        return broker

    async def _reach(self, brokers: list[Broker]) -> tuple[Broker, TLSSocket]:
        """The first broker that can be reached; TLS stands, and its name is verified."""
        for number, broker in enumerate(brokers):
            try:
                return broker, await self._secure(broker)
            except Refusal as refusal:
                self._bridge.warn(f"{host_port(*broker)} cannot be reached: {refusal}")
                if number == len(brokers) - 1:
                    # A plain close, without a word: clients then try again.
                    raise Refusal(refusal.result, str(refusal)) from refusal
        raise AssertionError("a service URL has a host")

    async def _secure(self, broker: Broker) -> TLSSocket:
        house, record, bridge = self._house, self.record, self._bridge
        record.server_name = broker[0]
        host, port = (bridge.proxy.host, bridge.proxy.port) if bridge.proxy else broker
        sock = await self._dial([Target(host, port)])
        began, self._waits_for = house.reactor.seconds(), "handshake"
        upstream = TLSSocket(sock, bridge.tls().connection(broker[0]))
        spent = record.connect_s or 0.0
        try:
            left = max(house.timeouts.connect - spent, 0.0)
            await self._while_present(to_broker(house.reactor, upstream, broker[0], left))
        except BaseException:
            house.closer(upstream)
            raise
        finally:
            record.connect_s = spent + house.reactor.seconds() - began
        return upstream

    def _told(self, asked: PendingRequests | None, broker: Broker) -> BridgeCallbacks:
        def follow(lookup: pb.CommandLookupTopic, answer: Response) -> bool:
            assert asked is not None
            size = lookup.ByteSize() + answer.ByteSize()
            if len(self._follows) >= MAX_REQUESTS or self._followed.bytes + size > MAX_BYTES:
                return False
            self._followed.holds(self._followed.bytes + size)
            following = Deferred.fromCoroutine(self._follow(asked, broker, lookup, answer))
            self._follows.add(following)
            following.addErrback(_unless_cancelled)
            following.addBoth(lambda _: self._follows.discard(following))
            following.addBoth(lambda _: self._followed.holds(self._followed.bytes - size))
            return True

        here = "" if self._sock is None else str(self._sock.getsockname()[0])
        return BridgeCallbacks(follow, lambda other: self._bridge.elsewhere(other, here), self._bridge.warn)

    async def _follow(
        self, asked: PendingRequests, broker: Broker, lookup: pb.CommandLookupTopic, answer: Response
    ) -> None:
        # The Redirect is being read right now: what fails at once must not be put into a stream in the middle of that.
        await deferLater(self._house.reactor, 0)
        if self._follower is None:
            self._follower = Follower(
                self._house.reactor,
                lambda: self._bridge.access(asked.login),
                self._bridge.allowing,
                self._heard or (lambda host, question, said: None),
                self._holds_more,
            )
        number = lookup.request_id
        try:
            final = await self._follower.follow(broker, lookup, answer)
            frame = self._answers.final(final, lookup)
        except ClientError as failure:
            self._bridge.warn(f"a redirect could not be followed: {failure}")
            frame = failed(number, f"the bridge could not follow a redirect: {failure}")
        if isinstance(self._relay, Relay) and self._down is not None:
            self._down.put(frame)
            self._relay.pump(self._down)

    def _holds_more(self, count: int) -> None:
        if self.guest is not None:
            self.guest.holds_more(count)

    def _directions(self, asked: PendingRequests | None) -> DirectionFactory:
        paced = self._tap or Paced(pace_of(self._house.reactor), None)
        paced.first = None if asked is None else asked.client

        def direction(source: Side, target: Side, head: bytes) -> Direction:
            if source.name == "client":
                if asked is None and self._tap is None:
                    return CopyDirection(source, target, head)
                return TappedDirection(source, target, head, paced)
            self._down = RewrittenDirection(source, target, head, self._answers, paced)
            return self._down

        return direction


def _unless_cancelled(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        log.failure("Following a redirect failed: a fault of the bridge", failure)


def _refusal(error: pb.ServerError, message: str) -> bytes:
    """The last frame of a connection: it is about the connection (request id 2^64 - 1)."""
    return write(pb.CommandError(request_id=2**64 - 1, error=error, message=message))
