"""A scripted admin API of Pulsar brokers on loopback, which can fail in every way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import ContextFactory
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import directlyProvides, providedBy

from tests.support.sockets import HandClock

reactor: Any = global_reactor


class NetClock(HandClock):
    """A fake clock for timeouts. Delays under a second, as of endpoints, use the real reactor."""

    def __init__(self) -> None:
        super().__init__()
        directlyProvides(self, providedBy(reactor))

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        if delay < 1:
            return reactor.callLater(delay, callable, *args, **kw)
        return super().callLater(delay, callable, *args, **kw)


LIST = "/admin/v2/brokers"
HEALTH = "/admin/v2/brokers/health"
CONFIGURATION = "/admin/v2/brokers/configuration/runtime"


class AdminServer(Resource):
    """The admin API of one broker. Tests of the C{http} resolver use it, too.

    @ivar answers: status and body by path. A path without an answer is silent.
    @ivar asked: all requested paths. @ivar uris: the same with their queries. @ivar tokens: the token of each request.
    @ivar bodies: body and content type of each POST. @ivar locations: the Location of a redirect, by path.
    @ivar header: the header that has the token.
    """

    isLeaf = True

    def __init__(self, case: TestCase, tls: ContextFactory | None = None) -> None:
        super().__init__()
        self.case = case
        self.asked: list[str] = []
        self.uris: list[str] = []
        self.tokens: list[str | None] = []
        self.bodies: list[tuple[bytes, str | None]] = []
        self.header = "authorization"
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.locations: dict[str, str] = {}
        self.heard: list[tuple[str, Deferred[None]]] = []
        self.scheme = "http" if tls is None else "https"
        self.port = 0
        self.tls = tls
        self.listening: IListeningPort | None = None
        self.open()

    def open(self) -> None:
        """Listen. A second call listens at the same port."""
        site = Site(self)
        site.displayTracebacks = False
        site.noisy = False
        self.connections: list[Any] = []
        build = site.buildProtocol

        def remembered(addr: Any) -> Any:
            protocol = build(addr)
            self.connections.append(protocol)
            return protocol

        site.buildProtocol = remembered  # type: ignore[method-assign]
        listening: Any
        if self.tls is None:
            listening = reactor.listenTCP(self.port, site, interface="127.0.0.1")
        else:
            listening = reactor.listenSSL(self.port, site, self.tls, interface="127.0.0.1")
        self.listening = listening
        self.port = listening.getHost().port
        self.case.addCleanup(self.close)

    async def close(self) -> None:
        """Close the port and all connections. A second call does nothing."""
        listening, self.listening = self.listening, None
        if listening is not None:
            stopped: Any = listening.stopListening()
            for protocol in self.connections:
                if self.tls is None and protocol._channel.transport is not None:
                    protocol._channel.transport.abortConnection()
            await stopped

    @property
    def id(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def broker(self, name: str, port: int = 6651, internal: str = "127.0.0.1") -> None:
        """Answer as a healthy broker that advertises this name and is bound to this port."""
        said = {
            "advertisedListeners": f"internal:pulsar://{internal}:6650,external:pulsar+ssl://{name}:443",
            "bindAddresses": f"external:pulsar+ssl://0.0.0.0:{port}",
        }
        self.answers[CONFIGURATION] = (200, json.dumps(said).encode())
        self.answers[HEALTH] = (200, b"ok")

    def brokers(self, *ids: str) -> None:
        """Answer with this list of live brokers."""
        self.answers[LIST] = (200, json.dumps(list(ids)).encode())

    def until(self, path: str) -> Deferred[None]:
        """Fires when this path is requested."""
        heard: Deferred[None] = Deferred()
        self.heard.append((path, heard))
        return heard

    def render_POST(self, request: Request) -> bytes | int:
        assert request.content is not None
        self.bodies.append((request.content.read(), request.getHeader("content-type")))
        return self.render_GET(request)

    def render_GET(self, request: Request) -> bytes | int:
        path = request.path.decode()
        self.asked.append(path)
        self.uris.append(request.uri.decode())
        self.tokens.append(request.getHeader(self.header))
        for wanted, heard in list(self.heard):
            if wanted == path:
                self.heard.remove((wanted, heard))
                heard.callback(None)
        if path in self.locations:
            request.redirect(self.locations[path].encode())
            request.setResponseCode(307)
            return b""
        if path not in self.answers:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        status, body = self.answers[path]
        request.setResponseCode(status)
        return body
