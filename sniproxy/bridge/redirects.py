"""Follows redirects for a client, which never sees one.

For each broker that a redirect names, the bridge opens one connection of its own, with the client's CONNECT, and sends
the LOOKUP again. It keeps the connections while there are redirects to follow, and L{IDLE_TIMEOUT_S} longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.redirects import Redirects
from sniproxy.client.session import BrokerSession
from sniproxy.config.allowed import Allowing, Broker
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

Response = pb.CommandLookupTopicResponse

IDLE_TIMEOUT_S = 10.0
"""Seconds after the last redirect before the connections are closed. A client sends its lookups in bursts, at its start
and when topics move. If they stayed open, a thousand clients of fifty brokers would hold fifty thousand descriptors."""

LookupObserver = Callable[[str, bytes, bytes], None]
"""Receives the broker's host, the LOOKUP and its answer, both as frames."""

DescriptorCounter = Callable[[int], None]
"""Receives the change in the number of connections."""


class Follower:
    """Follows the redirects of one client.

    @param access: returns how to reach brokers, with the client's newest credentials.
    @param count: counts the connections. One that its broker has closed counts until all are closed.
    """

    def __init__(
        self,
        reactor: IReactor,
        access: Callable[[], Access],
        allowing: Allowing,
        observe: LookupObserver,
        count: DescriptorCounter,
    ) -> None:
        self._access = access
        self._brokers = Brokers(reactor, access())
        self._following = 0
        self._idle: Any = None
        self._opening: dict[Broker, list[Deferred[BrokerSession]]] = {}
        self._allowing = allowing
        self._observe = observe
        self._count = count
        self._counted: set[Broker] = set()

    async def follow(self, service: tuple[str, int], lookup: pb.CommandLookupTopic, answer: Response) -> Response:
        """Follow a broker's Redirect to an answer that is not one.

        @param service: the broker that sent it. @return: the answer, with the client's request id.
        @raise ClientError: a broker is not allowed or cannot be reached, or the redirects form a circle, or there are
            more than 20.
        """
        redirects = Redirects(*service, tls=True)
        number = lookup.request_id
        self._keep()
        self._following += 1
        try:
            while answer.HasField("response") and answer.response == Response.Redirect:
                redirects.handle_answer(answer)
                answer = await self._ask(redirects, lookup)
        finally:
            self._following -= 1
            if not self._following:
                self._idle = self._brokers.reactor.callLater(IDLE_TIMEOUT_S, self._end_all)
        answer.request_id = number
        return answer

    def close(self) -> None:
        """The client's connection has ended: close all connections."""
        self._keep()
        self._end_all()

    def _end_all(self) -> None:
        self._brokers.abort()
        self._count(-len(self._counted))
        self._counted.clear()

    def _keep(self) -> None:
        """Stop the idle timeout."""
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

    async def _ask(self, redirects: Redirects, lookup: pb.CommandLookupTopic) -> Response:
        broker = redirects.question.host, redirects.question.port
        self._allowing.record_named(broker)
        why = self._allowing.denies(broker)
        if why is not None:
            raise ClientError(FailureKind.REDIRECTS, f"a redirect leads to {host_port(*broker)}", why)
        again = pb.CommandLookupTopic()
        again.CopyFrom(lookup)
        again.authoritative = redirects.question.authoritative
        session = await self._session(broker)
        answer = await session.ask(again, Response)
        self._observe(broker[0], write(again), write(answer))
        return answer

    async def _session(self, broker: Broker) -> BrokerSession:
        """Open or reuse the session with a broker.

        Concurrent lookups share one attempt, also if it fails. Otherwise each would wait for all before it at a broker
        that does not answer.
        """
        others = self._opening.get(broker)
        if others is not None:
            mine: Deferred[BrokerSession] = Deferred()
            others.append(mine)
            return await mine
        others = self._opening[broker] = []
        if broker not in self._counted:
            self._counted.add(broker)
            self._count(1)
        try:
            self._brokers.access = self._access()
            session = await self._brokers.link(*broker).open()
        except BaseException as error:
            del self._opening[broker]
            for one in others:
                if not one.called:
                    one.errback(error)
            raise
        del self._opening[broker]
        for one in others:
            if not one.called:
                one.callback(session)
        return session
