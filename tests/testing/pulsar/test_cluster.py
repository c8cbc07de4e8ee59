"""Tests for sniproxy.testing.pulsar.cluster."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.lookups import Lookups
from sniproxy.client.messages import produce, subscribe
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader
from sniproxy.pulsar.serviceurl import parse_service_url
from sniproxy.testing.pulsar import BrokerEvent, PulsarCluster
from tests.support.reactor import reactor
from tests.support.sockets import read_to_end

TOPIC = "persistent://a/b/c"
SECONDS = 60


class Asks(Protocol):
    """Sends CONNECT and LOOKUP, and waits for the answer and the end of the connection."""

    def __init__(self) -> None:
        self.answer: Deferred[pb.CommandLookupTopicResponse] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reader = FrameReader()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(write(pb.CommandConnect(client_version="test")))
        self.transport.write(write(pb.CommandLookupTopic(topic=TOPIC, request_id=1)))

    def dataReceived(self, data: bytes) -> None:
        for frame in self.reader.feed(data):
            command = read(frame.command)
            if command.type == pb.BaseCommand.LOOKUP_RESPONSE:
                self.answer.callback(command.lookupTopicResponse)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Blocking:
    """A blocking client."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(address, timeout=SECONDS)
        self.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")
        self.reader = FrameReader()
        self.frames: list[Any] = []

    def ask(self, command: Any) -> Any:
        """Send a command. @return: the next one of the broker."""
        self.socket.sendall(write(command))
        return self.heard()

    def heard(self) -> Any:
        """The next command of the broker. @raise EOFError: it has sent a FIN."""
        while not self.frames:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.frames += [fields_of(read(frame.command)) for frame in self.reader.feed(data)]
        return self.frames.pop(0)

    def read_below_tls(self) -> None:
        """Read bytes of TCP to the end. @raise ConnectionResetError: it is a reset."""
        with socket.socket(fileno=os.dup(self.socket.fileno())) as plain:
            plain.settimeout(SECONDS)
            read_to_end(plain)

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


CONNECT = pb.CommandConnect(client_version="test")


def handshake(address: tuple[str, int], name: str, pem: bytes) -> tuple[str, str | None]:
    """A blocking TLS handshake with ALPN. @return: the certificate's common name, and the selected protocol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(address, timeout=SECONDS)
    with context.wrap_socket(plain, server_hostname=name) as tls:
        certificate: Any = tls.getpeercert()
        return certificate["subject"][0][0][1], tls.selected_alpn_protocol()


class ClusterTests(TestCase):
    """PulsarCluster in the test's reactor, on ephemeral loopback ports."""

    timeout = 120

    def cluster(self, **keys: Any) -> PulsarCluster:
        self.seen: list[BrokerEvent] = []
        cluster = PulsarCluster(reactor=reactor, on_event=self.seen.append, **keys)
        cluster.start()
        self.addCleanup(cluster.stop)
        return cluster

    async def test_certificates(self) -> None:
        """A broker's certificate has its own name, the service name and the loopback names.

        A client that offers ALPN is served, too, without a selected protocol.
        """
        cluster = self.cluster(tls=True)
        self.assertEqual(list(cluster.addresses), ["broker-1.pulsar.test", "broker-2.pulsar.test"])
        for broker, address in cluster.addresses.items():
            for name in (broker, "pulsar-vip.test", "localhost", "127.0.0.1"):
                found = await deferToThread(handshake, address, name, cluster.authority_pem)
                self.assertEqual(found, (broker, None))

    async def test_other_broker(self) -> None:
        """A broker's certificate is not valid for another broker's name."""
        cluster = self.cluster(tls=True)
        address = cluster.addresses["broker-1.pulsar.test"]
        with self.assertRaises(ssl.SSLCertVerificationError):
            await deferToThread(handshake, address, "broker-2.pulsar.test", cluster.authority_pem)

    async def test_plain(self) -> None:
        """Without TLS the brokers use plaintext, and lookups return their addresses."""
        cluster = self.cluster()
        answers = []
        for host, port in cluster.addresses.values():
            asks = await connectProtocol(TCP4ClientEndpoint(reactor, host, port), Asks())
            answer = await asks.answer
            answers.append((answer.brokerServiceUrl, answer.HasField("brokerServiceUrlTls")))
        self.assertEqual(answers[0], answers[1])
        self.assertEqual((cluster.owner(TOPIC).url, False), answers[0])

    async def test_stop(self) -> None:
        """A stop closes connections and ports."""
        cluster = self.cluster()
        host, port = cluster.addresses["broker-2.pulsar.test"]
        asks = await connectProtocol(TCP4ClientEndpoint(reactor, host, port), Asks())
        await asks.answer
        await cluster.stop()
        await asks.lost
        self.assertEqual([seen.command for seen in self.seen], ["CONNECT", "LOOKUP", "closed"])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((host, port), timeout=10)

    async def test_move(self) -> None:
        """A topic and its messages move to another broker; our client finds it there, after a redirect."""
        cluster = self.cluster()
        one, two = cluster.brokers
        topic = cluster.topic_of(one)
        brokers = Brokers(reactor, Access(tls=False, timeout_s=SECONDS))
        self.addCleanup(brokers.close)
        lookups = Lookups(brokers, parse_service_url(one.url))
        for broker, payload in ((one, b"first"), (two, b"second")):
            owner = await lookups.owner(topic)
            self.assertEqual(broker.url, owner.url)
            session = await brokers.link(*parse_service_url(owner.url).hosts[0]).open()
            producer = await produce(session, topic)
            await producer.send(payload)
            consumer = await subscribe(session, topic, "s", earliest=True)
            self.assertEqual(payload, (received := await consumer.receive()).payload)
            consumer.acknowledge(received)
            await cluster.saw("ACK", 1 if broker is one else 2)
            cluster.redirect(topic, two)
            cluster.move(topic, two)
            self.assertIs(two, cluster.owner(topic))
        self.assertEqual(["LOOKUP"] * 2, [each.type for each in one.commands if each.type == "LOOKUP"])
        self.assertEqual(1, len(await two.saw("LOOKUP")))
        self.assertEqual(([b"first", b"second"], {"s": 0}), (cluster.messages(topic), cluster.subscriptions(topic)))


