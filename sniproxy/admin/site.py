"""The admin endpoint's HTTP server. It shows, by GET and HEAD; what changes something is a POST with a token."""

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
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sniproxy.admin.connections import AdminChannel, AdminConnections
from sniproxy.admin.documents import dumped, status_document, tunnels
from sniproxy.admin.guard import HEADERS, why_not_change, why_not_host, why_not_origin
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
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/treemap.js": ("treemap.js", "text/javascript; charset=utf-8"),
}
"""The page's files in C{static}, by path."""

MAX_LISTED = 1000
"""Entries of a list in C{/status}, unless C{?limit=} asks for fewer, and of one in C{/topics} unless it says so."""

MAX_TOPICS = 10_000
"""Entries of a list in C{/topics} at most: as many as the ledger remembers."""

ACTIONS = ("/drain", "/undrain")
"""The paths that change something."""

MIN_RATE, MAX_RATE = 0.001, 10_000.0
MAX_TEXT_CHARS = 300
"""Bytes of a text in a query."""

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class AdminRequest(Request):
    """A request whose body is dropped as it comes: none is ever wanted, and Twisted would keep it on disk."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Drop it."""


class _Answer(Exception):
    """An answer that is not 200."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


class _Root(Resource):
    """All paths."""

    isLeaf = True

    def __init__(self, site: AdminSite) -> None:
        Resource.__init__(self)
        self._site = site

    def render(self, request: Request) -> Any:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        try:
            kind, body = self._answer(request)
        except _Answer as answer:
            request.setResponseCode(answer.code)
            kind, body = _TEXT, f"{answer.text}\n".encode()
        request.setHeader(b"Content-Type", kind.encode())
        if isinstance(body, bytes):
            return _sized(request, body)
        made: Deferred[bytes] = self._site.slices.run(body)
        request.notifyFinish().addErrback(lambda _: made.cancel())
        made.addCallbacks(lambda whole: request.write(_sized(request, whole)), _failed, errbackArgs=(request,))
        made.addCallback(lambda _: None if request.finished or request.channel is None else request.finish())
        return NOT_DONE_YET

    def _answer(self, request: Request) -> tuple[str, bytes | Steps[bytes]]:
        site, headers = self._site, request.requestHeaders
        hosts, origins = headers.getRawHeaders(b"host", []), headers.getRawHeaders(b"origin", [])
        self._refuse(request, "host", why_not_host(hosts, getattr(request.getHost(), "host", None), site.hosts), hosts)
        self._refuse(request, "origin", why_not_origin(hosts, origins), origins)
        path = request.path.decode("latin-1")
        allowed = (b"POST",) if path in ACTIONS else (b"GET", b"HEAD")
        if request.method not in allowed:
            request.setHeader(b"Allow", b", ".join(allowed))
            does = "changes something: POST" if path in ACTIONS else "only shows: GET or HEAD"
            raise _Answer(405, f"this path {does}")
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
        raise _Answer(404, "there are /, /status, /topics, /ready and /metrics, and for POST /drain and /undrain")

    def _refuse(self, request: Request, cause: str, why: str | None, sent: Sequence[bytes] = ()) -> None:
        """@raise _Answer: 403: there is a reason."""
        if why is None:
            return
        client = getattr(request.getClientAddress(), "host", None) or "unix"
        self._site.refused.refused(cause, " ".join([client, *(one.decode("latin-1") for one in sent)]))
        raise _Answer(403, why)

    def _act(self, request: Request, path: str) -> tuple[str, bytes]:
        headers, unix = request.requestHeaders, isinstance(request.getHost(), UNIXAddress)
        hosts, authorization = (headers.getRawHeaders(name, []) for name in (b"host", b"authorization"))
        self._refuse(request, "change", why_not_change(hosts, unix, authorization, self._site.token))
        name = _text(request, b"name")
        try:
            if path == "/drain":
                return _JSON, _dumped(asdict(self._site.proxy.drain(name, _rate(request))))
            return _JSON, _dumped(asdict(self._site.proxy.undrain(name)))
        except UnknownDrainTarget as error:
            raise _Answer(404, str(error)) from error


class AdminSite(Site):
    """The server; listen with it as a factory. What stops listening also closes the connections that are open.

    @param status: the proxy. @param metrics: what has ended. @param refusals: what was refused.
    @param topics: the inspector's ledger; None: nothing is inspected.
    @param hosts: names in Host headers that are this endpoint's, beyond its addresses and C{localhost}.
    @param now: seconds since 1970.
    @param instance: which of several workers this is. None: there is one process.
    @param holds: called with the change in the number of descriptors that its connections take.
    @ivar token: the secret of requests over TCP that change something. None: there is none, and all are refused.
    @ivar refused: what it refused.
    """

    noisy = False
    protocol = cast(Any, AdminChannel)  # what Site would choose negotiates HTTP/2 first, and hides its transport

    def __init__(
        self,
        reactor: Any,
        status: StatusSource,
        metrics: Metrics,
        refusals: RecentRefusals,
        topics: Topics | None = None,
        hosts: Collection[str] = (),
        now: Callable[[], float] = time.time,
        instance: int | None = None,
        holds: Callable[[int], None] = lambda _: None,
        refused: Rejections | None = None,
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
        self.refused = refused or Rejections(reactor.seconds)
        self.channels = AdminConnections(reactor, holds, self.refused.refused, self.slices)
        self._now = now
        self._instance = instance

    def name_hosts(self, hosts: Collection[str]) -> None:
        """From now on these are its names, beyond its addresses and C{localhost}."""
        self.hosts = frozenset(host.lower() for host in hosts)

    def ready(self) -> bytes:
        """For load balancers. @raise _Answer: 503 while the proxy drains."""
        if not self.proxy.ready:
            raise _Answer(503, "draining")
        return b"ready\n"

    def status_steps(self, most: int | None) -> Steps[bytes]:
        """Make the JSON of C{/status}. @param most: entries of a list; None, and at most: L{MAX_LISTED}."""
        most = MAX_LISTED if most is None else min(most, MAX_LISTED)
        yield from self.metrics.refresh_steps()
        in_force = self.proxy.in_force(most)
        yield
        status, live, now = self.proxy.status(), self.proxy.live(), self._now()
        totals, refusals = self.metrics.totals(), self.refusals.latest()
        yield
        document = status_document(status, (), totals, refusals, now, most, self._instance, in_force)
        return (yield from _joined({**document, "live": len(live), "tunnels": tunnels(live, now, most)}))

    def topics_steps(self, fold: int | None, most: int | None) -> Steps[bytes]:
        """Make the JSON of C{/topics}.

        @param fold: 1: partitions are counted as their topic.
        @param most: entries of a list; None: L{MAX_LISTED}; at most L{MAX_TOPICS}.
        """
        most = MAX_LISTED if most is None else min(most, MAX_TOPICS)
        if self.topics is None:
            return (yield from _joined(nothing_inspected(self._now())))
        document = yield from self.topics.document_steps(self._now(), bool(fold), most)
        return (yield from _joined(document))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection. @return: None: there are too many."""
        if not self.channels.make_room():
            return None
        channel = Site.buildProtocol(self, addr)
        channel.channels = self.channels
        return channel

    def stopFactory(self) -> None:
        super().stopFactory()
        self.slices.stop()
        self.channels.stop()

    def logPrefix(self) -> str:
        """What Twisted calls it in the log."""
        return "admin"

    def log(self, request: BaseRequest) -> None:
        """Nothing: a page that asks every second is no news."""


