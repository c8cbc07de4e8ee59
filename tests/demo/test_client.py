"""Tests for sniproxy.demo.client."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.demo.certificates import Authority
from sniproxy.demo.client import Connected, Found, Published, ReadBack, Session, Step, VisitFailed, Visitor
from sniproxy.demo.cluster import BrokerTLS, StandInCluster
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode_section

TOPIC = "persistent://public/default/my-topic"
reactor: Any = global_reactor


class SessionTests(SynchronousTestCase):
    """Session: one question at a time."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.session = Session()
        self.session.makeConnection(self.transport)

    def hear(self, kind: "pb.BaseCommand.Type" = pb.BaseCommand.SUCCESS) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.session.hear(kind))

    def test_hear(self) -> None:
        """What is waited for comes, whether it was there before or not, in pieces too, and with its section."""
        early = write(pb.CommandSuccess(request_id=1))
        self.session.dataReceived(early + early[:5])
        self.assertEqual(self.successResultOf(self.hear())[0].success.request_id, 1)
        waiting = self.hear()
        self.assertNoResult(waiting)
        self.session.dataReceived(early[5:])
        self.assertEqual(self.successResultOf(waiting)[0].success.request_id, 1)
        message = pb.CommandMessage(consumer_id=1, message_id=pb.MessageIdData(ledgerId=1, entryId=2))
        section = encode_section(b"", b"hello")
        self.session.dataReceived(write(message, section))
        self.assertEqual(self.successResultOf(self.hear(pb.BaseCommand.MESSAGE))[1], section)

    def test_ping(self) -> None:
        """A PING that comes instead is answered, and the wait goes on."""
        waiting = self.hear()
        self.session.dataReceived(write(pb.CommandPing()))
        self.assertEqual(self.transport.value(), write(pb.CommandPong()))
        self.assertNoResult(waiting)
        self.session.dataReceived(write(pb.CommandSuccess(request_id=1)))
        self.successResultOf(waiting)

    def test_refused(self) -> None:
        """The broker's ERROR, any other command, and bytes that are none end the wait; the message says which."""
        error = pb.CommandError(request_id=1, error=pb.ServiceNotReady, message="not mine")
        for data, reason in (
            (write(error), "the broker says: not mine"),
            (write(pb.CommandPong()), "PONG came instead of SUCCESS"),
            (bytes.fromhex("00000006 00000002 ffff"), "no protobuf"),
            (b"HTTP/1.1 400 Bad Request\r\n", "over the limit"),
        ):
            waiting = self.hear()
            self.session.dataReceived(data)
            self.assertIn(reason, str(self.failureResultOf(waiting, VisitFailed).value))
            self.setUp()

    def test_lost(self) -> None:
        """A connection that ends ends the wait, and every later one."""
        waiting = self.hear()
        self.session.connectionLost(Failure(ConnectionResetError("reset")))
        for deferred in (waiting, self.hear()):
            self.assertIn("ended: reset", str(self.failureResultOf(deferred, VisitFailed).value))
        self.successResultOf(self.session.ended)


class Silent(Factory):
    """A broker that hears the first words of a client, and never says one itself."""

    def __init__(self) -> None:
        self.heard: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def buildProtocol(self, addr: object) -> Protocol:
        silent = Protocol()
        silent.dataReceived = lambda data: self.heard.callback(None)  # type: ignore[method-assign]
        silent.connectionLost = lambda reason=None: self.lost.callback(None)  # type: ignore
        return silent


class VisitorTests(TestCase):
    """Visitor, in front of a stand-in broker in the place of the proxy."""

    timeout = 20

    def visitor(self, **keys: Any) -> Visitor:
        cluster = StandInCluster(reactor, names=["broker-1.pulsar.test"])
        cluster.start()
        self.addCleanup(cluster.stop)
        self.steps: list[Step] = []
        self.address = cluster.addresses["broker-1.pulsar.test"]
        pem = keys.get("pem", cluster.authority_pem)
        return Visitor(reactor, self.address, pem, self.steps.append)

    async def test_both_phases(self) -> None:
        """The lookup gives the owner's URL; there the message is published and read back; each step is told."""
        visitor = self.visitor()
        url = await visitor.look_up("pulsar-vip.test", TOPIC)
        self.assertEqual(url, "pulsar+ssl://broker-1.pulsar.test:6651")
        await visitor.there_and_back(url, TOPIC, b"one")
        await visitor.there_and_back(url, TOPIC, b"two")
        answered = "sniproxy-stand-in broker-1.pulsar.test"
        there = Connected("broker-1.pulsar.test", answered)
        self.assertEqual(
            self.steps,
            [
                Connected("pulsar-vip.test", answered),
                Found(TOPIC, url),
                *(there, Published(1, 0), ReadBack(b"one")),
                *(there, Published(1, 1), ReadBack(b"two")),
            ],
        )

    async def fails(self, visit: Callable[[], Any], reason: str) -> None:
        try:
            await visit()
        except VisitFailed as error:
            self.assertIn(reason, str(error))
        else:
            self.fail("the visit did not fail")

    async def test_other_name(self) -> None:
        """A broker whose certificate is for another name is not talked to."""
        visitor = self.visitor()
        await self.fails(lambda: visitor.look_up("broker-2.pulsar.test", TOPIC), "broker-2.pulsar.test: ")
        self.assertEqual(self.steps, [])

    async def test_other_authority(self) -> None:
        """Nor is one that another authority vouches for."""
        visitor = self.visitor(pem=Authority().pem)
        await self.fails(lambda: visitor.look_up("pulsar-vip.test", TOPIC), "certificate verify failed")
        self.assertEqual(self.steps, [])

    async def test_nobody_there(self) -> None:
        """A proxy that is not there is said as Twisted says it."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            visitor = Visitor(reactor, unused.getsockname(), Authority().pem, self.fail)
            with self.assertRaises(Refused):
                await visitor.look_up("pulsar-vip.test", TOPIC)

    async def test_cancelled(self) -> None:
        """A visit that is cancelled, while it dials or later, leaves no connection behind."""
        authority, silent = Authority(), Silent()
        tls = BrokerTLS(authority.issue(["pulsar-vip.test"]))
        port = reactor.listenSSL(0, silent, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        visitor = Visitor(reactor, ("127.0.0.1", port.getHost().port), authority.pem, self.fail)
        for told in (False, True):
            visit = Deferred.fromCoroutine(visitor.look_up("pulsar-vip.test", TOPIC))
            if told:
                await silent.heard
            visit.cancel()
            with self.assertRaises(CancelledError):
                await visit
        await silent.lost
