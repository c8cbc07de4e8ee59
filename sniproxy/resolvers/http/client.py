"""Questions by HTTP, for resolvers: a token or a certificate of files, trust, bounded answers; no redirects."""

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
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from sniproxy import __version__
from sniproxy.net.hostendpoint import HostEndpoint
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
from sniproxy.util.text import bounded

MAX_TOKEN_BYTES = 64 * 2**10
"""Of a file with a token, which is read by the reactor's own thread."""


MAX_HEAD_BYTES = 64 * 2**10
"""Of the headers of an answer, and of what surrounds the chunks of its body."""


class HTTPFailure(Exception):
    """There is no answer, or a file cannot be used; the text says which, and why."""


@attrs.frozen
class Credentials:
    """Paths of files. @ivar trust: PEM. None: the system's authorities. @ivar certificate: PEM, with its key.

    @ivar token: one line, such as a JSON web token.
    """

    trust: str | None = None
    certificate: str | None = None
    token: str | None = None


@attrs.frozen
class HTTPAnswer:
    """@ivar location: where a redirect leads, as the server wrote it; empty: it does not say."""

    status: int
    body: bytes
    location: str = ""


class HTTPClient:
    """Asks; files are read again when they have changed.

    @param timeout: seconds for connecting; an answer is waited for until who asks cancels.
    @param most_bytes: of an answer's body; a longer one is a failure.
    @param address: by which address a host is dialled; certificates are verified for the host itself.
    @param persistent: whether connections are kept for the next question; then it must be closed.
    @ivar token: what the file holds. None: there is none.
    """

    def __init__(
        self,
        reactor: Any,
        credentials: Credentials,
        timeout: float,
        most_bytes: int,
        address: Callable[[str], str] = str,
        persistent: bool = True,
    ) -> None:
        """@raise HTTPFailure: a file cannot be used."""
        self._reactor = reactor
        self._credentials = credentials
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._address = address
        self._persistent = persistent
        self._seen: object = None
        self._pool = HTTPConnectionPool(reactor, persistent)
        self._closing: list[Deferred[None]] = []
        self.token: str | None = None
        self.read()

    def read(self) -> None:
        """Look at the files again. @raise HTTPFailure: one cannot be used; what was read before stays in force."""
        paths = attrs.astuple(self._credentials)
        seen = [None if path is None else signature(path) for path in paths]
        if seen == self._seen:
            return
        trust, certificate, token = paths
        try:
            trusted = None if trust is None else trust_root(trust)
            shown = None if certificate is None else client_certificate(certificate)
        except BadPem as error:
            raise HTTPFailure(str(error)) from error
        self.token = None if token is None else _token(token)
        # Connections that were made before go on under what they were made with: not for us.
        self._closing = [one for one in self._closing if not one.called]
        self._closing.append(self._pool.closeCachedConnections())
        self._pool = HTTPConnectionPool(self._reactor, self._persistent)
        endpoints = _Endpoints(
            self._reactor, trusted, shown, self._timeout, self._address, 2 * self._most_bytes + MAX_HEAD_BYTES
        )
        self._agent = Agent.usingEndpointFactory(self._reactor, endpoints, self._pool)
        self._seen = seen

    async def ask(self, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HTTPAnswer:
        """The answer at a URL, whatever its status. @param body: what is posted. None: it is a GET.

        @raise HTTPFailure: there is none.
        """
        method, producer = (b"GET", None) if body is None else (b"POST", FileBodyProducer(BytesIO(body)))
        all_headers = Headers({"User-Agent": [f"sniproxy/{__version__}"]})
        for name, value in headers.items():
            all_headers.setRawHeaders(name, [value])
        try:
            response: Any = await self._agent.request(method, url.encode("ascii"), all_headers, producer)
            locations = response.headers.getRawHeaders(b"location") or [b""]
            content = await _body(response, self._most_bytes)
        except Exception as error:
            error = _inner(error)
            if isinstance(error, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            raise HTTPFailure(f"{display_url(url)}: {_why(error)}") from error
        return HTTPAnswer(response.code, content, locations[0].decode("latin-1"))

    def close(self) -> Deferred[None]:
        """Close what is open and idle. Questions that are under way are cancelled by who asks."""
        return DeferredList([*self._closing, self._pool.closeCachedConnections()]).addCallback(lambda _: None)


def display_url(url: str) -> str:
    """How a text for people calls a URL: without its query, which may hold a secret."""
    return bounded(url.partition("?")[0])


def body_excerpt(body: bytes) -> str:
    """What a body says, for the end of a sentence; empty: nothing."""
    text = body[:400].decode("utf-8", "replace").strip()
    return f"; it says: {bounded(text, 100)}" if text else ""


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoints:
    reactor: Any
    trust: TrustRoot | None
    shown: ClientCertificate | None
    timeout: float
    address: Callable[[str], str]
    most: int

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = server_name(uri.host.decode("ascii").strip("[]"))
        endpoint = HostEndpoint(self.reactor, self.address(host), uri.port, self.timeout)
        return _BoundedEndpoint(self._secured(uri, host, endpoint), self.most)

    def _secured(self, uri: URI, host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if uri.scheme != b"https":
            return endpoint
        tls: IStreamClientEndpoint = wrapClientTLS(client_tls(host, self.trust, self.shown), endpoint)
        return tls


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _BoundedEndpoint:
    """Aborts a connection whose server sends more than C{most} bytes in answer to one question, headers too."""

    endpoint: IStreamClientEndpoint
    most: int

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        bounded_factory = WrappingFactory(factory)
        bounded_factory.protocol = lambda *both: _Bounded(self.most, *both)
        connected: Deferred[Any] = self.endpoint.connect(bounded_factory)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _Bounded(ProtocolWrapper):
    """@ivar most: bytes between two questions."""

    def __init__(self, most: int, *both: Any) -> None:
        super().__init__(*both)
        self.most = most
        self._count = 0

    def write(self, data: bytes) -> None:
        self._count = 0
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: list[bytes]) -> None:
        self._count = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        self._count += len(data)
        if self._count > self.most:
            transport: Any = self.transport
            transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class _TooLong(Exception):
    pass


class _Body(Protocol):
    """Gathers a body, within bounds."""

    def __init__(self, most_bytes: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._most_bytes:
            self._end(Failure(_TooLong(f"its answer has more than {self._most_bytes} bytes")))
            self._abort()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(b"".join(self._parts) if reason.check(ResponseDone) else reason)

    def _end(self, answer: bytes | Failure) -> None:
        if not self.done.called:
            self.done.callback(answer)

    def _abort(self) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()


def _body(response: IResponse, most_bytes: int) -> Deferred[bytes]:
    body = _Body(most_bytes)
    response.deliverBody(body)
    return body.done


def _inner(error: Exception) -> Exception:
    if isinstance(error, ResponseFailed) and error.reasons:
        reason: Exception = error.reasons[0].value
        return reason
    return error


def _why(error: Exception) -> str:
    if isinstance(error, DNSLookupError):
        return f"its host name cannot be looked up: {error.args[0] if error.args else 'no address'}"
    if isinstance(error, ConnectError):
        return f"cannot connect: {bounded(str(error) or type(error).__name__, 120)}"
    if isinstance(error, ConnectionAborted):
        return "its answer is too long, or its headers are"
    if isinstance(error, SSL.Error):
        return tls_fault(error)
    if isinstance(error, _TooLong):
        return str(error)
    return bounded(f"{type(error).__name__}: {error}", 200)


def _token(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text: str = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise HTTPFailure(f"token_file {path}: it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the error holds what was read.
        raise HTTPFailure(f"token_file {path}: it holds what is no token") from None
    if not text or not text.isprintable() or " " in text:
        raise HTTPFailure(f"token_file {path}: it holds no token: one line, without spaces")
    return text
