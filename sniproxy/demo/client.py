"""A tiny PIP-60 client: one message there and back, through both phases, and nothing else.

PIP-60 ("Support Proxy server with SNI routing"): the client dials the proxy for every connection, and says in the
TLS server name which broker it means. It first connects to the service name and asks who owns the topic (the
lookup phase), then to the owner (the connect phase). No broker's name is ever resolved.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen
from twisted.internet import ssl

from sniproxy.client.brokers import Access, Brokers, Link
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.lookups import Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy, parse_service_url

_TIMEOUT_S = 10.0


@frozen
class Connected:
    """A TLS connection stands, its certificate verified for `server_name`.

    ``answered``: who the broker says it is.
    """

    server_name: str
    answered: str


@frozen
class Located:
    """The lookup's answer: the owner's URL."""

    topic: str
    url: str


@frozen
class Published:
    """The owner has stored the message, as this ledger and entry."""

    ledger: int
    entry: int


@frozen
class ReadBack:
    """The message came back."""

    payload: bytes


Step = Connected | Located | Published | ReadBack


class DemoClient:
    """A client that trusts one authority and dials one proxy; ``tell`` hears of each step."""

    def __init__(
        self, reactor: Any, proxy: tuple[str, int], authority_pem: bytes, tell: Callable[[Step], None]
    ) -> None:
        self._reactor = reactor
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority_pem)])
        self._access = Access(tls=True, proxy=SniProxy(*proxy), trust=trust, timeout_s=_TIMEOUT_S)
        self._tell = tell

    async def look_up(self, service_url: str, topic: str) -> str:
        """The lookup phase: ask any broker behind the service URL for the topic's owner; return its URL.

        Raises `ClientError`.
        """
        service = parse_service_url(service_url)
        async with self._brokers() as brokers:
            await self._open(brokers, service)
            lookups = Lookups(brokers, service)
            await lookups.partitions(topic)
            owner = await lookups.owner(topic)
            self._tell(Located(topic, owner.url))
        return owner.url

    async def there_and_back(self, url: str, topic: str, payload: bytes) -> None:
        """The connect phase: publish one message on the topic's owner, and read it back.

        Raises `ClientError`.
        """
        async with self._brokers() as brokers:
            session = await (await self._open(brokers, parse_service_url(url))).open()
            # The subscription first: it begins with what is published from now on.
            consumer = await subscribe(session, topic, "tour")
            sent = await (await produce(session, topic)).send(payload)
            self._tell(Published(sent.ledger, sent.entry))
            got = await consumer.receive()
            if got != sent:
                raise ClientError(FailureKind.NOT_PULSAR, f"{url}: another message came back than was published")
            self._tell(ReadBack(got.payload))
            consumer.acknowledge(got)

    async def _open(self, brokers: Brokers, url: ServiceURL) -> Link:
        link = brokers.link(*url.hosts[0])
        session = await link.open()
        self._tell(Connected(link.host, session.server_version))
        return link

    @asynccontextmanager
    async def _brokers(self) -> AsyncIterator[Brokers]:
        """Links that are closed in order, or at once after a failure."""
        brokers = Brokers(self._reactor, self._access)
        try:
            yield brokers
            await brokers.close()
        except BaseException:
            brokers.abort()
            raise
