"""Tests for sniproxy.server.workers.admin.channel, with sniproxy.server.workers.admin.link at the other end."""

from __future__ import annotations

import os
import socket
from typing import Any, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.server.workers.admin.channel import (
    DRAINS_VARIABLE,
    VARIABLE,
    ChannelEndpoint,
    drains_from_environment,
    inherited,
    send_connection,
)
from tests.admin.sample import SampleSite
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase


class Echo(Protocol):
    """Repeats what it gets. @ivar ended: fires when the connection has ended."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        cast(Any, self.transport).write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class EchoFactory(ServerFactory):
    """Makes echoes, up to a number. @ivar made: these. @ivar stopped: it was stopped."""

    noisy = False

    def __init__(self, most: int = 9) -> None:
        self.made: list[Echo] = []
        self.refused: Deferred[None] = Deferred()
        self.stopped = False
        self._most = most

    def buildProtocol(self, addr: object) -> Any:
        if len(self.made) >= self._most:
            self.refused.callback(None)
            return None
        self.made.append(Echo())
        return self.made[-1]

    def stopFactory(self) -> None:
        self.stopped = True


class ChannelTests(SocketTestCase):
    """A worker's end of the channel."""

    def listen(self, factory: EchoFactory) -> tuple[Any, socket.socket]:
        """Listen on a channel. @return: the port, and the supervisor's end."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        ports: list[Any] = []
        self.endpoint = ChannelEndpoint(reactor, theirs)
        self.endpoint.listen(cast(Any, factory)).addCallback(ports.append)
        self.addCleanup(ports[0].stopListening)
        return ports[0], ours

    def connect(self, channel: socket.socket) -> socket.socket:
        """Open a connection through the channel."""
        mine, worker = socket.socketpair()
        self.addCleanup(mine.close)
        with worker:
            send_connection(channel, worker)
        mine.setblocking(False)
        return mine

    async def read(self, client: socket.socket) -> bytes:
        """The first bytes of a connection; empty at its end."""
        found = Deferred[bytes]()
        reactor.addReader(Reader(client, found))
        return await found

    async def test_serve(self) -> None:
        """Each socket that comes through the channel is a connection of the factory."""
        factory = EchoFactory()
        port, channel = self.listen(factory)
        self.assertEqual((UNIXAddress(None), "admin"), (port.getHost(), port.logPrefix()))
        for text in (b"one", b"two"):
            client = self.connect(channel)
            client.send(text)
            self.assertEqual(text, await self.read(client))
            client.close()
        for one in factory.made:
            await one.ended
        port.stopListening()
        port.stopListening()
        self.assertTrue(factory.stopped)

    async def test_listen_again(self) -> None:
        """A reload may remove the site, and add it again."""
        port, channel = self.listen(EchoFactory())
        port.stopListening()
        ports: list[Any] = []
        self.endpoint.listen(EchoFactory()).addCallback(ports.append)
        self.addCleanup(ports[0].stopListening)
        client = self.connect(channel)
        client.send(b"one")
        self.assertEqual(b"one", await self.read(client))

    def test_drains(self) -> None:
        """A site that listens begins the drains that the worker has inherited, once."""
        sample = SampleSite(reactor)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        endpoint = ChannelEndpoint(reactor, theirs, [("route", "a.test", 2.5)])
        for _ in range(2):
            ports: list[Any] = []
            endpoint.listen(cast(Any, sample.site)).addCallback(ports.append)
            self.assertEqual(
                [("route", "a.test", 2.5)], [(one.kind, one.name, one.rate) for one in sample.proxy.drains]
            )
            ports[0].stopListening()

    async def test_refused(self) -> None:
        """A connection that the factory refuses is closed, and the next one is served."""
        factory = EchoFactory(most=0)
        _, channel = self.listen(factory)
        client = self.connect(channel)
        await factory.refused
        self.assertEqual(b"", await self.read(client))

    async def test_supervisor_ends(self) -> None:
        """The end of the channel, and one that broke, are no error."""
        port, channel = self.listen(EchoFactory())
        self.assertIsNone(port.doRead())
        channel.close()
        self.assertIsNotNone(port.doRead())
        port.connectionLost(Failure(connectionDone.value))
        broken, _ = self.listen(EchoFactory())
        sock, broken._channel = broken._channel, socket.socket()
        self.assertIsNotNone(broken.doRead())
        broken._channel.close()
        broken._channel = sock

    def test_message_without_descriptor(self) -> None:
        """A message whose descriptor was lost, because this process has none left, is ignored."""
        port, channel = self.listen(EchoFactory())
        channel.send(b"+")
        self.assertIsNone(port.doRead())


@implementer(IReadDescriptor)
class Reader:
    """Reads a socket once."""

    def __init__(self, sock: socket.socket, found: Deferred[bytes]) -> None:
        self._sock = sock
        self._found = found

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "reader"

    def connectionLost(self, reason: Failure) -> None:
        """Nothing."""

    def doRead(self) -> None:
        reactor.removeReader(self)
        self._found.callback(self._sock.recv(99))


class EnvironmentTests(SocketTestCase):
    """What a worker finds in its environment."""

    def test_channel(self) -> None:
        """The channel, once; no other process inherits it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        number = theirs.detach()
        os.set_inheritable(number, True)
        environment = {VARIABLE: str(number)}
        endpoint = inherited(reactor, environment)
        assert endpoint is not None
        self.addCleanup(endpoint._channel.close)
        self.assertFalse(os.get_inheritable(number))
        self.assertIsNone(inherited(reactor, environment))

    def test_drains(self) -> None:
        """The drains, once."""
        environment = {DRAINS_VARIABLE: '[["route", "a.test", 2.5]]'}
        self.assertEqual([("route", "a.test", 2.5)], drains_from_environment(environment))
        self.assertEqual([], drains_from_environment(environment))
