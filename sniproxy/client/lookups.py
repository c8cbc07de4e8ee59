"""Finds the owner of a topic: partitions, lookup with redirects, and connection. Reports each hop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import attrs

from sniproxy.client.brokers import Brokers, Link
from sniproxy.client.diagnosis import explain_controller_failure
from sniproxy.client.failures import ClientError
from sniproxy.client.redirects import Owner, Redirects, refusal
from sniproxy.client.scalable import FEATURE, Layout, controller_address, read_layout, unsupported
from sniproxy.client.session import BrokerSession
from sniproxy.client.topics import is_scalable, is_segment
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.serviceurl import ServiceURL

_T = TypeVar("_T")
_HopFields = dict[str, Any]  # fields of a Hop
_Partitions = pb.CommandPartitionedTopicMetadataResponse


@attrs.frozen
class Hop:
    """One request to one broker, and its answer.

    @ivar topic: the topic. @ivar phase: ``metadata``, ``lookup``, ``connect``, ``layout`` or ``controller``.
    @ivar link: the link to the broker. @ivar fresh: whether the link was opened for this request.
    @ivar answer: ``partitions``, ``redirect``, ``owner``, ``connected`` or ``layout``; None if there was none.
    @ivar partitions: for ``partitions``: their number; 0 if the topic is not partitioned.
    @ivar layout: for ``layout``: the segments of a scalable topic.
    @ivar url: for ``redirect`` and ``owner``: the URL in the answer.
    @ivar seconds: the duration, including the connection.
    @ivar failure: the error, or None.
    """

    topic: str
    phase: str
    link: Link
    fresh: bool
    seconds: float
    answer: str | None = None
    partitions: int | None = None
    layout: Layout | None = None
    url: str | None = None
    failure: ClientError | None = None


class Lookups:
    """Looks up topics in a cluster through its service URL.

    @param listener: the advertised listener to request (PIP-61); empty for the default of the brokers.
    @param on_hop: called after each hop.
    """

    def __init__(
        self, brokers: Brokers, service: ServiceURL, listener: str = "", on_hop: Callable[[Hop], None] | None = None
    ) -> None:
        self._brokers = brokers
        self._service = service
        self._listener = listener
        self._on_hop = on_hop

    async def partitions(self, topic: str) -> int:
        """The number of partitions of a topic; 0 if it is not partitioned. @raise ClientError: the request failed."""

        async def ask(link: Link) -> tuple[int, _HopFields]:
            session = await link.open()
            answer = await session.ask(pb.CommandPartitionedTopicMetadata(topic=topic), _Partitions)
            if not answer.HasField("response") or answer.response == _Partitions.Failed:
                what = f"{link.target} to the partition metadata request"
                raise refusal(error_name(answer), text(answer, "message"), what)
            return answer.partitions, {"answer": "partitions", "partitions": answer.partitions}

        return await self._any(topic, "metadata", ask)

    async def owner(self, topic: str) -> Owner:
        """The broker that owns a topic, a partition or a segment. @raise ClientError: the lookup failed."""
        tls = self._brokers.access.tls
        redirects: Redirects | None = None

        async def ask(link: Link) -> tuple[Owner | None, _HopFields]:
            nonlocal redirects
            session = await _opened(link, topic)
            redirects = redirects or Redirects(link.host, link.port, tls)
            request = pb.CommandLookupTopic(topic=topic, authoritative=redirects.question.authoritative)
            if self._listener:
                request.advertised_listener_name = self._listener
            answer = await session.ask(request, pb.CommandLookupTopicResponse)
            owner = redirects.handle_answer(answer)
            url = text(answer, "brokerServiceUrlTls" if tls else "brokerServiceUrl")
            return owner, {"answer": "owner" if owner else "redirect", "url": url}

        owner = await self._any(topic, "lookup", ask)
        while owner is None:
            assert redirects is not None
            owner = await self._hop(
                topic, "lookup", self._brokers.link(redirects.question.host, redirects.question.port), ask
            )
        return owner

    async def connect(self, topic: str, owner: Owner) -> Link:
        """The connect phase: open the link to the owner of a topic. @raise ClientError: the connection failed."""
        link = self.link_to(owner)

        async def ask(link: Link) -> tuple[None, _HopFields]:
            await link.open()
            return None, {"answer": "connected"}

        await self._hop(topic, "connect", link, ask)
        return link

    async def layout(self, topic: str, link: Link) -> Layout:
        """The layout of a scalable topic, from its owner. @raise ClientError: the request failed."""

        async def ask(link: Link) -> tuple[Layout, _HopFields]:
            session = await _opened(link, topic)
            number = session.next_id()
            queue = session.open_queue("session", number)
            try:
                session.send(pb.CommandScalableTopicLookup(session_id=number, topic=topic))
                command, _ = await queue.take()
            finally:
                session.close_queue("session", number)
            session.raise_if_ended()
            session.send(pb.CommandScalableTopicClose(session_id=number))
            layout = read_layout(command.scalableTopicUpdate, topic, f"{link.target} to the lookup of the layout")
            return layout, {"answer": "layout", "layout": layout}

        return await self._hop(topic, "layout", link, ask)

    async def controller(self, topic: str, url: str) -> None:
        """Connect to the controller, as consumers that share segments do. @raise ClientError: this failed.

        @param url: that of the layout.
        """
        link = self._brokers.link(*controller_address(url))

        async def ask(link: Link) -> tuple[None, _HopFields]:
            try:
                await link.open()
            except ClientError as failure:
                raise explain_controller_failure(failure, link.target) from failure
            return None, {"answer": "connected"}

        await self._hop(topic, "controller", link, ask)

    def link_to(self, owner: Owner) -> Link:
        """The link to an owner, which may not be open yet."""
        if owner.through_service_url:
            host, port = self._service.hosts[0]
            return self._brokers.link(host, port, str(owner))
        return self._brokers.link(owner.host, owner.port)

    async def _any(self, topic: str, phase: str, ask: Callable[[Link], Awaitable[tuple[_T, _HopFields]]]) -> _T:
        """Ask a host of the service URL; if it cannot be reached, ask the next one."""
        *others, last = self._service.hosts
        for host, port in others:
            link = self._brokers.link(host, port)
            try:
                return await self._hop(topic, phase, link, ask)
            except ClientError:
                # The broker answered with an error: another broker would give the same answer.
                if link.is_open:
                    raise
        return await self._hop(topic, phase, self._brokers.link(*last), ask)

    async def _hop(
        self, topic: str, phase: str, link: Link, ask: Callable[[Link], Awaitable[tuple[_T, _HopFields]]]
    ) -> _T:
        clock = self._brokers.reactor
        fresh, start = not link.is_open, clock.seconds()

        def report(**fields: Any) -> None:
            if self._on_hop is not None:
                self._on_hop(Hop(topic, phase, link, fresh, clock.seconds() - start, **fields))

        try:
            answer, fields = await ask(link)
        except ClientError as failure:
            report(failure=failure)
            raise
        report(**fields)
        return answer


async def _opened(link: Link, topic: str) -> BrokerSession:
    """Open a link. @raise ClientError: this failed, or the broker does not support topics of this kind."""
    session = await link.open()
    if (is_scalable(topic) or is_segment(topic)) and FEATURE not in session.features:
        raise unsupported(str(link.target), link.server_version)
    return session
