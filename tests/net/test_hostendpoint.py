"""An endpoint that looks its host up outside Twisted's thread pool."""

from __future__ import annotations

import socket
import threading
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from zope.interface.verify import verifyObject

from sniproxy.net.getaddrinfo import Cause, LookupFailed
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.net.lookup import lookups_of
from tests.support.reactor import reactor
from tests.support.sockets import HandClock, SocketTestCase


class Meeting(Protocol):
    """Reports the end of its connection."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)


class HostEndpointTests(SocketTestCase):
    """HostEndpoint."""

    def listen(self, host: str = "127.0.0.1") -> int:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(listening.close)
        listening.bind((host, 0))
        listening.listen()
        return cast(int, listening.getsockname()[1])

    def connect(self, host: str, port: int, clock: Any = reactor, timeout: float = 10.0) -> Deferred[Any]:
        endpoint = HostEndpoint(clock, host, port, timeout)
        verifyObject(IStreamClientEndpoint, endpoint)
        return endpoint.connect(Factory.forProtocol(Meeting))

    async def meets(self, connecting: Deferred[Any]) -> str:
        """@return: the connected address."""
        meeting = await connecting
        peer = meeting.transport.getPeer().host
        meeting.transport.abortConnection()
        await meeting.ended
        return cast(str, peer)

    async def test_name(self) -> None:
        """The addresses of a name are tried in parallel; no thread of Twisted's pool is used."""
        port = self.listen()
        pooled = set(reactor.getThreadPool().threads)
        threads = []

        def getaddrinfo(host: str, *args: object, **more: object) -> list[tuple[object, ...]]:
            threads.append(threading.current_thread())
            return [(None, None, None, "", (address, 0)) for address in ("::1", "127.0.0.1")]

        self.patch(socket, "getaddrinfo", getaddrinfo)
        self.assertEqual("127.0.0.1", await self.meets(self.connect("a.test", port)))
        self.assertTrue(threads[0].daemon)
        self.assertFalse(pooled & set(threads))

    async def test_address(self) -> None:
        """An IP address is not looked up."""
        self.patch(lookups_of(reactor), "addresses", None)
        self.assertEqual("127.0.0.1", await self.meets(self.connect("127.0.0.1", self.listen())))
        self.assertEqual("::1", await self.meets(self.connect("::1", self.listen("::1"))))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            await self.assertFailure(self.connect("127.0.0.1", unused.getsockname()[1]), ConnectError)

    async def test_cause(self) -> None:
        """The error has the reason for which the host has no address."""
        failed = LookupFailed(Cause.NO_NAME, "no such host name")
        self.patch(lookups_of(reactor), "addresses", lambda host: fail(failed))
        error = await self.assertFailure(self.connect("a.test", 1), DNSLookupError)
        self.assertEqual(("no such host name",), cast(Any, error).args)

    async def test_timeout_and_cancel(self) -> None:
        """A slow lookup ends at the timeout or by a cancellation, while its thread still runs."""
        clock = HandClock()
        self.patch(lookups_of(clock), "addresses", lambda host: Deferred())
        connecting = self.connect("a.test", 1, clock, 3.0)
        clock.advance(3)
        error = await self.assertFailure(connecting, DNSLookupError)
        self.assertEqual(("no name server answered within 3 s",), cast(Any, error).args)
        connecting = self.connect("a.test", 1, clock)
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_installed_resolver(self) -> None:
        """A resolver that an application has installed in the reactor is used."""
        asked = []
        beneath = reactor.nameResolver

        class Installed:
            def resolveHostName(self, receiver: Any, host: str, *args: Any, **more: Any) -> Any:
                asked.append(host)
                return beneath.resolveHostName(receiver, "127.0.0.1", *args, **more)

        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(cast(Any, Installed())))
        self.patch(lookups_of(reactor), "addresses", lambda host: succeed([]))
        self.assertEqual("127.0.0.1", await self.meets(self.connect("a.test", self.listen())))
        self.assertEqual(["a.test"], asked)
        await deferToThread(int)
