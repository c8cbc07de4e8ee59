"""The admin endpoint's HTTP server. It only shows: every request but GET and HEAD is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from importlib.resources import files
from io import BytesIO
from typing import Any, cast
from weakref import WeakSet

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from sniproxy.admin.documents import status_document
from sniproxy.admin.guard import HEADERS, why_not
from sniproxy.admin.metrics import CONTENT_TYPE, Metrics
from sniproxy.admin.refusals import Refusals
from sniproxy.admin.sources import StatusSource
from sniproxy.admin.topics import Topics, nothing_inspected

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/treemap.js": ("treemap.js", "text/javascript; charset=utf-8"),
}
"""The page's files in C{static}, by path."""

MOST_LISTED = 1000
"""Entries of a list in C{/status}, unless C{?limit=} asks for another number; there may be very many tunnels."""

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

    def render(self, request: Request) -> bytes:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        try:
            kind, body = self._answer(request)
        except _Answer as answer:
            request.setResponseCode(answer.code)
            kind, body = _TEXT, f"{answer.text}\n".encode()
        request.setHeader(b"Content-Type", kind.encode())
        request.setHeader(b"Content-Length", b"%d" % len(body))
        return b"" if request.method == b"HEAD" else body

    def _answer(self, request: Request) -> tuple[str, bytes]:
        headers = request.requestHeaders
        why = why_not(
            headers.getRawHeaders(b"host", []),
            headers.getRawHeaders(b"origin", []),
            getattr(request.getHost(), "host", None),
            self._site.hosts,
        )
        if why is not None:
            raise _Answer(403, why)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            raise _Answer(405, "this endpoint only shows: GET or HEAD")
        path = request.path.decode("latin-1")
        if path in PAGE:
            name, kind = PAGE[path]
            return kind, files("sniproxy.admin").joinpath("static", name).read_bytes()
        if path == "/ready":
            return _TEXT, self._site.ready()
        if path == "/metrics":
            return CONTENT_TYPE, self._site.metrics.text()
        if path == "/status":
            return _JSON, _dumped(self._site.status_document(_number(request, b"limit")))
        if path == "/topics":
            return _JSON, _dumped(self._site.topics_document(_number(request, b"fold"), _number(request, b"limit")))
        raise _Answer(404, "there are /, /status, /topics, /ready and /metrics")


class AdminSite(Site):
    """The server; listen with it as a factory. What stops listening also closes the connections that are open.

    @param status: the proxy. @param metrics: what has ended. @param refusals: what was refused.
    @param topics: the inspector's ledger; None: nothing is inspected.
    @param hosts: names in Host headers that are this endpoint's, beyond its addresses and C{localhost}.
    @param now: seconds since 1970.
    """

    noisy = False
    protocol = cast(Any, HTTPChannel)  # what Site would choose negotiates HTTP/2 first, and hides its transport

    def __init__(
        self,
        reactor: Any,
        status: StatusSource,
        metrics: Metrics,
        refusals: Refusals,
        topics: Topics | None = None,
        hosts: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        Site.__init__(self, _Root(self), AdminRequest, reactor=reactor)
        self.metrics = metrics
        self.refusals = refusals
        self.topics = topics
        self.hosts: frozenset[str] = frozenset()
        self.name_hosts(hosts)
        self._status = status
        self._now = now
        self._open: WeakSet[Any] = WeakSet()

    def name_hosts(self, hosts: Collection[str]) -> None:
        """From now on these are its names, beyond its addresses and C{localhost}."""
        self.hosts = frozenset(host.lower() for host in hosts)

    def ready(self) -> bytes:
        """For load balancers. @raise _Answer: 503 while the proxy drains."""
        if not self._status.status().ready:
            raise _Answer(503, "draining")
        return b"ready\n"

    def status_document(self, most: int | None) -> dict[str, Any]:
        """The JSON of C{/status}. @param most: entries of a list; None: L{MOST_LISTED}."""
        most = MOST_LISTED if most is None else most
        status, live = self._status.status(), self._status.live()
        return status_document(status, live, self.metrics.totals(), self.refusals.latest(), self._now(), most)

    def topics_document(self, fold: int | None, most: int | None) -> dict[str, Any]:
        """The JSON of C{/topics}. @param fold: 1: partitions are counted as their topic. @param most: None: all."""
        if self.topics is None:
            return nothing_inspected(self._now())
        return self.topics.document(self._now(), bool(fold), most)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel = Site.buildProtocol(self, addr)
        self._open.add(channel)
        return channel

    def stopFactory(self) -> None:
        super().stopFactory()
        for channel in list(self._open):
            if channel.transport is not None:
                channel.transport.abortConnection()

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


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
