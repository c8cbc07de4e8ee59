"""The zookeeper resolver with a real ZooKeeper: nodes of brokers, and lost sessions."""

from __future__ import annotations

import atexit
import functools
import socket
import threading
from typing import Any

from kazoo.security import make_digest_acl
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sniproxy.interfaces import Resolution, Unavailable
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.zookeeper.resolver import REFUSAL_TTL_S, ZooKeeperResolver
from sniproxy.testing import ResolverContract, question
from tests.peers import lab, provide, versions
from tests.peers.cluster import free_ports
from tests.peers.needs import require
from tests.peers.zookeeper import ZooKeeper
from tests.resolvers.cache.scripted import request
from tests.support.reactor import reactor


@functools.cache
def shared() -> ZooKeeper:
    """The ZooKeeper of this run."""
    zookeeper = ZooKeeper(lab.shared().new_folder(), lab.shared().material)
    atexit.register(zookeeper.stop)
    return zookeeper


class ZooKeeperCase(TestCase):
    """A test with ZooKeeper and the node of one broker."""

    async def setUp(self) -> None:  # type: ignore[override]
        require("java", "setpriv", parts=provide.needed(versions.current()))
        self.zookeeper = shared()
        self.threads = set(threading.enumerate())
        self.node = await self.zookeeper.broker("broker-1.test", 6651)

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.zookeeper.forget(self.node)

    def resolver(self, servers: str = "", **options: Any) -> ZooKeeperResolver:
        table = {"servers": servers or self.zookeeper.servers, "service_name": "vip.test", **options}
        resolver = make_resolver("zookeeper", table, reactor)
        assert isinstance(resolver, ZooKeeperResolver)
        return resolver


class ContractTests(ResolverContract, ZooKeeperCase):
    """The contract of all resolvers."""

    known = question("broker-1.test")
    unknown = question("broker-9.test")

    def make(self) -> Any:
        return self.resolver()

    def silence(self) -> Any:
        mute = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(mute.close)
        return self.resolver(f"127.0.0.1:{mute.getsockname()[1]}")


