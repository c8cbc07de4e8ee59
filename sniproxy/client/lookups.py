"""Who owns a topic: partitions, the lookup with its redirects, and the way to the owner, each hop as a value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import attrs

from sniproxy.client.brokers import Brokers, Link
from sniproxy.client.failures import ClientError
from sniproxy.client.redirects import Owner, Redirects, refusal
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.serviceurl import ServiceURL

_T = TypeVar("_T")
_Said = dict[str, Any]  # fields of a Hop
_Partitions = pb.CommandPartitionedTopicMetadataResponse


@attrs.frozen
class Hop:
    """One question to one broker, and what came of it.

    @ivar topic: whom it is about. @ivar phase: ``metadata``, ``lookup`` or ``connect``.
    @ivar link: the broker, and what is known of the way there. @ivar fresh: whether it was connected to for this.
    @ivar answer: ``partitions``, ``redirect``, ``owner`` or ``connected``; None: there was none.
    @ivar partitions: of an answer ``partitions``; 0: the topic has none.
    @ivar url: of an answer ``redirect`` or ``owner``.
    @ivar seconds: for all of it, the connection too.
    @ivar failure: why it went no further.
    """

    topic: str
    phase: str
    link: Link
    fresh: bool
    seconds: float
    answer: str | None = None
    partitions: int | None = None
    url: str | None = None
    failure: ClientError | None = None


class Lookups:
    """Asks a cluster through its service URL.

    @param listener: the name of the advertised listener that answers shall be for (PIP-61); empty: the brokers choose.
    @param told: hears of each hop when it is over.
    """

    def __init__(
        self, brokers: Brokers, service: ServiceURL, listener: str = "", told: Callable[[Hop], None] | None = None
    ) -> None:
        self._brokers = brokers
        self._service = service
        self._listener = listener
        self._told = told

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0: it is not partitioned. Raises `ClientError`."""

        async def ask(link: Link) -> tuple[int, _Said]:
            session = await link.open()
            answer = await session.ask(pb.CommandPartitionedTopicMetadata(topic=topic), _Partitions)
            if not answer.HasField("response") or answer.response == _Partitions.Failed:
                what = f"{link.target} to the question for partitions"
                raise refusal(error_name(answer), text(answer, "message"), what)
            return answer.partitions, {"answer": "partitions", "partitions": answer.partitions}

        return await self._any(topic, "metadata", ask)

    async def owner(self, topic: str) -> Owner:
        """The broker that owns a topic, one partition where it has some. Raises `ClientError`."""
        tls = self._brokers.access.tls
        way: Redirects | None = None

        async def ask(link: Link) -> tuple[Owner | None, _Said]:
            nonlocal way
            session = await link.open()
            way = way or Redirects(link.host, link.port, tls)
            request = pb.CommandLookupTopic(topic=topic, authoritative=way.question.authoritative)
            if self._listener:
                request.advertised_listener_name = self._listener
            answer = await session.ask(request, pb.CommandLookupTopicResponse)
            owner = way.answered(answer)
            url = text(answer, "brokerServiceUrlTls" if tls else "brokerServiceUrl")
            return owner, {"answer": "owner" if owner else "redirect", "url": url}

        owner = await self._any(topic, "lookup", ask)
        while owner is None:
            assert way is not None
            owner = await self._hop(topic, "lookup", self._brokers.link(way.question.host, way.question.port), ask)
        return owner

    async def connect(self, topic: str, owner: Owner) -> Link:
        """The connect phase: the link to a topic's owner, open. Raises `ClientError`."""
        link = self.link_to(owner)

        async def ask(link: Link) -> tuple[None, _Said]:
            await link.open()
            return None, {"answer": "connected"}

        await self._hop(topic, "connect", link, ask)
        return link

    def link_to(self, owner: Owner) -> Link:
        """The link to an owner, opened or not."""
        if owner.through_service_url:
            host, port = self._service.hosts[0]
            return self._brokers.link(host, port, str(owner))
        return self._brokers.link(owner.host, owner.port)

    async def _any(self, topic: str, phase: str, ask: Callable[[Link], Awaitable[tuple[_T, _Said]]]) -> _T:
        """Ask a host of the service URL; the next one where one cannot be connected to."""
        *others, last = self._service.hosts
        for host, port in others:
            link = self._brokers.link(host, port)
            try:
                return await self._hop(topic, phase, link, ask)
            except ClientError:
                # An answer that is a failure holds for all brokers.
                if link.opened:
                    raise
        return await self._hop(topic, phase, self._brokers.link(*last), ask)

    async def _hop(self, topic: str, phase: str, link: Link, ask: Callable[[Link], Awaitable[tuple[_T, _Said]]]) -> _T:
        clock = self._brokers.reactor
        fresh, start = not link.opened, clock.seconds()

        def tell(**said: Any) -> None:
            if self._told is not None:
                self._told(Hop(topic, phase, link, fresh, clock.seconds() - start, **said))

        try:
            answer, said = await ask(link)
        except ClientError as failure:
            tell(failure=failure)
            raise
        tell(**said)
        return answer
