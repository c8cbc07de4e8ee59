"""The admin endpoint's HTTP server. It shows, by GET and HEAD; what changes something is a POST from this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from importlib.resources import files
from io import BytesIO
from typing import Any, cast
from weakref import WeakSet

from msgspec.structs import asdict
from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from sniproxy.admin.documents import status_document
from sniproxy.admin.guard import HEADERS, why_not, why_not_change
from sniproxy.admin.metrics import CONTENT_TYPE, Metrics
from sniproxy.admin.refusals import Refusals
from sniproxy.admin.sources import NoSuchGoal, StatusSource
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

ACTIONS = ("/drain", "/undrain")
"""The paths that change something."""

LEAST_RATE, MOST_RATE = 0.001, 10_000.0
MOST_TEXT = 300
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
        path = request.path.decode("latin-1")
        allowed = (b"POST",) if path in ACTIONS else (b"GET", b"HEAD")
        if request.method not in allowed:
            request.setHeader(b"Allow", b", ".join(allowed))
            does = "changes something: POST" if path in ACTIONS else "only shows: GET or HEAD"
            raise _Answer(405, f"this path {does}")
        if path in ACTIONS:
            return self._act(request, path)
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
        raise _Answer(404, "there are /, /status, /topics, /ready and /metrics, and for POST /drain and /undrain")

    def _act(self, request: Request, path: str) -> tuple[str, bytes]:
        client = getattr(request.getClientAddress(), "host", None)
        why = why_not_change(request.requestHeaders.getRawHeaders(b"host", []), client)
        if why is not None:
            raise _Answer(403, why)
        name = _text(request, b"name")
        try:
            if path == "/drain":
                return _JSON, _dumped(asdict(self._site.proxy.drain(name, _rate(request))))
            return _JSON, _dumped(asdict(self._site.proxy.undrain(name)))
        except NoSuchGoal as error:
            raise _Answer(404, str(error)) from error


class AdminSite(Site):
    """The server; listen with it as a factory. What stops listening also closes the connections that are open.

    @param status: the proxy. @param metrics: what has ended. @param refusals: what was refused.
    @param topics: the inspector's ledger; None: nothing is inspected.
    @param hosts: names in Host headers that are this endpoint's, beyond its addresses and C{localhost}.
    @param now: seconds since 1970.
    @param instance: which of several workers this is. None: there is one process.
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
        instance: int | None = None,
    ) -> None:
        Site.__init__(self, _Root(self), AdminRequest, reactor=reactor)
        self.metrics = metrics
        self.refusals = refusals
        self.topics = topics
        self.hosts: frozenset[str] = frozenset()
        self.name_hosts(hosts)
        self.proxy = status
        self._now = now
        self._instance = instance
        self._open: WeakSet[Any] = WeakSet()

    def name_hosts(self, hosts: Collection[str]) -> None:
        """From now on these are its names, beyond its addresses and C{localhost}."""
        self.hosts = frozenset(host.lower() for host in hosts)

    def ready(self) -> bytes:
        """For load balancers. @raise _Answer: 503 while the proxy drains."""
        if not self.proxy.status().ready:
            raise _Answer(503, "draining")
        return b"ready\n"

    def status_document(self, most: int | None) -> dict[str, Any]:
        """The JSON of C{/status}. @param most: entries of a list; None: L{MOST_LISTED}."""
        most = MOST_LISTED if most is None else most
        status, live = self.proxy.status(), self.proxy.live()
        totals, refusals = self.metrics.totals(), self.refusals.latest()
        in_force = self.proxy.in_force(most)
        return status_document(status, live, totals, refusals, self._now(), most, self._instance, in_force)

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


def _text(request: Request, name: bytes) -> str:
    """A text of the query. @raise _Answer: 400: it is not there, or too long."""
    values: list[bytes] = (request.args or {}).get(name, [])
    if not values or len(values[-1]) > MOST_TEXT:
        raise _Answer(400, f"{name.decode()} is missing, or too long")
    return values[-1].decode("utf-8", "backslashreplace")


def _rate(request: Request) -> float:
    """C{rate} of the query, in tunnels a second; unless given, 10. @raise _Answer: 400: it is no rate."""
    values: list[bytes] = (request.args or {}).get(b"rate", [b"10"])
    try:
        rate = float(values[-1])
    except ValueError:
        rate = 0.0
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise _Answer(400, f"rate is a number of tunnels a second, from {LEAST_RATE:g} to {MOST_RATE:g}")
    return rate


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
