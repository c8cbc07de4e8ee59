"""The HTTP server of the admin endpoint. GET and HEAD show state; POST with a token changes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, cast

from msgspec.structs import asdict
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sniproxy.admin.connections import AdminChannel, AdminConnections
from sniproxy.admin.documents import serialize, status_document, tunnels
from sniproxy.admin.guard import HEADERS, change_refusal, host_refusal, origin_refusal
from sniproxy.admin.metrics import CONTENT_TYPE, Metrics
from sniproxy.admin.recentrefusals import RecentRefusals
from sniproxy.admin.rejections import Rejections
from sniproxy.admin.slices import Slices, Steps
from sniproxy.admin.sources import StatusSource, UnknownDrainTarget
from sniproxy.admin.topics import Topics, nothing_inspected

log = Logger()

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/helpers.js": ("helpers.js", "text/javascript; charset=utf-8"),
    "/layouts.js": ("layouts.js", "text/javascript; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/treemap.js": ("treemap.js", "text/javascript; charset=utf-8"),
}
"""The files of the page in C{static}, by path."""

MAX_LISTED = 1000
"""Maximum of entries of a list in C{/status}, and the default in C{/topics}; C{?limit=} changes it."""

MAX_TOPICS = 10_000
"""Maximum of entries of a list in C{/topics}: the size of the ledger."""

ACTIONS = ("/drain", "/undrain")
"""The paths that change state."""

MIN_RATE, MAX_RATE = 0.001, 10_000.0
"""Bounds of the rate of a drain, in tunnels per second."""

MAX_TEXT_CHARS = 300
"""Maximum length of a text in a query."""

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class AdminRequest(Request):
    """A request without its body. No path reads a body, and Twisted would store it on disk."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Discard the data."""


class _ErrorAnswer(Exception):
    """An answer with a status other than 200."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


class _Root(Resource):
    """Answers requests for all paths."""

    isLeaf = True

    def __init__(self, site: AdminSite) -> None:
        Resource.__init__(self)
        self._site = site

    def render(self, request: Request) -> Any:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        try:
            kind, body = self._answer(request)
        except _ErrorAnswer as answer:
            request.setResponseCode(answer.code)
            kind, body = _TEXT, f"{answer.text}\n".encode()
        request.setHeader(b"Content-Type", kind.encode())
        if isinstance(body, bytes):
            return _sized(request, body)
        body_ready: Deferred[bytes] = self._site.slices.run(body)
        request.notifyFinish().addErrback(lambda _: body_ready.cancel())
        body_ready.addCallbacks(lambda whole: request.write(_sized(request, whole)), _failed, errbackArgs=(request,))
        body_ready.addCallback(lambda _: None if request.finished or request.channel is None else request.finish())
        return NOT_DONE_YET

    def _answer(self, request: Request) -> tuple[str, bytes | Steps[bytes]]:
        site, headers = self._site, request.requestHeaders
        hosts, origins = headers.getRawHeaders(b"host", []), headers.getRawHeaders(b"origin", [])
        self._refuse(request, "host", host_refusal(hosts, getattr(request.getHost(), "host", None), site.hosts), hosts)
        self._refuse(request, "origin", origin_refusal(hosts, origins), origins)
        path = request.path.decode("latin-1")
        allowed = (b"POST",) if path in ACTIONS else (b"GET", b"HEAD")
        if request.method not in allowed:
            request.setHeader(b"Allow", b", ".join(allowed))
            methods = "POST" if path in ACTIONS else "GET or HEAD"
            raise _ErrorAnswer(405, f"method not allowed: use {methods}")
        if path in ACTIONS:
            return self._act(request, path)
        if path in PAGE:
            return PAGE[path][1], _page(path)
        if path == "/ready":
            return _TEXT, site.ready()
        if path == "/metrics":
            return CONTENT_TYPE, site.metrics.text_steps()
        if path == "/status":
            return _JSON, site.status_steps(_number(request, b"limit"))
        if path == "/topics":
            return _JSON, site.topics_steps(_number(request, b"fold"), _number(request, b"limit"))
        raise _ErrorAnswer(404, "not found: use /, /status, /topics, /ready or /metrics, or POST to /drain or /undrain")

    def _refuse(self, request: Request, cause: str, why: str | None, sent: Sequence[bytes] = ()) -> None:
        """@raise _ErrorAnswer: 403, if there is a reason to refuse the request."""
        if why is None:
            return
        client = getattr(request.getClientAddress(), "host", None) or "unix"
        self._site.rejections.record(cause, " ".join([client, *(one.decode("latin-1") for one in sent)]))
        raise _ErrorAnswer(403, why)

    def _act(self, request: Request, path: str) -> tuple[str, bytes]:
        headers, unix = request.requestHeaders, isinstance(request.getHost(), UNIXAddress)
        hosts, authorization = (headers.getRawHeaders(name, []) for name in (b"host", b"authorization"))
        self._refuse(request, "change", change_refusal(hosts, unix, authorization, self._site.token))
        name = _text(request, b"name")
        try:
            if path == "/drain":
                return _JSON, _dumped(asdict(self._site.proxy.drain(name, _rate(request))))
            return _JSON, _dumped(asdict(self._site.proxy.undrain(name)))
        except UnknownDrainTarget as error:
            raise _ErrorAnswer(404, str(error)) from error


class AdminSite(Site):
    """The factory of the HTTP server. Stopping the port also closes open connections.

    @param status: the proxy. @param metrics: the Prometheus metrics. @param refusals: the connections refused recently.
    @param topics: the JSON of C{/topics}; None if nothing is inspected.
    @param hosts: valid Host headers besides the addresses of the endpoint and C{localhost}.
    @param now: returns seconds since 1970.
    @param instance: the number of this worker; None without workers.
    @param holds: called with the change in the number of descriptors that its connections use.
    @param rejections: counts and logs refused requests and connections.
    @ivar token: the token for POST requests over TCP. If None, such requests are refused.
    """

    noisy = False
    protocol = cast(Any, AdminChannel)  # the default negotiates HTTP/2 and hides its transport

    def __init__(
        self,
        reactor: IReactorTime,
        status: StatusSource,
        metrics: Metrics,
        refusals: RecentRefusals,
        topics: Topics | None = None,
        hosts: Collection[str] = (),
        now: Callable[[], float] = time.time,
        instance: int | None = None,
        holds: Callable[[int], None] = lambda _: None,
        rejections: Rejections | None = None,
    ) -> None:
        Site.__init__(self, _Root(self), AdminRequest, reactor=reactor)
        self.metrics = metrics
        self.refusals = refusals
        self.topics = topics
        self.hosts: frozenset[str] = frozenset()
        self.name_hosts(hosts)
        self.token: bytes | None = None
        self.proxy = status
        self.slices = Slices(reactor)
        self.rejections = rejections or Rejections(reactor.seconds)
        self.connections = AdminConnections(reactor, holds, self.rejections.record, self.slices)
        self._now = now
        self._instance = instance

    def name_hosts(self, hosts: Collection[str]) -> None:
        """Set the valid Host headers besides the addresses of the endpoint and C{localhost}."""
        self.hosts = frozenset(host.lower() for host in hosts)

    def ready(self) -> bytes:
        """The answer for load balancers. @raise _ErrorAnswer: 503 while the proxy drains."""
        if not self.proxy.ready:
            raise _ErrorAnswer(503, "draining")
        return b"ready\n"

    def status_steps(self, limit: int | None) -> Steps[bytes]:
        """Build the JSON of C{/status} in steps.

        @param limit: maximum of entries of a list, up to L{MAX_LISTED}, the default.
        """
        limit = MAX_LISTED if limit is None else min(limit, MAX_LISTED)
        yield from self.metrics.refresh_steps()
        current_settings = self.proxy.current_settings(limit)
        yield
        status, live, now = self.proxy.status(), self.proxy.live(), self._now()
        totals, refusals = self.metrics.totals(), self.refusals.latest()
        yield
        document = status_document(status, (), totals, refusals, now, limit, self._instance, current_settings)
        return (yield from _json_steps({**document, "live": len(live), "tunnels": tunnels(live, now, limit)}))

    def topics_steps(self, fold: int | None, limit: int | None) -> Steps[bytes]:
        """Build the JSON of C{/topics} in steps.

        @param fold: 1 to merge the partitions of a topic.
        @param limit: maximum of entries of a list, up to L{MAX_TOPICS}; default: L{MAX_LISTED}.
        """
        limit = MAX_LISTED if limit is None else min(limit, MAX_TOPICS)
        if self.topics is None:
            return (yield from _json_steps(nothing_inspected(self._now())))
        document = yield from self.topics.document_steps(self._now(), bool(fold), limit)
        return (yield from _json_steps(document))

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


def _number(request: Request, name: bytes) -> int | None:
    """A number in the query; None if absent. @raise _ErrorAnswer: 400 if it is not a number of 0 or more."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values:
        return None
    if not values[-1].isdigit() or len(values[-1]) > 9:
        raise _ErrorAnswer(400, f"{name.decode()} must be a number")
    return int(values[-1])


