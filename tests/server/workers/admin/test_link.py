"""Tests for sniproxy.server.workers.admin.link."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sniproxy.server.workers.admin import link
from sniproxy.server.workers.admin.channel import VARIABLE, ChannelEndpoint
from sniproxy.server.workers.admin.link import NoReply, Reply, WorkerLink, parse_reply
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class Root(Resource):
    """Answers C{/silent} never, C{/half} with half an answer, C{/huge} with a megabyte, and others with their URI."""

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.silent: Deferred[Request] = Deferred()

    def render(self, request: Request) -> Any:
        if request.path == b"/silent":
            self.silent.callback(request)
            return NOT_DONE_YET
        if request.path == b"/half":
            request.setHeader(b"Content-Length", b"10")
            request.write(b"half")
            request.loseConnection()
            return NOT_DONE_YET
        return bytes(1 << 20) if request.path == b"/huge" else request.method + b" " + request.uri


class LinkTests(SocketTestCase):
    """A supervisor that asks a worker's site."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.root = Root()
        self.link = WorkerLink(reactor)
        self.addCleanup(self.link.close)
        self.assertEqual({VARIABLE: "7"}, self.link.environment(7))
        ports: list[Any] = []
        site = Site(self.root)
        site.noisy = False
        self.channel = self.link.theirs.dup()
        self.addCleanup(self.channel.close)
        ChannelEndpoint(reactor, self.channel).listen(site).addCallback(ports.append)
        self.port = ports[0]
        self.addCleanup(self.port.stopListening)
        self.link.started()

    async def refused(self, path: str, timeout: float = 60.0, max_bytes: int = 1000) -> str:
        """Why a request got no answer."""
        try:
            await self.link.ask("GET", path, timeout, max_bytes)
        except NoReply as error:
            return str(error)
        raise AssertionError("there was an answer")

    async def test_ask(self) -> None:
        """Requests are answered, several at the same time."""
        both = [self.link.ask(method, "/a?b=c", 60.0, 100) for method in ("GET", "POST")]
        self.assertEqual([Reply(200, b"GET /a?b=c"), Reply(200, b"POST /a?b=c")], [await one for one in both])

    async def test_bounds(self) -> None:
        """An answer that is too large, incomplete or late is none."""
        self.assertEqual("answered with more than 1000 bytes", await self.refused("/huge"))
        self.assertEqual(1 << 20, len((await self.link.ask("GET", "/huge", 60.0, 1 << 20)).body))
        self.assertEqual("ended before its answer was complete", await self.refused("/half"))

    async def test_deadline(self) -> None:
        """A worker that does not answer in time is left, and its site learns it."""
        clock = Clock()
        self.patch(self.link, "_reactor", Both(clock))
        asked = self.link.ask("GET", "/silent", 5.0, 100)
        request = await self.root.silent
        left = request.notifyFinish()
        clock.advance(5.0)
        error = self.failureResultOf(asked, NoReply)
        self.assertEqual("did not answer within 5 s", str(error.value))
        with contextlib.suppress(ConnectionDone, ConnectionLost):
            await left

    async def test_ended(self) -> None:
        """A worker that has ended, during the request or before it."""
        asked = self.link.ask("GET", "/silent", 60.0, 100)
        request = await self.root.silent
        cast(Any, request.transport).abortConnection()
        try:
            await asked
        except NoReply as error:
            self.assertEqual("ended before its answer was complete", str(error))
        self.port.stopListening()
        self.channel.close()
        self.assertIn("cannot be asked: Broken pipe", await self.refused("/a"))
        self.link.close()
        self.assertEqual("has ended", await self.refused("/a"))

    async def test_full(self) -> None:
        """A worker that does not read its channel, because it is blocked."""
        other = WorkerLink(reactor)
        self.addCleanup(other.close)
        self.link = other
        self.patch(link, "send_connection", self.block)
        self.assertEqual("does not read its requests", await self.refused("/a"))

    def block(self, channel: socket.socket, sock: socket.socket) -> None:
        raise BlockingIOError(errno.EAGAIN, "busy")


class Both:
    """The reactor, with a clock for the deadlines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.callLater = clock.callLater
        self.seconds = clock.seconds
        self.adoptStreamConnection = reactor.adoptStreamConnection


class ClientTests(SynchronousTestCase):
    """One request, without a worker."""

    def test_late(self) -> None:
        """A request that is cancelled before it is sent, and answered after that."""
        client = link._Client(b"GET / HTTP/1.0", 100)
        client.answered.cancel()
        self.failureResultOf(client.answered)
        client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        client.connectionLost()


class ParseReplyTests(SynchronousTestCase):
    """parse_reply: whole answers, and nothing else."""

    def test_cut(self) -> None:
        """An answer that is cut anywhere, or longer than it says, is none."""
        whole = b"HTTP/1.1 404 Not Found\r\nServer: a\r\nContent-Length: 3\r\n\r\nabc"
        self.assertEqual(Reply(404, b"abc"), parse_reply(whole))
        for end in range(len(whole)):
            self.assertIsNone(parse_reply(whole[:end]))
        self.assertIsNone(parse_reply(whole + b"d"))
        self.assertIsNone(parse_reply(whole.replace(b"HTTP", b"HTXP")))
        self.assertIsNone(parse_reply(whole.replace(b"Content-Length", b"Content-Width")))

    @given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\nContent-Length: "]))
    def test_any(self, data: bytes, start: bytes) -> None:
        """Any bytes are an answer or none."""
        found = parse_reply(start + data)
        self.assertTrue(found is None or isinstance(found, Reply))


class AdoptedTests(SynchronousTestCase):
    """A link to a worker that another program has started."""

    def test_adopted(self) -> None:
        """Its channel is used, and is not inherited by programs that this one starts."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.set_inheritable(True)
        number = ours.detach()
        one = WorkerLink(reactor, number)
        self.assertEqual(number, one.descriptor)
        self.assertFalse(os.get_inheritable(number))
        one.close()
        self.assertIsNone(one.descriptor)
        self.assertEqual(b"", theirs.recv(1))
