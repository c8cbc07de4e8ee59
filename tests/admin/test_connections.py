"""Tests for sniproxy.admin.connections, with a fake clock and fake transports."""

from __future__ import annotations

import socket
from collections import Counter
from itertools import count
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel

from sniproxy.admin.connections import ANSWER_TIMEOUT_S, MAX_CONNECTIONS, REQUEST_TIMEOUT_S, AdminChannel
from sniproxy.admin.metrics import Metrics
from sniproxy.admin.recentrefusals import RecentRefusals
from sniproxy.admin.site import AdminSite
from sniproxy.admin.slices import Slices
from tests.admin.sample import SampleProxy
from tests.support.reactor import reactor
from tests.support.rounds import Rounds

READY = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Transport(StringTransport):
    """A transport whose connection ends immediately on abort."""

    protocol: AdminChannel

    def abortConnection(self) -> None:
        if not self.disconnected:
            self.disconnected = True
            self.protocol.connectionLost()


class ConnectionTests(SynchronousTestCase):
    """Connections of a site."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.held = 0
        self.site = AdminSite(self.clock, SampleProxy(), Metrics(), RecentRefusals(), holds=self.hold)
        # With this time each round of the reactor has room for one step.
        self.rounds = Rounds()
        self.site.slices = self.site.connections.slices = Slices(self.rounds, count().__next__)

    def hold(self, change: int) -> None:
        self.held += change

    def connect(self) -> Transport | None:
        """Open a connection. @return: None if it is refused."""
        channel = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        if channel is None:
            return None
        transport = Transport(hostAddress=IPv4Address("TCP", "127.0.0.1", 9090))
        transport.protocol = channel
        transport.disconnected = False
        channel.makeConnection(transport)
        return transport

    def connected(self) -> Transport:
        transport = self.connect()
        assert transport is not None
        return transport

    def send(self, transport: Transport, data: bytes) -> None:
        """Send bytes from the client, and run the site."""
        transport.protocol.dataReceived(data)
        while self.rounds.getDelayedCalls():
            self.rounds.round()

    def refused(self) -> Counter[str]:
        return self.site.rejections.counts

    def test_no_request(self) -> None:
        """A connection without a whole request ends after ten seconds, even if bytes arrive."""
        for sent in (
            b"",
            b"GET /ready HTTP/1.1\r\n",
            b"POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        ):
            transport = self.connected()
            self.send(transport, sent)
            for _ in range(9):
                self.clock.advance(REQUEST_TIMEOUT_S / 10)
                self.send(transport, b"X: y\r\n" if sent else b"")
            self.assertFalse(transport.disconnected)
            self.clock.advance(REQUEST_TIMEOUT_S / 10)
            self.assertTrue(transport.disconnected)
        self.assertEqual({"slow": 3}, dict(self.refused()))
        self.assertEqual(0, self.held)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_keep_alive(self) -> None:
        """After an answer, the next request has ten seconds."""
        transport = self.connected()
        for _ in range(3):
            self.clock.advance(REQUEST_TIMEOUT_S - 1)
            self.send(transport, READY)
        self.assertEqual(3, transport.value().count(b"200 OK"))
        self.clock.advance(REQUEST_TIMEOUT_S)
        self.assertTrue(transport.disconnected)

    def test_counted(self) -> None:
        """Each connection is counted as a descriptor."""
        transports = [self.connected() for _ in range(3)]
        self.assertEqual(3, self.held)
        for transport in transports:
            transport.abortConnection()
        self.assertEqual(0, self.held)

    def test_crowded(self) -> None:
        """A connection over the limit closes the oldest idle one, so that an operator gets an answer."""
        idle = [self.connected() for _ in range(MAX_CONNECTIONS)]
        self.send(idle[0], READY)  # it has not waited longest any more
        operator = self.connected()
        self.assertEqual([1], [number for number, one in enumerate(idle) if one.disconnected])
        self.send(operator, READY)
        self.assertIn(b"200 OK", operator.value())
        self.assertEqual(MAX_CONNECTIONS, self.held)
        self.assertEqual({"crowded": 1}, dict(self.refused()))

    def test_all_in_work(self) -> None:
        """If all connections are busy, a new one is refused."""
        busy = [self.connected() for _ in range(MAX_CONNECTIONS)]
        for transport in busy:
            transport.protocol.dataReceived(METRICS)
        for _ in range(MAX_CONNECTIONS):
            self.rounds.round()
        self.assertIsNone(self.connect())
        self.send(busy[0], b"")
        self.assertIn(b"sniproxy_info", busy[-1].value())
        self.connected()

    def test_all_pipeline(self) -> None:
        """If all connections are busy, a new one closes one that pipelines."""
        busy = [self.connected() for _ in range(MAX_CONNECTIONS)]
        for number, transport in enumerate(busy):
            transport.protocol.dataReceived(METRICS * (2 if number == 7 else 1))
        for _ in range(MAX_CONNECTIONS):
            self.rounds.round()
        operator = self.connected()
        self.assertEqual([7], [number for number, one in enumerate(busy) if one.disconnected])
        self.assertEqual(MAX_CONNECTIONS, self.held)
        self.send(operator, READY)
        self.assertIn(b"200 OK", operator.value())

    def test_gone_while_in_work(self) -> None:
        """No answer is built for a client that has disconnected."""
        transport = self.connected()
        transport.protocol.dataReceived(METRICS)
        transport.abortConnection()
        self.clock.advance(0)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(b"", transport.value())

    def test_one_step_a_round(self) -> None:
        """Requests of many connections are parsed in turn."""
        transports = [self.connected() for _ in range(3)]
        for transport in transports:
            transport.protocol.dataReceived(READY)
        for answered in range(3):
            self.assertEqual(answered, sum(bool(one.value()) for one in transports))
            self.rounds.round()

    def test_pipelined(self) -> None:
        """Pipelined requests are answered one per step, in order; meanwhile the transport is paused."""
        transport = self.connected()
        transport.protocol.dataReceived(READY * 5)
        self.assertEqual("paused", transport.producerState)
        for answered in range(6):
            self.assertEqual(answered, transport.value().count(b"200 OK"))
            self.rounds.round()
        self.rounds.round()
        self.assertEqual("producing", transport.producerState)

    def test_pipelined_and_unread(self) -> None:
        """A client that does not read gets no further answer, and is closed ten seconds after the last one."""
        transport = self.connected()
        self.send(transport, READY)
        transport.protocol.pauseProducing()
        for _ in range(5):
            self.clock.advance(1)
            self.send(transport, READY * 50)
        self.assertEqual(1, transport.value().count(b"200 OK"))
        transport.protocol.resumeProducing()
        self.send(transport, b"")
        self.assertLess(1, transport.value().count(b"200 OK"))
        transport.protocol.pauseProducing()
        self.clock.advance(REQUEST_TIMEOUT_S)
        self.assertTrue(transport.disconnected)
        self.assertEqual((0, {"slow": 1}), (self.held, dict(self.refused())))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_many_headers(self) -> None:
        """A request with too many headers is refused."""
        transport = self.connected()
        transport.protocol.dataReceived(READY[:-2] + b"X: y\r\n" * 200 + b"\r\n")
        self.send(transport, b"")
        self.assertIn(b"400 Bad Request", transport.value())

    def test_end_of_answer(self) -> None:
        """After an answer with Connection: close, bytes that follow are not parsed, and the transport stays paused."""
        transport = self.connected()
        self.send(transport, READY[:-2] + b"Connection: close\r\n\r\n")
        self.assertTrue(transport.disconnecting)
        self.send(transport, READY)
        self.assertEqual(1, transport.value().count(b"200 OK"))

    def test_paused_by_the_client(self) -> None:
        """A client that does not read while its request is parsed stays paused when the request is parsed."""
        transport = self.connected()
        transport.protocol.dataReceived(READY[:20])
        transport.protocol.pauseProducing()
        self.send(transport, b"")
        self.assertEqual("paused", transport.producerState)
        transport.protocol.resumeProducing()
        self.send(transport, READY[20:])
        self.assertIn(b"200 OK", transport.value())
        self.assertEqual("producing", transport.producerState)

    def test_internal_error(self) -> None:
        """An exception while a request is parsed is logged, and aborts the connection."""

        def fail(channel: object, data: bytes) -> None:
            raise ZeroDivisionError

        self.patch(HTTPChannel, "dataReceived", fail)
        transport = self.connected()
        self.send(transport, READY)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertTrue(transport.disconnected)
        self.assertEqual(0, self.held)

    def test_answered_after_the_end(self) -> None:
        """A connection that was closed to make room no longer counts when its request is answered."""
        connections = self.site.connections
        transport = self.connected()
        connections.closed(transport.protocol)
        connections.mark_busy(transport.protocol)
        connections.mark_idle(transport.protocol)
        self.assertEqual((0, 0), (len(connections), self.held))
        transport.protocol.abort()
        transport.protocol.abort()
        self.assertEqual((0, 0), (len(connections), self.held))

    def test_stop(self) -> None:
        """A site that stops listening aborts all connections, also busy ones."""
        transports = [self.connected() for _ in range(3)]
        transports[0].protocol.dataReceived(METRICS)
        self.site.doStart()
        self.site.doStop()
        self.assertEqual([True] * 3, [one.disconnected for one in transports])
        self.assertEqual(0, self.held)

    def test_busy(self) -> None:
        """Requests are being answered, besides those that wait for an upgrade, whose connections are known."""
        connections = self.site.connections
        kept, other = self.connected(), self.connected()
        for one in (kept, other):
            connections.mark_busy(one.protocol)
        self.assertTrue(connections.busy)
        connections.keep(kept.protocol)
        kept.fileno = lambda: 7  # type: ignore[attr-defined]
        self.assertEqual((True, (7,)), (connections.busy, connections.promised))
        connections.mark_idle(other.protocol)
        self.assertFalse(connections.busy)
        kept.protocol.transport = None
        self.assertEqual((), connections.promised)
        kept.protocol.transport = kept

    def test_kept(self) -> None:
        """A stop waits for the answer of a kept connection, but not for long."""
        connections = self.site.connections
        self.successResultOf(connections.settled())
        for ends in (True, False):
            kept, other = self.connected(), self.connected()
            connections.keep(kept.protocol)
            connections.stop()
            self.assertEqual((False, True), (kept.disconnected, other.disconnected))
            settled = connections.settled()
            self.assertNoResult(settled)
            if ends:
                kept.abortConnection()
            else:
                self.clock.advance(ANSWER_TIMEOUT_S)
            self.successResultOf(settled)
            self.assertEqual((True, 0, []), (kept.disconnected, self.held, self.clock.getDelayedCalls()))


class AcceptTests(SynchronousTestCase):
    """A listening port of Twisted."""

    def test_singly(self) -> None:
        """The port accepts one connection per iteration."""
        site = AdminSite(reactor, SampleProxy(), Metrics(), RecentRefusals())
        port: Any = reactor.listenTCP(0, cast(Any, site), interface="127.0.0.1")
        clients = []
        site.connections.accept_at(port)
        try:
            for _ in range(20):
                clients.append(socket.create_connection(("127.0.0.1", port.getHost().port)))
            for accepted in range(20):
                self.assertEqual(accepted, len(site.connections))
                port.doRead()
        finally:
            for client in clients:
                client.close()
            port.stopListening()
            reactor.iterate(0)
            reactor.iterate(0)
