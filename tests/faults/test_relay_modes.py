"""Faults on the kinds of listeners, with whole brokers and clients."""

from __future__ import annotations

from pathlib import Path

from sniproxy.client.failures import ClientError
from sniproxy.demo.client import DemoClient
from sniproxy.events import Result
from sniproxy.testing.pulsar import PulsarCluster
from tests.bridge.crowd import BridgeCase, Crowd, connects, redirects
from tests.client.scripted import B1, B2, TOPIC, VIP
from tests.faults.faulty import fault, until_applied
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.reactor import reactor
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_exactly, read_to_end


class PassedTLSTests(SocketTestCase):
    """TLS that passes through."""

    async def test_stop(self) -> None:
        """Bytes of the target stop after a number, for one name; other names have no fault, and their usual relay."""
        backend = Backend(self)
        routes = "".join(
            f'[[route]]\nserver_name = "{name}.test"\ntarget = "{backend.address}"\n' for name in ("a", "b")
        )
        faults = fault(action="stop", server_name="a.test", after_bytes=5)
        proxy = Proxy(self, f'relay = "python"\n{LISTENER}{routes}{faults}')
        client, upstream = await open_tunnel(self, proxy, backend, "a.test")
        upstream.sendall(b"answer")
        self.assertEqual(b"answe", await in_thread(read_exactly, client, 5))
        client.sendall(b"question")
        self.assertEqual(b"question", await in_thread(read_exactly, upstream, 8))
        other, upstream_b = await open_tunnel(self, proxy, backend, "b.test")
        upstream_b.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, other, 6))
        self.assertEqual([False, True], [one.tunnel.movable for one in proxy.service.view.live() if one.tunnel])
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, upstream))
        self.assertEqual({"stop": 1}, dict(proxy.service.view.faults.counts))

    async def test_hello(self) -> None:
        """The hello counts as the client's bytes, and waits, too."""
        backend = Backend(self)
        clock = HandClock()
        faults = fault(action="delay", seconds=3, sender="client") + fault(action="half_close", after_seconds=9)
        proxy = Proxy(self, f'[[route]]\nserver_name = "a.test"\ntarget = "{backend.address}"\n{faults}', clock)
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(hello(name="a.test"))
        upstream = await in_thread(backend.accept)
        self.addCleanup(upstream.close)
        upstream.setblocking(False)
        self.assertRaises(BlockingIOError, upstream.recv, 1)
        upstream.settimeout(30)
        await until_applied(proxy, 1)
        clock.advance(3)
        self.assertEqual(hello(name="a.test"), await in_thread(read_exactly, upstream, len(hello(name="a.test"))))
        clock.advance(6)
        await until_applied(proxy, 2)
        self.assertEqual(b"", await in_thread(read_to_end, client))
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, upstream))
        self.assertEqual(Result.OK, (await proxy.ended()).result)


class EndedTLSTests(SocketTestCase):
    """TLS that ends at the proxy."""

    async def test_producer(self) -> None:
        """The first producer is refused, the second is served; the inspector sees all."""
        cluster = PulsarCluster(reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "proxy.pem").write_bytes(cluster.proxy_pem())
        (folder / "ca.pem").write_bytes(cluster.authority_pem)
        routes = "".join(
            f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{port}"\n'
            for name, (host, port) in cluster.addresses.items()
        )
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\ninspect = "pulsar"\n'
            f'certificates = "{folder.resolve()}/proxy.pem"\nupstream_trust = "{folder.resolve()}/ca.pem"\n{routes}'
            + fault(action="error", error="ServiceNotReady", on="PRODUCER", times=1)
            + fault(action="delay", seconds=0.001, on="SEND_RECEIPT"),
        )
        client = DemoClient(reactor, ("127.0.0.1", proxy.port), cluster.authority_pem, lambda step: None)
        url = "pulsar+ssl://broker-1.pulsar.test:6651"
        topic = cluster.topic_of(cluster.brokers[0])
        with self.assertRaises(ClientError) as raised:
            await client.round_trip(url, topic, b"payload")
        self.assertIn("ServiceNotReady", str(raised.exception))
        await client.round_trip(url, topic, b"payload")
        counts = proxy.service.view.faults.counts
        self.assertEqual({"error": 1, "delay": 1}, dict(counts))


class BridgeTests(BridgeCase):
    """A bridge."""

    async def test_error(self) -> None:
        """The bridge's client gets the error, its broker no lookup."""
        crowd = Crowd(self, {VIP: connects(B1)}, fault(action="error", error="TooManyRequests", on="LOOKUP", times=1))
        client = self.client(crowd)
        failed = await self.failure(client.owner(TOPIC))
        self.assertIn("TooManyRequests", str(failed))
        self.assertNotIn("LOOKUP", crowd.heard(VIP))
        await client.owner(TOPIC)
        self.assertIn("LOOKUP", crowd.heard(VIP))

    async def test_followed(self) -> None:
        """An answer that the bridge itself sends passes the fault, too."""
        crowd = Crowd(
            self,
            {VIP: redirects(B1), B1: connects(B2)},
            fault(action="rate", rate=20_000, on="CONNECTED")
            + fault(action="delay", seconds=0.01, on="LOOKUP_RESPONSE"),
        )
        client = self.client(crowd)
        owner = await client.owner(TOPIC)
        self.assertIn(B2, str(owner))
        self.assertEqual({"rate": 1, "delay": 1}, dict(crowd.bridge.service.view.faults.counts))
