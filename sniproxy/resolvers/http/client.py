"""HTTP client of resolvers: token, client certificate and trusted CAs from files; bounded answers; no redirects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionAborted, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, FileBodyProducer, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from sniproxy import __version__
from sniproxy.interfaces import Kind, Option
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.resolvers.http.bodies import BodyTooLong, CollectedBody, ReceiverFailed, StreamedBody
from sniproxy.tls.clientcontext import (
    BadPem,
    ClientCertificate,
    TrustRoot,
    client_certificate,
    client_tls,
    tls_fault,
    trust_root,
)
from sniproxy.util.files import signature
from sniproxy.util.names import server_name
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

MAX_TOKEN_BYTES = 64 * 2**10
"""Bytes that are read of a token file. The reactor thread reads it."""

MAX_HEAD_BYTES = 64 * 2**10
"""Bytes of an answer's headers and of the framing of its chunks."""

TRUST = Option("trust", Kind.PATH, "PEM of the CAs trusted for https; default: the system's", None)
TOKEN_FILE = Option("token_file", Kind.PATH, "file with a token, reloaded when it changes", None)
CERTIFICATE = Option(
    "certificate", Kind.PATH, "PEM of a client certificate and its key, reloaded when it changes", None
)
"""Options of resolvers that use this client."""


