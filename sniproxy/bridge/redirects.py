"""Following redirects in a client's place: the client never sees one.

The bridge says the client's own CONNECT, and its LOOKUP again, on a connection of its own to each broker that an answer
sends it to: one for each broker, kept while there are redirects to follow and a little longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import FailureKind, TalkFailed
from sniproxy.client.redirects import Redirects
from sniproxy.client.session import BrokerSession
from sniproxy.config.allowed import Allowing, Broker
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.util.names import host_port

Response = pb.CommandLookupTopicResponse

IDLE_TIMEOUT_S = 10.0
"""Seconds after the last redirect for which connections are kept: a client's lookups come together, when it begins and
when its topics move. Without an end, a thousand clients of fifty brokers would hold fifty thousand descriptors."""

LookupObserver = Callable[[str, bytes, bytes], None]
"""Is shown a question and its answer, as frames, with the broker's host."""

DescriptorCounter = Callable[[int], None]
"""Is told how many connections there are more; negative: fewer."""


class Follower:
    """Follows the redirects of one client.

    @param access: how brokers are reached now, and who the client is there.
    @param held: counts the connections; one that its broker has ended counts until all are ended here.
    """

    def __init__(
        self,
        reactor: Any,
        access: Callable[[], Access],
        allowing: Allowing,
        observe: LookupObserver,
        held: DescriptorCounter,
    ) -> None:
        self._access = access
        self._brokers = Brokers(reactor, access())
        self._following = 0
        self._idle: Any = None
        self._opening: dict[Broker, list[Deferred[BrokerSession]]] = {}
        self._allowing = allowing
        self._observe = observe
        self._held = held
        self._counted: set[Broker] = set()

    async def follow(self, service: tuple[str, int], lookup: pb.CommandLookupTopic, answer: Response) -> Response:
        """From a broker's Redirect to an answer that is none.

        @param service: the broker that gave it. @return: with the request id that the client gave.
        @raise TalkFailed: there is none to be had: a broker that is not allowed or cannot be reached, a circle, more
            than 20 redirects.
        """
        way = Redirects(*service, tls=True)
        number = lookup.request_id
        self._keep()
        self._following += 1
        try:
            while answer.HasField("response") and answer.response == Response.Redirect:
                way.answered(answer)
                answer = await self._ask(way, lookup)
        finally:
            self._following -= 1
            if not self._following:
                self._idle = self._brokers.reactor.callLater(IDLE_TIMEOUT_S, self._end_all)
        answer.request_id = number
        return answer

    def close(self) -> None:
        """The client has gone."""
        self._keep()
        self._end_all()

    def _end_all(self) -> None:
        self._brokers.abort()
        self._held(-len(self._counted))
        self._counted.clear()

    def _keep(self) -> None:
        """Do not end the connections for want of redirects."""
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

    async def _ask(self, way: Redirects, lookup: pb.CommandLookupTopic) -> Response:
        broker = way.question.host, way.question.port
        self._allowing.named(broker)
        why = self._allowing.denies(broker)
        if why is not None:
            raise TalkFailed(FailureKind.REDIRECTS, f"a redirect leads to {host_port(*broker)}", why)
        again = pb.CommandLookupTopic()
        again.CopyFrom(lookup)
        again.authoritative = way.question.authoritative
        session = await self._session(broker)
        answer = await session.ask(again, Response)
        self._observe(broker[0], write(again), write(answer))
        return answer

    async def _session(self, broker: Broker) -> BrokerSession:
        """The session with a broker.

        Lookups that are redirected there at once share it, and share a failure to have it, too: behind a broker that
        does not answer each would else wait for all before it.
        """
        others = self._opening.get(broker)
        if others is not None:
            mine: Deferred[BrokerSession] = Deferred()
            others.append(mine)
            return await mine
        others = self._opening[broker] = []
        if broker not in self._counted:
            self._counted.add(broker)
            self._held(1)
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