class ThreadTests(SynchronousTestCase):
    """PulsarCluster in a thread of its own, with blocking clients."""

    def test_with(self) -> None:
        """The cluster runs while the block lasts; its methods can be called from the test's thread."""
        with PulsarCluster() as cluster:
            broker = cluster.brokers[0]
            with Blocking(cluster.addresses[broker.name]) as client:
                self.assertIsInstance(client.ask(CONNECT), pb.CommandConnected)
                self.assertEqual(["CONNECT"], [each.type for each in broker.wait_for("CONNECT")])
                (connection,) = broker.connections
                self.assertEqual("test", connection.client_version)
                broker.half_close()
                self.assertRaises(EOFError, client.heard)
                broker.reset()
                cluster.brokers[0].reset(None)
            self.assertEqual(cluster.service_url, f"{broker.url},{cluster.brokers[1].url.removeprefix('pulsar://')}")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(cluster.addresses[broker.name], timeout=10)

    def test_tls(self) -> None:
        """With TLS, clients that trust the cluster's CA connect; a half-close and a reset work below TLS."""
        context = ssl.create_default_context()
        with PulsarCluster(1, tls=True) as cluster:
            context.load_verify_locations(cadata=cluster.authority_pem.decode())
            (broker,) = cluster.brokers
            self.assertEqual(f"pulsar+ssl://localhost:{cluster.addresses[broker.name][1]}", cluster.service_url)
            with Blocking(cluster.addresses[broker.name], context) as client:
                self.assertIsInstance(client.ask(CONNECT), pb.CommandConnected)
                broker.half_close()
                self.assertRaises((EOFError, ssl.SSLEOFError), client.heard)
            with Blocking(cluster.addresses[broker.name], context) as client:
                client.ask(CONNECT)
                broker.reset()
                self.assertRaises(ConnectionResetError, client.read_below_tls)

    def test_timeout(self) -> None:
        """Waiting for a command that does not come fails, and says what the broker has seen."""
        with PulsarCluster(1) as cluster:
            self.assertRaisesRegex(
                TimeoutError,
                "the cluster saw 0 of 1 SEND in 0 s; it saw no command",
                cluster.wait_for,
                "SEND",
                timeout_s=0,
            )
            with Blocking(cluster.addresses["broker-1.pulsar.test"]) as client:
                client.ask(CONNECT)
                client.ask(pb.CommandPing())
                error = self.assertRaises(TimeoutError, cluster.brokers[0].wait_for, "SEND", 2, timeout_s=0)
                self.assertIn("saw 0 of 2 SEND in 0 s; it saw CONNECT, PING", str(error))
                self.assertEqual(2, len(cluster.commands))

    def test_hang(self) -> None:
        """A broker that stops reading answers when it reads again."""
        with PulsarCluster(1) as cluster:
            (broker,) = cluster.brokers
            with Blocking(cluster.addresses[broker.name]) as client:
                client.ask(CONNECT)
                broker.stop_reading()
                client.socket.sendall(write(pb.CommandPing()))
                self.assertEqual(1, len(broker.commands))
                broker.clear_faults()
                self.assertIsInstance(client.heard(), pb.CommandPong)

    def test_client_that_does_not_read(self) -> None:
        """A consumer that does not read gets no more than the buffers hold, and the rest when it reads."""
        with PulsarCluster(1) as cluster:
            address = cluster.addresses["broker-1.pulsar.test"]
            topic = "persistent://public/default/large"
            with Blocking(address) as client, Blocking(address) as producer:
                for each in (client, producer):
                    each.ask(CONNECT)
                client.ask(
                    pb.CommandSubscribe(topic=topic, subscription="s", subType="Exclusive", consumer_id=1, request_id=1)
                )
                client.socket.sendall(write(pb.CommandFlow(consumer_id=1, messagePermits=1000)))
                client.ask(pb.CommandPing())
                producer.ask(pb.CommandProducer(topic=topic, producer_id=1, request_id=1))
                metadata = pb.MessageMetadata(producer_name="p", sequence_id=0, publish_time=0).SerializeToString()
                section = len(metadata).to_bytes(4, "big") + metadata + bytes(1 << 20)
                for number in range(15):
                    producer.socket.sendall(write(pb.CommandSend(producer_id=1, sequence_id=number), section))
                    producer.heard()
                got = [client.heard() for _ in range(15)]
                self.assertEqual(list(range(15)), [each.message_id.entryId for each in got])
                self.assertEqual(15, len(cluster.messages(topic)))

    def test_settings(self) -> None:
        """Partitions, tokens, faults at topics and unloads can be changed while the cluster runs."""
        topic = "persistent://public/default/t"
        with PulsarCluster(["one.test"], partitions={topic: 2}, tokens=["a"]) as cluster:
            address = cluster.addresses["one.test"]
            with Blocking(address) as client:
                self.assertEqual(pb.AuthenticationError, client.ask(CONNECT).error)
            cluster.set_tokens(["b"])
            with Blocking(address) as client:
                self.assertEqual(pb.AuthenticationError, client.ask(CONNECT).error)
            cluster.set_tokens(None)
            with Blocking(address) as client:
                client.ask(CONNECT)
                request = pb.CommandPartitionedTopicMetadata(topic=topic, request_id=1)
                self.assertEqual(2, client.ask(request).partitions)
                cluster.set_partitions(topic, 0)
                self.assertEqual(0, client.ask(request).partitions)
                client.ask(pb.CommandProducer(topic=topic, producer_id=4, request_id=1))
                cluster.unload(topic)
                self.assertEqual(4, client.heard().producer_id)
                cluster.redirect(topic, cluster.broker("one.test"))
                cluster.redirect(topic, None)
                client.ask(pb.CommandProducer(topic=topic, producer_id=4, request_id=2))
                cluster.move(topic, cluster.brokers[0], assigned=True)
                self.assertEqual(cluster.brokers[0].url, client.heard().assignedBrokerServiceUrl)
            self.assertEqual(([], {}), (cluster.messages("no such topic"), cluster.subscriptions("no such topic")))

    def test_again(self) -> None:
        """A cluster can be used again; an exception in the block is passed on."""
        cluster = PulsarCluster(1)
        for _ in range(2):
            with self.assertRaises(ZeroDivisionError), cluster:
                self.assertEqual(1, len(cluster.brokers))
                raise ZeroDivisionError