class HTTPFailure(Exception):
    """A request failed, or a file is invalid. The text has the URL or the file, and the reason.

    @ivar status: the HTTP status, if it is the reason. None: there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def forbidden(self) -> bool:
        """Whether the credentials are the reason: status 401 or 403."""
        return self.status in (401, 403)


@attrs.frozen
class Credentials:
    """Paths of files. None: there is none.

    @ivar trust: PEM of trusted CAs. None: the system's. @ivar certificate: PEM of a client certificate and its key.
    @ivar token: a file with one line, such as a JSON web token.
    """

    trust: str | None = None
    certificate: str | None = None
    token: str | None = None


@attrs.frozen
class HTTPAnswer:
    """An answer of any status. @ivar location: the Location header of a redirect. Empty: it has none."""

    status: int
    body: bytes
    location: str = ""


class HTTPClient:
    """Sends HTTP requests.

    @param timeout: seconds to connect. The client waits for an answer until the request is cancelled.
    @param max_body_bytes: bytes of an answer's body; a larger one is a failure.
    @param address: maps a host to the address to dial. Certificates are verified for the host itself.
    @param persistent: whether to keep connections for later requests. If so, the client must be closed.
    @ivar token: the token of the file. None: there is no file.
    """

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        timeout: float,
        max_body_bytes: int,
        address: Callable[[str], str] = str,
        persistent: bool = True,
    ) -> None:
        """@raise HTTPFailure: a file cannot be read or is invalid."""
        self._reactor = reactor
        self._credentials = credentials
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes
        self._address = address
        self._persistent = persistent
        self._seen: object = None
        self._pool = HTTPConnectionPool(reactor, persistent)
        self._closing: list[Deferred[None]] = []
        self.token: str | None = None
        self.reload_files()

    def reload_files(self) -> None:
        """Reload the files if they have changed. @raise HTTPFailure: a file is invalid; the previous contents stay."""
        paths = attrs.astuple(self._credentials)
        seen = [None if path is None else signature(path) for path in paths]
        if seen == self._seen:
            return
        trust, certificate, token = paths
        try:
            trusted = None if trust is None else trust_root(trust)
            own = None if certificate is None else client_certificate(certificate)
        except BadPem as error:
            raise HTTPFailure(str(error)) from error
        self.token = None if token is None else _token(token)
        # Kept connections were made with the previous credentials.
        self._closing = [one for one in self._closing if not one.called]
        self._closing.append(self._pool.closeCachedConnections())
        self._pool = HTTPConnectionPool(self._reactor, self._persistent)
        endpoints = _Endpoints(
            self._reactor, trusted, own, self._timeout, self._address, 2 * self._max_body_bytes + MAX_HEAD_BYTES
        )
        self._agent = Agent.usingEndpointFactory(self._reactor, endpoints, self._pool)
        self._seen = seen

    async def request(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        method: bytes = b"POST",
        receive: Callable[[bytes], None] | None = None,
    ) -> HTTPAnswer:
        """Request a URL. @param body: the body of a POST or another C{method}. None: send a GET.

        @param receive: called with each part of the body of a 200 answer as it arrives, and with C{b""} when the
            answer begins. An exception of it ends the request, and is raised. None: collect the body.
        @return: the answer, whatever its status.
        @raise HTTPFailure: there is no answer.
        """
        producer = None if body is None else FileBodyProducer(BytesIO(body))
        method = b"GET" if body is None else method
        all_headers = Headers({"User-Agent": [f"sniproxy/{__version__}"]})
        for name, value in headers.items():
            all_headers.setRawHeaders(name, [value])
        try:
            response: Any = await self._agent.request(method, url.encode("ascii"), all_headers, producer)
            locations = response.headers.getRawHeaders(b"location") or [b""]
            if receive is not None and response.code == 200:
                body_reader: CollectedBody = StreamedBody(receive)
            else:
                body_reader = CollectedBody(self._max_body_bytes)
            response.deliverBody(body_reader)
            content = await body_reader.done
        except ReceiverFailed as error:
            raise error.cause from None
        except Exception as error:
            error = _inner(error)
            if isinstance(error, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            raise HTTPFailure(f"{display_url(url)}: {_why(error)}") from error
        return HTTPAnswer(response.code, content, locations[0].decode("latin-1"))

    def close(self) -> Deferred[None]:
        """Close idle connections. Callers cancel their own requests."""
        return DeferredList([*self._closing, self._pool.closeCachedConnections()]).addCallback(lambda _: None)


def display_url(url: str) -> str:
    """A URL for logs and errors: without its query, which may have a secret."""
    return bounded(url.partition("?")[0])


def body_excerpt(body: bytes) -> str:
    """The start of a body, to append to an error. Empty: the body is empty."""
    text = body[:400].decode("utf-8", "replace").strip()
    return f"; answer: {bounded(text, 100)}" if text else ""


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoints:
    reactor: IReactor
    trust: TrustRoot | None
    certificate: ClientCertificate | None
    timeout: float
    address: Callable[[str], str]
    max_bytes: int

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = server_name(uri.host.decode("ascii").strip("[]"))
        endpoint = HostEndpoint(self.reactor, self.address(host), uri.port, self.timeout)
        return _BoundedEndpoint(self._secured(uri, host, endpoint), self.max_bytes)

    def _secured(self, uri: URI, host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if uri.scheme != b"https":
            return endpoint
        tls: IStreamClientEndpoint = wrapClientTLS(client_tls(host, self.trust, self.certificate), endpoint)
        return tls


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _BoundedEndpoint:
    """Aborts a connection if the answer to one request, with its headers, has more than C{max_bytes}."""

    endpoint: IStreamClientEndpoint
    max_bytes: int

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        bounded_factory = WrappingFactory(factory)
        bounded_factory.protocol = lambda *both: _Bounded(self.max_bytes, *both)
        connected: Deferred[Any] = self.endpoint.connect(bounded_factory)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _Bounded(ProtocolWrapper):
    """@ivar max_bytes: bytes between two requests."""

    def __init__(self, max_bytes: int, *both: Any) -> None:
        super().__init__(*both)
        self.max_bytes = max_bytes
        self._count = 0

    def write(self, data: bytes) -> None:
        self._count = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: list[bytes]) -> None:
        self._count = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        self._count += len(data)
        if self._count > self.max_bytes:
            transport: Any = self.transport
            transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


def _inner(error: Exception) -> Exception:
    if isinstance(error, ResponseFailed) and error.reasons:
        reason: Exception = error.reasons[0].value
        return reason
    return error


def _why(error: Exception) -> str:
    if isinstance(error, DNSLookupError):
        return f"host name lookup failed: {error.args[0] if error.args else 'no address'}"
    if isinstance(error, ConnectError):
        return f"cannot connect: {bounded(str(error) or type(error).__name__, 120)}"
    if isinstance(error, ConnectionAborted):
        return "answer or its headers are too long"
    if isinstance(error, SSL.Error):
        return tls_fault(error)
    if isinstance(error, BodyTooLong):
        return str(error)
    return bounded(f"{type(error).__name__}: {error}", 200)


_TOKEN_CURE = "no valid token; write one line of ASCII without spaces"


def _token(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text: str = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise HTTPFailure(f"token_file {path}: cannot read the file: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the error has the contents of the file.
        raise HTTPFailure(f"token_file {path}: {_TOKEN_CURE}") from None
    if not text or not text.isprintable() or " " in text:
        raise HTTPFailure(f"token_file {path}: {_TOKEN_CURE}")
    return text