class SessionTests(ZooKeeperCase):
    """Sessions and their watches."""

    async def begin(self, servers: str = "", **options: Any) -> ZooKeeperResolver:
        """Start a resolver, and wait for its first read or failure."""
        resolver = self.resolver(servers, **options)
        first = resolver._waiters.wait().addTimeout(60.0, reactor)
        resolver.start(lambda: None)
        self.addCleanup(resolver.stop)
        await first
        return resolver

    def until(self, resolver: ZooKeeperResolver, method: str) -> Deferred[None]:
        """Fires when the condition is true."""
        reached: Deferred[None] = Deferred()
        before = getattr(resolver, method)

        def then(*args: Any) -> None:
            before(*args)
            if not reached.called:
                reached.callback(None)

        self.patch(resolver, method, then)
        return reached.addTimeout(60.0, reactor)

    def ports(self, resolver: ZooKeeperResolver) -> list[int]:
        """The ports of all brokers."""
        answer = resolver.resolve(request("vip.test"))
        assert isinstance(answer, Resolution)
        return sorted(target.port for target in answer.targets)

    async def comes_and_goes(self, resolver: ZooKeeperResolver) -> None:
        """Assert that a watch notices a new and a removed broker, whose name leads to its last address for a while."""
        seen = self.until(resolver, "_succeeded")
        path = await self.zookeeper.broker("broker-2.test", 6661)
        await seen
        self.assertEqual([6651, 6661], self.ports(resolver))
        seen = self.until(resolver, "_succeeded")
        await self.zookeeper.forget(path)
        await seen
        self.assertEqual([6651], self.ports(resolver))
        last = resolver.resolve(request("broker-2.test"))
        assert isinstance(last, Resolution)
        self.assertEqual(([6661], REFUSAL_TTL_S), ([target.port for target in last.targets], last.ttl))

    async def test_watches(self) -> None:
        """New and removed nodes are noticed at once."""
        resolver = await self.begin()
        for _ in range(2):
            await self.comes_and_goes(resolver)

    async def test_killed(self) -> None:
        """Without ZooKeeper the last brokers are used and the state has an error; after its return watches work."""
        resolver = await self.begin()
        lost = self.until(resolver, "_failed")
        self.zookeeper.kill()
        try:
            await lost
            self.assertEqual([6651], self.ports(resolver))
            self.assertEqual("1 broker", resolver.state().summary)
            self.assertTrue(resolver.state().error)
            self.assertRaises(Unavailable, resolver.resolve, request("broker-2.test"))
            back = self.until(resolver, "_succeeded")
        finally:
            self.zookeeper.start()
        await back
        self.assertIsNone(resolver.state().error)
        await self.comes_and_goes(resolver)

    async def test_expired(self) -> None:
        """An expired session is replaced by a new one with new watches."""
        resolver = await self.begin()
        session: Any = resolver._session
        again = self.until(resolver, "_succeeded")
        await self.zookeeper.expire(session._client.client_id)
        await again
        await self.comes_and_goes(resolver)

    async def test_tls(self) -> None:
        """With TLS certificates are verified on both sides."""
        material = lab.shared().material
        own = lab.shared().new_folder() / "own.pem"
        own.write_bytes(material.client.key.read_bytes() + material.client.certificate.read_bytes())
        files = {"tls": True, "trust": str(material.trust), "certificate": str(own)}
        resolver = await self.begin(f"127.0.0.1:{self.zookeeper.tls}", **files)
        self.assertEqual([6651], self.ports(resolver))
        await self.comes_and_goes(resolver)

    async def test_tls_untrusted(self) -> None:
        """A server with an untrusted certificate gets no session, and the error says so."""
        resolver = await self.begin(f"127.0.0.1:{self.zookeeper.tls}", tls=True)
        error = resolver.state().error or ""
        self.assertTrue(error.startswith(f"127.0.0.1:{self.zookeeper.tls}: "), error)
        self.assertIn("certificate verify failed", error)

    async def test_digest(self) -> None:
        """A protected node is read with the configured login."""
        acl = [make_digest_acl("me", "a:secret", all=True)]
        secret = await self.zookeeper.broker("broker-2.test", 6661, acl)
        self.addCleanup(self.zookeeper.forget, secret)
        file = lab.shared().new_folder() / "login"
        file.write_text("me:a:secret\n")
        resolver = await self.begin(digest_file=str(file))
        self.assertEqual([6651, 6661], self.ports(resolver))
        stranger = await self.begin()
        self.assertIn("NoAuthError", str(self.assertRaises(Unavailable, stranger.resolve, request("vip.test"))))

    async def test_path(self) -> None:
        """With a chroot only the nodes below it are read."""
        own = await self.zookeeper.broker("broker-2.test", 6661, below="/pulsar")
        self.addCleanup(self.zookeeper.forget, own)
        self.assertEqual([6661], self.ports(await self.begin(f"{self.zookeeper.servers}/pulsar")))

    async def test_nobody_there(self) -> None:
        """Without a ZooKeeper the error is reported; a stop ends at once and leaves no thread."""
        (port,) = free_ports(1)
        resolver = self.resolver(f"127.0.0.1:{port}")
        failed = self.until(resolver, "_failed")
        resolver.start(lambda: None)
        await failed
        self.assertEqual(f"127.0.0.1:{port}: Connection refused", resolver.state().error)
        stopped = resolver.stop()
        assert stopped is not None
        await stopped
        left = set(threading.enumerate()) - self.threads - set(reactor.getThreadPool().threads)
        for thread in left:
            thread.join(10)  # the thread that has just answered may still be on its way out
        self.assertEqual([], [thread for thread in left if thread.is_alive()])
