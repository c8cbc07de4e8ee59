"""Dials brokers, directly or through a proxy, and keeps the sessions until all are closed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from sniproxy.client.endpoint import SniProxyEndpoint
from sniproxy.client.explaining import DialledTarget, ended, not_connected
from sniproxy.client.failures import FailureKind, Stage, TalkFailed
from sniproxy.client.logins import NOBODY, Login
from sniproxy.client.session import BrokerSession
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar.serviceurl import SniProxy
from sniproxy.tls import clientcontext
from sniproxy.tls.clientcontext import ClientCertificate, TrustRoot
from sniproxy.util.names import host_port

TIMEOUT_S = 30.0
"""Seconds, as Pulsar's clients have it for an operation."""


@attrs.frozen
class Access:
    """How brokers are reached, and who one is there.

    @ivar proxy: None: brokers are dialled by their own names. @ivar trust: None: the platform's authorities.
    @ivar certificate: None: none is shown. @ivar patience: seconds for each of connection, handshake and answer.
    @ivar largest: bytes of the largest frame that is taken. None: as the broker says.
    """

    tls: bool
    proxy: SniProxy | None = None
    trust: TrustRoot | None = attrs.field(default=None, repr=False)
    certificate: ClientCertificate | None = None
    login: Login = NOBODY
    patience: float = TIMEOUT_S
    largest: int | None = None


class Brokers:
    """Links to brokers, one to each."""

    def __init__(self, reactor: Any, access: Access) -> None:
        self.access = access
        self.reactor = reactor
        self._links: dict[tuple[str, int, str], Link] = {}

    def link(self, host: str, port: int, proxy_to_broker_url: str = "") -> Link:
        """The link to a broker, opened or not; a new one where the last one has ended.

        @param proxy_to_broker_url: the broker that the one at `host` shall connect to, ``host:port``; empty: none.
        """
        key = (host, port, proxy_to_broker_url)
        link = self._links.get(key)
        if link is None or link.over:
            link = self._links[key] = Link(self.reactor, self.access, host, port, proxy_to_broker_url)
        return link

    async def close(self) -> None:
        """End all of them in order."""
        await gatherResults([Deferred.fromCoroutine(link.close()) for link in self._links.values()])
        self._links.clear()

    def abort(self) -> None:
        """End all of them at once."""
        for link in self._links.values():
            link.abort()
        self._links.clear()


class Link:
    """A way to one broker.

    What is known of it stays when it fails. @ivar address: what was dialled, resolved; None: nothing was.
    @ivar certificate_names: what the broker's certificate is good for; None: it has not shown one.
    @ivar connect_seconds: for TCP. @ivar tls_seconds: for TLS behind it. @ivar login_seconds: for CONNECT behind them.
    None: it has not come so far.
    """

    def __init__(self, reactor: Any, access: Access, host: str, port: int, proxy_to_broker_url: str = "") -> None:
        self.host = host
        self.port = port
        where = (access.proxy.host, access.proxy.port) if access.proxy else (host, port)
        self.target = DialledTarget(host, host_port(*where), access.proxy is not None, access.tls)
        self.address: str | None = None
        self.connect_seconds: float | None = None
        self.tls_seconds: float | None = None
        self.login_seconds: float | None = None
        self._reactor = reactor
        self._access = access
        self._where = where
        self._through = proxy_to_broker_url
        self._session: BrokerSession | None = None
        self._watched = _Watched()

    @property
    def over(self) -> bool:
        """Whether it has been opened, and has ended."""
        return self._session is not None and self._session.failed is not None

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self.login_seconds is not None and not self.over

    @property
    def server_version(self) -> str | None:
        """What the broker says it is."""
        return self._session.server_version if self._session is not None and self._session.server_version else None

    @property
    def certificate_names(self) -> tuple[str, ...] | None:
        chain = self._watched.chain()
        return clientcontext.printable_names(chain[0]) if chain else None

    async def open(self) -> BrokerSession:
        """The session, CONNECT answered; the one that is there, where it is open. One caller at a time.

        @raise TalkFailed: it cannot be had.
        """
        if self._session is not None and self.opened:
            return self._session
        start = self._reactor.seconds()
        session = self._session = await self._connect()
        peer = session.transport.getPeer()  # type: ignore[union-attr]
        if isinstance(peer, IPv4Address | IPv6Address):
            self.address = host_port(peer.host, peer.port)
        connected = self._reactor.seconds()
        self.connect_seconds = connected - start
        try:
            if self._access.tls:
                await session.secured()
                self.tls_seconds = self._reactor.seconds() - connected
            await session.log_in(self._access.login.connect(self._through))
        except BaseException:
            session.abort()
            raise
        self.login_seconds = self._reactor.seconds() - connected - (self.tls_seconds or 0.0)
        return session

    async def close(self) -> None:
        """End it in order, if it is open."""
        if self._session is not None and not self.over:
            await self._session.close()

    def abort(self) -> None:
        """End it at once, if it is open."""
        if self._session is not None and not self.over:
            self._session.abort()

    async def _connect(self) -> BrokerSession:
        def explain(error: BaseException, stage: Stage) -> TalkFailed:
            return ended(error, self.target, self._watched.chain(), datetime.now(UTC), stage)

        def session() -> BrokerSession:
            return BrokerSession(
                self._reactor, str(self.target), patience, explain, self._access.tls, self._access.largest
            )

        patience = self._access.patience
        factory = Factory.forProtocol(session)
        factory.noisy = False
        connecting = self._endpoint().connect(factory)
        # Behind a Deferred of its own, because endpoints give cancelling different names, some those of other errors.
        connected: Deferred[Any] = Deferred()
        connecting.chainDeferred(connected)
        try:
            made = await connected.addTimeout(patience, self._reactor)
        except CancelledError:
            connecting.cancel()
            raise
        except Exception as error:
            connecting.cancel()
            raise not_connected(error, self.target, patience) from error
        assert isinstance(made, BrokerSession)
        return made

    def _endpoint(self) -> IStreamClientEndpoint:
        access = self._access
        if not access.tls:
            return HostEndpoint(self._reactor, *self._where, access.patience)
        try:
            return SniProxyEndpoint(
                self._reactor,
                self.host,
                self._where,
                access.trust,
                access.certificate,
                access.patience,
                self._watched.watch,
            )
        except ValueError as error:
            raise TalkFailed(FailureKind.CERTIFICATE_NAME, str(error)) from error


@implementer(IOpenSSLClientConnectionCreator)
class _Watched:
    """Keeps the TLS connection in hand: the broker's certificates are wanted also when they are not accepted."""

    def __init__(self) -> None:
        self._creator: Any = None
        self._connection: SSL.Connection | None = None

    def watch(self, creator: Any) -> _Watched:
        self._creator = creator
        return self

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._connection = connection
        return connection

    def chain(self) -> list[x509.Certificate]:
        """The certificates that the broker has shown, its own first."""
        if self._connection is None:
            return []
        return [certificate.to_cryptography() for certificate in self._connection.get_peer_cert_chain() or ()]
