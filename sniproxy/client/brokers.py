"""Connects to brokers, directly or through a proxy, and keeps one session per broker."""

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

from sniproxy.client.diagnosis import DialledTarget, explain_connect_failure, explain_end
from sniproxy.client.endpoint import SniProxyEndpoint
from sniproxy.client.failures import ClientError, FailureKind, Stage
from sniproxy.client.logins import NO_LOGIN, Login
from sniproxy.client.session import BrokerSession
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar.serviceurl import SniProxy
from sniproxy.tls import clientcontext
from sniproxy.tls.clientcontext import ClientCertificate, TrustRoot
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

TIMEOUT_S = 30.0
"""Seconds; the default operation timeout of Pulsar clients."""


@attrs.frozen
class Access:
    """How to connect and log in to brokers.

    @ivar proxy: None to dial brokers by their own names. @ivar trust: None for the CA certificates of the platform.
    @ivar certificate: the client certificate, or None. @ivar timeout_s: seconds for each connection, handshake and
        answer. @ivar max_frame_bytes: maximum size of a received frame; None for the limit that the broker announces.
    """

    tls: bool
    proxy: SniProxy | None = None
    trust: TrustRoot | None = attrs.field(default=None, repr=False)
    certificate: ClientCertificate | None = None
    login: Login = NO_LOGIN
    timeout_s: float = TIMEOUT_S
    max_frame_bytes: int | None = None


class Brokers:
    """Links to brokers, one per broker."""

    def __init__(self, reactor: IReactor, access: Access) -> None:
        self.access = access
        self.reactor = reactor
        self._links: dict[tuple[str, int, str], Link] = {}

    def link(self, host: str, port: int, proxy_to_broker_url: str = "") -> Link:
        """The link to a broker, which may not be open yet; a new one if the last one has ended.

        @param proxy_to_broker_url: ``host:port`` of the broker to which `host`, a Pulsar Proxy, connects; or empty.
        """
        key = (host, port, proxy_to_broker_url)
        link = self._links.get(key)
        if link is None or link.ended:
            link = self._links[key] = Link(self.reactor, self.access, host, port, proxy_to_broker_url)
        return link

    async def close(self) -> None:
        """Close all links gracefully."""
        await gatherResults([Deferred.fromCoroutine(link.close()) for link in self._links.values()])
        self._links.clear()

    def abort(self) -> None:
        """Abort all links."""
        for link in self._links.values():
            link.abort()
        self._links.clear()


class Link:
    """A connection to one broker. Its attributes keep their values after a failure.

    @ivar address: the peer address; None before the connection.
    @ivar connect_seconds: seconds for TCP. @ivar tls_seconds: seconds for TLS. @ivar login_seconds: seconds for
        CONNECT. Each is None if that stage has not been reached.
    """

    def __init__(self, reactor: IReactor, access: Access, host: str, port: int, proxy_to_broker_url: str = "") -> None:
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
        self._creator = _RecordingCreator()

    @property
    def ended(self) -> bool:
        """Whether the connection was opened and has ended."""
        return self._session is not None and self._session.failed is not None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open and logged in."""
        return self.login_seconds is not None and not self.ended

    @property
    def server_version(self) -> str | None:
        """The version that the broker reports; None before CONNECTED."""
        return self._session.server_version if self._session is not None and self._session.server_version else None

    @property
    def certificate_names(self) -> tuple[str, ...] | None:
        """The names in the certificate of the broker; None if it has not sent one."""
        chain = self._creator.chain()
        return clientcontext.printable_names(chain[0]) if chain else None

    async def open(self) -> BrokerSession:
        """Connect and log in, or return the open session. Only one caller at a time.

        @raise ClientError: the connection or the login failed.
        """
        if self._session is not None and self.is_open:
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
                await session.wait_secured()
                self.tls_seconds = self._reactor.seconds() - connected
            await session.log_in(self._access.login.connect(self._through))
        except BaseException:
            session.abort()
            raise
        self.login_seconds = self._reactor.seconds() - connected - (self.tls_seconds or 0.0)
        return session

    async def close(self) -> None:
        """Close the connection gracefully, if it is open."""
        if self._session is not None and not self.ended:
            await self._session.close()

    def abort(self) -> None:
        """Abort the connection, if it is open."""
        if self._session is not None and not self.ended:
            self._session.abort()

    async def _connect(self) -> BrokerSession:
        def explain(error: BaseException, stage: Stage) -> ClientError:
            return explain_end(error, self.target, self._creator.chain(), datetime.now(UTC), stage)

        def session() -> BrokerSession:
            return BrokerSession(
                self._reactor, str(self.target), timeout_s, explain, self._access.tls, self._access.max_frame_bytes
            )

        timeout_s = self._access.timeout_s
        factory = Factory.forProtocol(session)
        factory.noisy = False
        connecting = self._endpoint().connect(factory)
        # Use another Deferred, because endpoints report a cancellation with different errors.
        connected: Deferred[Any] = Deferred()
        connecting.chainDeferred(connected)
        try:
            made = await connected.addTimeout(timeout_s, self._reactor)
        except CancelledError:
            connecting.cancel()
            raise
        except Exception as error:
            connecting.cancel()
            raise explain_connect_failure(error, self.target, timeout_s) from error
        assert isinstance(made, BrokerSession)
        return made

    def _endpoint(self) -> IStreamClientEndpoint:
        access = self._access
        if not access.tls:
            return HostEndpoint(self._reactor, *self._where, access.timeout_s)
        try:
            return SniProxyEndpoint(
                self._reactor,
                self.host,
                self._where,
                access.trust,
                access.certificate,
                access.timeout_s,
                self._creator.wrap,
            )
        except ValueError as error:
            raise ClientError(FailureKind.CERTIFICATE_NAME, str(error)) from error


@implementer(IOpenSSLClientConnectionCreator)
class _RecordingCreator:
    """Keeps the TLS connection, to read the certificates of the broker even if their verification fails."""

    def __init__(self) -> None:
        self._creator: Any = None
        self._connection: SSL.Connection | None = None

    def wrap(self, creator: Any) -> _RecordingCreator:
        self._creator = creator
        return self

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._connection = connection
        return connection

    def chain(self) -> list[x509.Certificate]:
        """The certificate chain of the broker, its own certificate first."""
        if self._connection is None:
            return []
        return [certificate.to_cryptography() for certificate in self._connection.get_peer_cert_chain() or ()]
