"""Tests for sniproxy.demo.client."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from sniproxy.client.failures import ClientError
from sniproxy.client.messages import Consumer, Message
from sniproxy.demo.client import Connected, DemoClient, Located, Published, ReadBack, Step
from sniproxy.testing.pulsar.certificates import Authority
from sniproxy.testing.pulsar.cluster import EmbeddedTLS, PulsarCluster

TOPIC = "persistent://public/default/my-topic"
reactor: Any = global_reactor


class Silent(Factory):
    """A broker that reads and never answers."""

    def __init__(self) -> None:
        self.heard: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def buildProtocol(self, addr: object) -> Protocol:
        silent = Protocol()
        silent.dataReceived = lambda data: self.heard.callback(None)  # type: ignore[method-assign]
        silent.connectionLost = lambda reason=None: self.lost.callback(None)  # type: ignore
        return silent


class DemoClientTests(TestCase):
    """DemoClient, with a broker in place of the proxy."""

    timeout = 120

    def client(self, **keys: Any) -> DemoClient:
        cluster = PulsarCluster(1, reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        self.steps: list[Step] = []
        self.address = cluster.addresses["broker-1.pulsar.test"]
        pem = keys.get("pem", cluster.authority_pem)
        return DemoClient(reactor, self.address, pem, self.steps.append)

    async def test_both_phases(self) -> None:
        """The lookup returns the owner's URL; a message is sent and received there; each step is reported."""
        client = self.client()
        url = await client.look_up("pulsar+ssl://pulsar-vip.test", TOPIC)
        self.assertEqual(url, "pulsar+ssl://broker-1.pulsar.test:6651")
        await client.round_trip(url, TOPIC, b"one")
        await client.round_trip(url, TOPIC, b"two")
        answered = "sniproxy-stand-in broker-1.pulsar.test"
        there = Connected("broker-1.pulsar.test", answered)
        self.assertEqual(
            self.steps,
            [
                Connected("pulsar-vip.test", answered),
                Located(TOPIC, url),
                *(there, Published(1, 0), ReadBack(b"one")),
                *(there, Published(1, 1), ReadBack(b"two")),
            ],
        )

    async def test_another_message(self) -> None:
        """A message that is not the published one is an error, and is not acknowledged."""
        client = self.client()
        acknowledged: list[object] = []
        self.patch(Consumer, "acknowledge", lambda consumer, message: acknowledged.append(message))

        async def receive(consumer: object) -> Message:
            return Message(7, 7, b"other")

        self.patch(Consumer, "receive", receive)
        url = "pulsar+ssl://broker-1.pulsar.test:6651"
        await self.fails(lambda: client.round_trip(url, TOPIC, b"one"), "received another message than was published")
        self.assertEqual([Published(1, 0)], self.steps[1:])
        self.assertEqual([], acknowledged)

    async def fails(self, visit: Callable[[], Any], reason: str) -> None:
        try:
            await visit()
        except ClientError as error:
            self.assertIn(reason, str(error))
        else:
            self.fail("the visit did not fail")

    async def test_other_name(self) -> None:
        """A broker's certificate for another name fails the visit."""
        client = self.client()
        await self.fails(
            lambda: client.look_up("pulsar+ssl://broker-2.pulsar.test", TOPIC), "does not cover broker-2.pulsar.test"
        )
        self.assertEqual(self.steps, [])

    async def test_other_authority(self) -> None:
        """A certificate of another CA fails the visit."""
        client = self.client(pem=Authority().pem)
        await self.fails(lambda: client.look_up("pulsar+ssl://pulsar-vip.test", TOPIC), "untrusted certificate")
        self.assertEqual(self.steps, [])

    async def test_nobody_there(self) -> None:
        """An unreachable proxy is an error."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            client = DemoClient(reactor, unused.getsockname(), Authority().pem, self.fail)
            await self.fails(lambda: client.look_up("pulsar+ssl://pulsar-vip.test", TOPIC), "refused")

    async def test_cancelled(self) -> None:
        """A visit that is cancelled at any stage leaves no connection open."""
        authority, silent = Authority(), Silent()
        tls = EmbeddedTLS(authority.issue(["pulsar-vip.test"]))
        port = reactor.listenSSL(0, silent, tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = DemoClient(reactor, ("127.0.0.1", port.getHost().port), authority.pem, self.fail)
        for told in (False, True):
            visit = Deferred.fromCoroutine(client.look_up("pulsar+ssl://pulsar-vip.test", TOPIC))
            if told:
                await silent.heard
            visit.cancel()
            with self.assertRaises(CancelledError):
                await visit
        await silent.lost