def _number(request: Request, name: bytes) -> int | None:
    """A number of the query; None: it is not there. @raise _Answer: 400: it is no number, or below 0."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values:
        return None
    if not values[-1].isdigit() or len(values[-1]) > 9:
        raise _Answer(400, f"{name.decode()} is a number")
    return int(values[-1])


def _text(request: Request, name: bytes) -> str:
    """A text of the query. @raise _Answer: 400: it is not there, or too long."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values or len(values[-1]) > MAX_TEXT_CHARS:
        raise _Answer(400, f"{name.decode()} is missing, or too long")
    return values[-1].decode("utf-8", "backslashreplace")


def _rate(request: Request) -> float:
    """C{rate} of the query, in tunnels a second; unless given, 10. @raise _Answer: 400: it is no rate."""
    values: list[bytes] = (request.args or {}).get(b"rate", [b"10"])
    try:
        rate = float(values[-1])
    except ValueError:
        rate = 0.0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise _Answer(400, f"rate is a number of tunnels a second, from {MIN_RATE:g} to {MAX_RATE:g}")
    return rate


@cache
def _page(path: str) -> bytes:
    """A file of the page."""
    return files("sniproxy.admin").joinpath("static", PAGE[path][0]).read_bytes()


def _sized(request: Request, body: bytes) -> bytes:
    """What is written: nothing for HEAD."""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return b"" if request.method == b"HEAD" else body


def _failed(failure: Failure, request: Request) -> None:
    """An answer could not be made: 500, without the story; nothing when the client has gone."""
    if failure.check(CancelledError):
        return
    log.failure("admin: no answer to {path}", failure, path=request.path.decode("latin-1"))
    request.setResponseCode(500)
    request.setHeader(b"Content-Type", _TEXT.encode())
    request.write(_sized(request, b"a fault of the proxy: see its log\n"))


def _joined(document: dict[str, Any]) -> Steps[bytes]:
    """The JSON of a document, an entry or a few in a step."""
    pieces = []
    for piece in dumped(document):
        pieces.append(piece)
        yield
    return b"".join([*pieces, b"\n"])


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
