"""An HTTP server that checks each request before a site answers it, and that bounds its connections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from typing import Any, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sniproxy.admin.connections import AdminChannel, AdminConnections
from sniproxy.admin.guard import HEADERS, change_refusal, host_refusal, origin_refusal
from sniproxy.admin.page import PAGE, page_file
from sniproxy.admin.query import ErrorAnswer
from sniproxy.admin.rejections import Rejections
from sniproxy.admin.slices import Slices, Steps
from sniproxy.admin.upgrades import Upgrade, UpgradeRequests

log = Logger()

ACTIONS = ("/drain", "/undrain", "/upgrade", "/record", "/faults/add", "/faults/remove")
"""The paths that change state."""

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

Body = bytes | Steps[bytes] | Deferred[bytes]
"""The body of an answer: at once, in steps, or later."""


class AdminRequest(Request):
    """A request without its body. No path reads a body, and Twisted would store it on disk."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Discard the data."""


class _Root(Resource):
    """Answers requests for all paths."""

    isLeaf = True

    def __init__(self, site: GuardedSite) -> None:
        Resource.__init__(self)
        self._site = site

    def render(self, request: Request) -> Any:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        try:
            kind, body = self._answer(request)
        except ErrorAnswer as answer:
            request.setResponseCode(answer.code)
            kind, body = TEXT, f"{answer.text}\n".encode()
        request.setHeader(b"Content-Type", kind.encode())
        if isinstance(body, bytes):
            return _sized(request, body)
        body_ready = body if isinstance(body, Deferred) else self._site.slices.run(body)
        request.notifyFinish().addErrback(lambda _: body_ready.cancel())
        body_ready.addCallback(lambda whole: request.write(_sized(request, whole)))
        body_ready.addErrback(_failed, request)
        body_ready.addCallback(lambda _: None if request.finished or request.channel is None else request.finish())
        return NOT_DONE_YET

    def _answer(self, request: Request) -> tuple[str, Body]:
        site, headers = self._site, request.requestHeaders
        hosts, origins = headers.getRawHeaders(b"host", []), headers.getRawHeaders(b"origin", [])
        self._refuse(request, "host", host_refusal(hosts, getattr(request.getHost(), "host", None), site.hosts), hosts)
        self._refuse(request, "origin", origin_refusal(hosts, origins), origins)
        path = request.path.decode("latin-1")
        allowed = (b"POST",) if path in ACTIONS else (b"GET", b"HEAD")
        if request.method not in allowed:
            request.setHeader(b"Allow", b", ".join(allowed))
            methods = "POST" if path in ACTIONS else "GET or HEAD"
            raise ErrorAnswer(405, f"method not allowed: use {methods}")
        if path in ACTIONS:
            self._check_change(request)
            return site.act(request, path)
        if path in PAGE:
            return page_file(path)
        return site.answer(request, path)

    def _check_change(self, request: Request) -> None:
        headers, unix = request.requestHeaders, isinstance(request.getHost(), UNIXAddress)
        hosts, authorization = (headers.getRawHeaders(name, []) for name in (b"host", b"authorization"))
        self._refuse(request, "change", change_refusal(hosts, unix, authorization, self._site.token))

    def _refuse(self, request: Request, cause: str, why: str | None, sent: Sequence[bytes] = ()) -> None:
        """@raise ErrorAnswer: 403, if there is a reason to refuse the request."""
        if why is None:
            return
        client = getattr(request.getClientAddress(), "host", None) or "unix"
        self._site.rejections.record(cause, " ".join([client, *(one.decode("latin-1") for one in sent)]))
        raise ErrorAnswer(403, why)


class GuardedSite(Site):
    """A factory of HTTP servers. Stopping the port also closes open connections.

    @param hosts: valid Host headers besides the addresses of the endpoint and C{localhost}.
    @param holds: called with the change in the number of descriptors that its connections use.
    @param rejections: counts and logs refused requests and connections.
    @ivar token: the token for POST requests over TCP. If None, such requests are refused.
    """

    noisy = False
    protocol = cast(Any, AdminChannel)  # the default negotiates HTTP/2 and hides its transport

    def __init__(
        self,
        reactor: IReactorTime,
        hosts: Collection[str] = (),
        holds: Callable[[int], None] = lambda _: None,
        rejections: Rejections | None = None,
    ) -> None:
        Site.__init__(self, _Root(self), AdminRequest, reactor=reactor)
        self.hosts: frozenset[str] = frozenset()
        self.name_hosts(hosts)
        self.token: bytes | None = None
        self.slices = Slices(reactor)
        self.upgrades = UpgradeRequests()
        self.rejections = rejections or Rejections(reactor.seconds)
        self.connections = AdminConnections(reactor, holds, self.rejections.record, self.slices)

    def answer(self, request: Request, path: str) -> tuple[str, Body]:
        """Answer a GET request for any path but those of the page. @return: the media type and the body.

        @raise ErrorAnswer: the answer is an error. The body's Deferred and steps may raise it, too.
        """
        raise NotImplementedError

    def act(self, request: Request, path: str) -> tuple[str, Body]:
        """Answer a POST request for one of L{ACTIONS}, which the client may send. @return, @raise: as L{answer}."""
        raise NotImplementedError

    def begin_upgrade(self, request: Request, upgrade: Upgrade | None) -> tuple[str, Body]:
        """Answer a request for an upgrade, also if the port closes meanwhile. @param upgrade: None: there is none.

        @return: as L{answer}. @raise ErrorAnswer: 409: there is none, or one is running.
        """
        answer = self.upgrades.begin(upgrade)
        self.connections.keep(cast(AdminChannel, request.channel))
        return JSON, answer

    def name_hosts(self, hosts: Collection[str]) -> None:
        """Set the valid Host headers besides the addresses of the endpoint and C{localhost}."""
        self.hosts = frozenset(host.lower() for host in hosts)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The protocol of a new connection. @return: None if there are too many connections."""
        if not self.connections.make_room():
            return None
        channel = Site.buildProtocol(self, addr)
        channel.connections = self.connections
        return channel

    def stopFactory(self) -> None:
        super().stopFactory()
        self.slices.stop()
        self.connections.stop()

    def logPrefix(self) -> str:
        """The name of the endpoint in the log of Twisted."""
        return "admin"

    def log(self, request: BaseRequest) -> None:
        """Nothing: the page polls, and would fill the log."""


def not_found() -> ErrorAnswer:
    """The answer for a path that does not exist."""
    paths = "/, /status, /tunnels, /history, /topics, /flows, /who, /faults, /ready or /metrics"
    actions = f"{', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}"
    return ErrorAnswer(404, f"not found: use {paths}, or POST to {actions}")


def _sized(request: Request, body: bytes) -> bytes:
    """Set Content-Length. @return: the body, empty for HEAD."""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return b"" if request.method == b"HEAD" else body


def _failed(failure: Failure, request: Request) -> None:
    """Answer after an error, 500 without details if it is a fault; do nothing if the client has left."""
    if failure.check(CancelledError):
        return
    answer = failure.value
    if not isinstance(answer, ErrorAnswer):
        log.failure("admin: cannot answer {path}: internal error", failure, path=request.path.decode("latin-1"))
        answer = ErrorAnswer(500, "internal error: see the log of the proxy")
    request.setResponseCode(answer.code)
    request.setHeader(b"Content-Type", TEXT.encode())
    request.write(_sized(request, f"{answer.text}\n".encode()))
