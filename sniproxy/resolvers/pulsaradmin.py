"""Pulsar's admin API, asked over HTTP: a token or a certificate, deadlines, bounded answers, redirects with care."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from sniproxy import __version__
from sniproxy.files import signature
from sniproxy.names import BadName, server_name
from sniproxy.pem import BadPem, ClientCertificate, TrustRoot, client_certificate, trust_root
from sniproxy.text import bounded

MOST_BYTES = 4 * 2**20
"""Of an answer; a broker's configuration has about 40 kB."""

MOST_REDIRECTS = 3

TOKEN_BYTES = 64 * 2**10
"""Of a file with a token, which is read by the reactor's own thread."""


class AdminFailure(Exception):
    """There is no good answer; the text says from where, and why.

    @ivar status: HTTP's. None: there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def forbidden(self) -> bool:
        """Whether who we are is the reason: 401 and 403."""
        return self.status in (401, 403)


@attrs.frozen
class Credentials:
    """Paths of files. @ivar trust: PEM. None: the system's authorities. @ivar certificate: PEM, with its key.

    @ivar token: one line, such as a JSON web token.
    """

    trust: str | None = None
    certificate: str | None = None
    token: str | None = None


class Admin:
    """Asks; files are read again when they have changed.

    @param address: by which address a host is dialled; certificates are verified for the host itself.
    @param timeout: seconds for each answer, from connecting to its last byte.
    """

    def __init__(
        self, reactor: Any, credentials: Credentials, timeout: float, address: Callable[[str], str] = str
    ) -> None:
        """@raise AdminFailure: a file cannot be used."""
        self._reactor = reactor
        self._credentials = credentials
        self._timeout = timeout
        self._address = address
        self._seen: object = None
        self._pool = HTTPConnectionPool(reactor)
        self._closing: list[Deferred[None]] = []
        self.read()

    def read(self) -> None:
        """Look at the files again. @raise AdminFailure: one cannot be used; what was read before stays in force."""
        paths = attrs.astuple(self._credentials)
        seen = [None if path is None else signature(path) for path in paths]
        if seen == self._seen:
            return
        trust, certificate, token = paths
        try:
            trusted = None if trust is None else trust_root(trust)
            shown = None if certificate is None else client_certificate(certificate)
        except BadPem as error:
            raise AdminFailure(str(error)) from error
        self._token = None if token is None else _token(token)
        # Connections that were made before go on under what they were made with: not for us.
        self._closing = [one for one in self._closing if not one.called]
        self._closing.append(self._pool.closeCachedConnections())
        self._pool = HTTPConnectionPool(self._reactor)
        endpoints = _Endpoints(self._reactor, trusted, shown, self._timeout, self._address)
        self._agent = Agent.usingEndpointFactory(self._reactor, endpoints, self._pool)
        self._seen = seen

    async def get(self, url: str, trusted: Collection[str]) -> bytes:
        """The body of the answer at a URL; redirects are followed.

        @param trusted: hosts that get the token; a redirect to another one goes without.
        @raise AdminFailure: there is none within the timeout, or its status is not 200.
        """
        first = url
        answer: Deferred[bytes] = Deferred.fromCoroutine(self._follow(url, trusted))
        answer.addTimeout(self._timeout, self._reactor, lambda *_: Failure(_TimedOut()))
        try:
            return await answer
        except AdminFailure:
            raise
        except _TimedOut:
            raise AdminFailure(f"{_place(first)}: no answer within {self._timeout:g} s") from None
        except Exception as error:
            error = _inner(error)
            if isinstance(error, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            raise AdminFailure(f"{_place(first)}: {_why(error)}") from error

    def close(self) -> Deferred[None]:
        """Close what is open and idle. Questions that are under way are cancelled by who asks."""
        return DeferredList([*self._closing, self._pool.closeCachedConnections()]).addCallback(lambda _: None)

    async def _follow(self, url: str, trusted: Collection[str]) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            headers = {"User-Agent": [f"sniproxy/{__version__}"], "Accept": ["application/json, text/plain"]}
            if self._token is not None and urlsplit(url).hostname in trusted:
                headers["Authorization"] = [f"Bearer {self._token}"]
            response: Any = await self._agent.request(b"GET", url.encode("ascii"), Headers(headers))
            body = await _body(response)
            if response.code == 200:
                return body
            if response.code not in (301, 302, 307, 308):
                raise AdminFailure(f"{_place(url)}: {_status(response.code, body)}", response.code)
            url = _next(url, response)
        raise AdminFailure(f"{_place(url)}: more than {MOST_REDIRECTS} redirects")


class _TimedOut(Exception):
    pass


class _TooLong(Exception):
    pass


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoints:
    reactor: Any
    trust: TrustRoot | None
    shown: ClientCertificate | None
    timeout: float
    address: Callable[[str], str]

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = server_name(uri.host.decode("ascii").strip("[]"))
        endpoint = HostnameEndpoint(self.reactor, self.address(host), uri.port, timeout=self.timeout)
        if uri.scheme != b"https":
            return endpoint
        more: Mapping[str, Any] = {} if self.shown is None else {"extraCertChain": list(self.shown.chain)}
        own = None if self.shown is None else self.shown.own
        options = ssl.optionsForClientTLS(host, self.trust, own, extraCertificateOptions=dict(more))
        tls: IStreamClientEndpoint = wrapClientTLS(options, endpoint)
        return tls


class _Body(Protocol):
    """Gathers a body, within bounds."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > MOST_BYTES:
            self._end(Failure(_TooLong(f"its answer has more than {MOST_BYTES} bytes")))
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


def _body(response: IResponse) -> Deferred[bytes]:
    body = _Body()
    response.deliverBody(body)
    return body.done


def _next(url: str, response: Any) -> str:
    """Where a redirect leads."""
    locations = response.headers.getRawHeaders(b"location") or [b""]
    try:
        there: str = urljoin(url, locations[0].decode("ascii"))
        parts = urlsplit(there)
        server_name(parts.hostname or "")
        _ = parts.port
    except (ValueError, BadName) as error:
        raise AdminFailure(f"{_place(url)}: it redirects to what is no URL") from error
    if parts.scheme not in ("https", urlsplit(url).scheme):
        raise AdminFailure(f"{_place(url)}: it redirects from https to {bounded(parts.scheme)}, which is not followed")
    return there


def _place(url: str) -> str:
    return bounded(url)


def _status(code: int, body: bytes) -> str:
    # Pulsar says 401 to a role without rights, too.
    cure = {code: f"{code}, no right to this; token_file or certificate must be a super-user's" for code in (401, 403)}
    cure[404] = "404, there is no such thing"
    said = f"; it says: {bounded(text, 100)}" if (text := body[:400].decode("utf-8", "replace").strip()) else ""
    return cure.get(code, str(code)) + said


def _inner(error: Exception) -> Exception:
    if isinstance(error, ResponseFailed) and error.reasons:
        reason: Exception = error.reasons[0].value
        return reason
    return error


def _why(error: Exception) -> str:
    if isinstance(error, DNSLookupError):
        return "its host name cannot be looked up"
    if isinstance(error, ConnectError):
        return f"cannot connect: {bounded(str(error) or type(error).__name__, 120)}"
    return bounded(f"{type(error).__name__}: {error}", 200)


def _token(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text: str = file.read(TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise AdminFailure(f"token_file {path}: it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the error holds what was read.
        raise AdminFailure(f"token_file {path}: it holds what is no token") from None
    if not text or not text.isprintable() or " " in text:
        raise AdminFailure(f"token_file {path}: it holds no token: one line, without spaces")
    return text