def _text(request: Request, name: bytes) -> str:
    """A text in the query. @raise _ErrorAnswer: 400 if it is absent or too long."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values or len(values[-1]) > MAX_TEXT_CHARS:
        raise _ErrorAnswer(400, f"{name.decode()} is missing or too long")
    return values[-1].decode("utf-8", "backslashreplace")


def _rate(request: Request) -> float:
    """C{rate} in the query, in tunnels per second; default: 10. @raise _ErrorAnswer: 400 if it is out of bounds."""
    values: list[bytes] = (request.args or {}).get(b"rate", [b"10"])
    try:
        rate = float(values[-1])
    except ValueError:
        rate = 0.0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise _ErrorAnswer(400, f"rate must be a number of tunnels per second, from {MIN_RATE:g} to {MAX_RATE:g}")
    return rate


@cache
def _page(path: str) -> bytes:
    """A file of the page."""
    return files("sniproxy.admin").joinpath("static", PAGE[path][0]).read_bytes()


def _sized(request: Request, body: bytes) -> bytes:
    """Set Content-Length. @return: the body, empty for HEAD."""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return b"" if request.method == b"HEAD" else body


def _failed(failure: Failure, request: Request) -> None:
    """Answer 500 after an error, without details; do nothing if the client has left."""
    if failure.check(CancelledError):
        return
    log.failure("admin: cannot answer {path}: internal error", failure, path=request.path.decode("latin-1"))
    request.setResponseCode(500)
    request.setHeader(b"Content-Type", _TEXT.encode())
    request.write(_sized(request, b"internal error: see the log of the proxy\n"))


def _json_steps(document: dict[str, Any]) -> Steps[bytes]:
    """Serialize a document in steps."""
    pieces = []
    for piece in serialize(document):
        pieces.append(piece)
        yield
    return b"".join([*pieces, b"\n"])


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
