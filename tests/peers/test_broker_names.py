"""The resolvers of live brokers with real brokers: the names that each broker has, from both sources."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sniproxy.interfaces import Resolution
from sniproxy.resolvers import make_resolver
from sniproxy.routing.brokernames import BrokerName
from tests.peers import lab, provide, versions
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require
from tests.resolvers.cache.scripted import request
from tests.support.reactor import reactor


class BrokerNamesTests(TestCase):
    """Names of all listeners."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.pulsar = versions.current()
        require("java", "setpriv", parts=provide.needed(self.pulsar))
        self.cluster = lab.shared().cluster

    async def known(self, kind: str, **options: Any) -> Any:
        """A resolver that has read the brokers."""
        table = {"service_name": SERVICE_NAME, "listener": "external", **options}
        resolver: Any = make_resolver(kind, table, reactor)
        read: Deferred[None] = Deferred()
        resolver.start(lambda: None if read.called else read.callback(None))
        self.addCleanup(resolver.stop)
        await read.addTimeout(60.0, reactor)
        return resolver

    def assert_known(self, resolver: Any) -> None:
        """Assert that any URL of a broker finds all its names, and that each of these leads to it."""
        for broker in self.cluster.brokers:
            internal = broker.name if self.pulsar.scalable else "127.0.0.1"
            expected = {
                BrokerName(broker.name, "external", True),
                BrokerName(broker.name, "dns", True),
                BrokerName(internal, "internal", False),
                BrokerName("127.0.0.1", "tap", False),
                BrokerName(broker.web_host, "", False),
            }
            for place in ((internal, broker.plain), ("127.0.0.1", broker.tap), (broker.name, broker.tls)):
                names = resolver.names_of(*place)
                self.assertEqual((broker.name, "external"), (names[0].host, names[0].listener))
                self.assertEqual(expected, set(names))
            self.assertEqual([broker.tls], self.ports(resolver, broker.name))
            self.assertEqual(f"{broker.web_id}, listener external", resolver.state().names[broker.name])
        # All brokers have this name. One is chosen, and the others are spares.
        ports = self.ports(resolver, "127.0.0.1")
        self.assertEqual(sorted(one.tls for one in self.cluster.brokers), sorted(ports))
        self.assertIsNone(resolver.state().error)

    def ports(self, resolver: Any, name: str) -> list[int]:
        answer = resolver.resolve(request(name))
        assert isinstance(answer, Resolution)
        return [target.port for target in answer.targets]

    async def test_pulsar(self) -> None:
        """The admin API has all names."""
        urls = [f"http://127.0.0.1:{broker.web}" for broker in self.cluster.brokers]
        self.assert_known(await self.known("pulsar", url=urls))

    async def test_zookeeper(self) -> None:
        """ZooKeeper has the same."""
        self.assert_known(await self.known("zookeeper", servers=f"127.0.0.1:{self.cluster.zookeeper}"))
