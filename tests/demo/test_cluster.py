"""Tests for sniproxy.demo.cluster."""

import socket
import ssl
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sniproxy.demo.broker import BrokerEvent
from sniproxy.demo.cluster import DemoCluster
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, write
from sniproxy.pulsar.frames import FrameReader
from tests.support.reactor import reactor


class Asks(Protocol):
    """Sends CONNECT and LOOKUP, and waits for the answer and the end of the connection."""

    def __init__(self) -> None:
        self.answer: Deferred[pb.CommandLookupTopicResponse] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reader = FrameReader()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(write(pb.CommandConnect(client_version="test")))
        self.transport.write(write(pb.CommandLookupTopic(topic="persistent://a/b/c", request_id=1)))

    def dataReceived(self, data: bytes) -> None:
        for frame in self.reader.feed(data):
            command = read(frame.command)
            if command.type == pb.BaseCommand.LOOKUP_RESPONSE:
                self.answer.callback(command.lookupTopicResponse)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


def handshake(address: tuple[str, int], name: str, pem: bytes) -> tuple[str, str | None]:
    """A blocking TLS handshake with ALPN. @return: the certificate's common name, and the selected protocol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(address, timeout=10)
    with context.wrap_socket(plain, server_hostname=name) as tls:
        certificate: Any = tls.getpeercert()
        return certificate["subject"][0][0][1], tls.selected_alpn_protocol()


class ClusterTests(TestCase):
    """DemoCluster, on ephemeral loopback ports."""

    def cluster(self, tls: bool = True) -> DemoCluster:
        self.seen: list[BrokerEvent] = []
        cluster = DemoCluster(reactor, tls=tls, on_event=self.seen.append)
        cluster.start()
        self.addCleanup(cluster.stop)
        return cluster

    async def test_certificates(self) -> None:
        """A broker's certificate has its own name, the service name and the loopback names.

        A client that offers ALPN is served, too, without a selected protocol.
        """
        cluster = self.cluster()
        self.assertEqual(list(cluster.addresses), ["broker-1.pulsar.test", "broker-2.pulsar.test"])
        for broker, address in cluster.addresses.items():
            for name in (broker, "pulsar-vip.test", "localhost", "127.0.0.1"):
                found = await deferToThread(handshake, address, name, cluster.authority_pem)
                self.assertEqual(found, (broker, None))

    async def test_other_broker(self) -> None:
        """A broker's certificate is not valid for another broker's name."""
        cluster = self.cluster()
        address = cluster.addresses["broker-1.pulsar.test"]
        with self.assertRaises(ssl.SSLCertVerificationError):
            await deferToThread(handshake, address, "broker-2.pulsar.test", cluster.authority_pem)

    async def test_plain(self) -> None:
        """Without TLS the brokers use plaintext, and lookups return their addresses."""
        cluster = self.cluster(tls=False)
        answers = []
        for host, port in cluster.addresses.values():
            asks = await connectProtocol(TCP4ClientEndpoint(reactor, host, port), Asks())
            answer = await asks.answer
            answers.append((answer.brokerServiceUrl, answer.HasField("brokerServiceUrlTls")))
        self.assertEqual(answers[0], answers[1])
        urls = [f"pulsar://{host}:{port}" for host, port in cluster.addresses.values()]
        self.assertIn(answers[0][0], urls)
        self.assertFalse(answers[0][1])

    async def test_stop(self) -> None:
        """A stop closes connections and ports."""
        cluster = self.cluster(tls=False)
        host, port = cluster.addresses["broker-2.pulsar.test"]
        asks = await connectProtocol(TCP4ClientEndpoint(reactor, host, port), Asks())
        await asks.answer
        await cluster.stop()
        await asks.lost
        self.assertEqual([seen.command for seen in self.seen], ["CONNECT", "LOOKUP", "closed"])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((host, port), timeout=10)
