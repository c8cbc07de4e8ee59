"""The tunnel of one bridge client: rewrites the broker's answers, and follows redirects."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.bridge.answers import Answers, BridgeCallbacks, Response, failed
from sniproxy.bridge.direction import RewrittenDirection
from sniproxy.bridge.pending import MAX_BYTES, MAX_REQUESTS, PendingLookups
from sniproxy.bridge.redirects import Follower, LookupObserver
from sniproxy.bridge.runtime import BridgeRuntime
from sniproxy.client.failures import ClientError
from sniproxy.config.allowed import Broker
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.relay.direction import Direction, Side
from sniproxy.relay.pacing import Paced, pace_of
from sniproxy.relay.relay import Relay
from sniproxy.relay.tee import TappedDirection
from sniproxy.util.buffered import Share

log = Logger()


class BridgeTunnel:
    """Makes the directions of one tunnel, whose L{Answers} rewrite what the broker sends.

    @param broker: the other end. @param pending: the client's lookups. None: the client named the broker in CONNECT.
    @param tap: see L{sniproxy.bridge.handler.handle_bridge}. @param observe: the same.
    """

    def __init__(
        self,
        conn: Lifecycle,
        bridge: BridgeRuntime,
        broker: Broker,
        pending: PendingLookups | None,
        tap: Paced | None,
        observe: LookupObserver | None,
    ) -> None:
        self._conn = conn
        self._bridge = bridge
        self._broker = broker
        self._pending = pending
        self._tap = tap
        self._observe = observe
        self._here = "" if conn.sock is None else str(conn.sock.getsockname()[0])
        self._paced = tap or Paced(pace_of(conn.context.reactor), None, conn.context.account)
        self._paced.first = None if pending is None else pending.client
        self._down: RewrittenDirection | None = None
        self._follower: Follower | None = None
        self._following: set[Deferred[None]] = set()
        self._followed = Share(conn.context.account)  # bytes of the lookups whose redirects are followed
        callbacks = BridgeCallbacks(self._follow, self._elsewhere, bridge.warn)
        self._answers = Answers(bridge.allowing, callbacks, pending, not bridge.named_before)

    def directions(self, source: Side, target: Side, head: bytes) -> Direction:
        """Make a direction of the relay."""
        if source.name == "client":
            if self._pending is None and self._tap is None:
                return Direction(source, target, head)
            return TappedDirection(source, target, head, self._paced)
        self._down = RewrittenDirection(source, target, head, self._answers, self._paced)
        return self._down

    def end(self) -> None:
        """The tunnel has ended: drop its lookups, and stop following redirects and waiting for the budget."""
        if self._tap is None:  # otherwise its owner ends it
            self._paced.end()
        if self._pending is not None:
            self._pending.end()
        for following in list(self._following):
            following.cancel()
        if self._follower is not None:
            self._follower.close()

    def _elsewhere(self, broker: Broker) -> str | None:
        return self._bridge.elsewhere(broker, self._here)

    def _follow(self, lookup: pb.CommandLookupTopic, answer: Response) -> bool:
        """Begin to follow a redirect. @return: False: too many are followed for this client."""
        assert self._pending is not None
        size = lookup.ByteSize() + answer.ByteSize()
        if len(self._following) >= MAX_REQUESTS or self._followed.bytes + size > MAX_BYTES:
            return False
        self._followed.holds(self._followed.bytes + size)
        following = Deferred.fromCoroutine(self._find(self._pending, lookup, answer))
        self._following.add(following)
        following.addErrback(_unless_cancelled)
        following.addBoth(lambda _: self._following.discard(following))
        following.addBoth(lambda _: self._followed.holds(self._followed.bytes - size))
        return True

    async def _find(self, pending: PendingLookups, lookup: pb.CommandLookupTopic, answer: Response) -> None:
        """Follow a redirect, and send the client its final answer."""
        reactor = self._conn.context.reactor
        # The Redirect is being read now. An answer that is ready at once must not go into the stream before it.
        await deferLater(reactor, 0)
        if self._follower is None:
            self._follower = Follower(
                reactor,
                lambda: self._bridge.access(pending.login),
                self._bridge.allowing,
                self._observe or (lambda host, question, answer: None),
                self._add_descriptors,
            )
        number = lookup.request_id
        try:
            final = await self._follower.follow(self._broker, lookup, answer)
            frame = self._answers.final(final, lookup)
        except ClientError as failure:
            self._bridge.warn(f"a redirect could not be followed: {failure}")
            frame = failed(number, f"the bridge could not follow a redirect: {failure}")
        relay = self._conn.tunnel
        if isinstance(relay, Relay) and self._down is not None:
            relay.add(self._down, self._down.put(frame))

    def _add_descriptors(self, count: int) -> None:
        if self._conn.permit is not None:
            self._conn.permit.add_descriptors(count)


def _unless_cancelled(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        log.failure("bridge: internal error while following a redirect", failure)
