"""A small PIP-60 client that publishes one message and reads it back, through both phases.

PIP-60 ("Support Proxy server with SNI routing"): the client dials the proxy for every connection, and names the broker
in the TLS server name. It first connects to the service name and asks for the owner of the topic (the lookup phase),
then to the owner (the connect phase). It never resolves the name of a broker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from attrs import frozen
from twisted.internet import ssl

from sniproxy.client.brokers import Access, Brokers, Link
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.lookups import Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy, parse_service_url
from sniproxy.util.reactor import IReactor

_TIMEOUT_S = 10.0


@frozen
class Connected:
    """Connected with TLS, and the certificate covers `server_name`.

    ``answered``: the version that the broker reports.
    """

    server_name: str
    answered: str


@frozen
class Located:
    """The lookup found the URL of the owner."""

    topic: str
    url: str


@frozen
class Published:
    """The owner has stored the message in this ledger and entry."""

    ledger: int
    entry: int


@frozen
class ReadBack:
    """The client has received the message."""

    payload: bytes


Step = Connected | Located | Published | ReadBack


class DemoClient:
    """A client that trusts one CA and dials one proxy. ``on_step``: called after each step."""

    def __init__(
        self, reactor: IReactor, proxy: tuple[str, int], authority_pem: bytes, on_step: Callable[[Step], None]
    ) -> None:
        self._reactor = reactor
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority_pem)])
        self._access = Access(tls=True, proxy=SniProxy(*proxy), trust=trust, timeout_s=_TIMEOUT_S)
        self._on_step = on_step

    async def look_up(self, service_url: str, topic: str) -> str:
        """The lookup phase: ask any broker behind the service URL for the owner of a topic.

        @return: the URL of the owner. @raise ClientError: the lookup failed.
        """
        service = parse_service_url(service_url)
        async with self._brokers() as brokers:
            await self._open(brokers, service)
            lookups = Lookups(brokers, service)
            await lookups.partitions(topic)
            owner = await lookups.owner(topic)
            self._on_step(Located(topic, owner.url))
        return owner.url

    async def round_trip(self, url: str, topic: str, payload: bytes) -> None:
        """The connect phase: publish one message on the owner of a topic, and read it back.

        @raise ClientError: a request failed, or another message was received.
        """
        async with self._brokers() as brokers:
            session = await (await self._open(brokers, parse_service_url(url))).open()
            # Subscribe first: a new subscription starts with the next message.
            consumer = await subscribe(session, topic, "tour")
            sent = await (await produce(session, topic)).send(payload)
            self._on_step(Published(sent.ledger, sent.entry))
            got = await consumer.receive()
            if got != sent:
                raise ClientError(FailureKind.NOT_PULSAR, f"{url}: received another message than was published")
            self._on_step(ReadBack(got.payload))
            consumer.acknowledge(got)

    async def _open(self, brokers: Brokers, url: ServiceURL) -> Link:
        link = brokers.link(*url.hosts[0])
        session = await link.open()
        self._on_step(Connected(link.host, session.server_version))
        return link

    @asynccontextmanager
    async def _brokers(self) -> AsyncIterator[Brokers]:
        """Links that are closed at the end, or aborted after a failure."""
        brokers = Brokers(self._reactor, self._access)
        try:
            yield brokers
            await brokers.close()
        except BaseException:
            brokers.abort()
            raise