class ProxyTests(SynchronousTestCase):
    """What a proxy needs, and mistakes."""

    def test_pem(self) -> None:
        """The certificate of a proxy that ends TLS covers the service name and each broker, and its key fits."""
        pem = PulsarCluster(["broker-1.test"]).proxy_pem()
        file = Path(self.mktemp())
        file.write_bytes(pem)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(
            ["pulsar-vip.test", "broker-1.test", "localhost"], names.value.get_values_for_type(x509.DNSName)
        )

    def test_behind_proxy(self) -> None:
        """Behind a proxy, the service URL and the brokers' URLs have names, and the port of TLS."""
        with PulsarCluster(1, tls=True, behind_proxy=True) as cluster:
            self.assertEqual("pulsar+ssl://pulsar-vip.test:6651", cluster.service_url)
            self.assertEqual("pulsar+ssl://broker-1.pulsar.test:6651", cluster.brokers[0].url)

    def test_mistakes(self) -> None:
        """No broker, a proxy without TLS, and the wrong way to start are errors."""
        self.assertRaises(ValueError, PulsarCluster, 0)
        self.assertRaises(ValueError, PulsarCluster, behind_proxy=True)
        self.assertRaisesRegex(RuntimeError, "no reactor", PulsarCluster().start)
        self.assertRaisesRegex(RuntimeError, "call start", PulsarCluster(reactor=reactor).__enter__)

    def test_failed_start(self) -> None:
        """A cluster that cannot start leaves no thread."""
        cluster = PulsarCluster(1, tls=True)
        threads: list[Any] = []

        def start() -> None:
            threads.append(cluster.runner)
            raise OSError("no port")

        self.patch(cluster, "start", start)
        self.assertRaises(OSError, cluster.__enter__)
        self.assertFalse(threads[0]._thread.is_alive())
