"""Base classes of the tests with real Pulsar clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.peers import clients, lab, provide, versions
from tests.peers.clients import Outcome
from tests.peers.cluster import Cluster, Site
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require
from tests.peers.proxy import Proxy
from tests.peers.versions import Pulsar


class ProxyTestCase(SynchronousTestCase):
    """A test that starts proxies and reads their access logs."""

    def setUp(self) -> None:
        """Skip the tests if the machine lacks programs."""
        require("setpriv", "tail")
        self.lab = lab.shared()

    def proxy(self, routes: Mapping[str, list[str]], port: int = 0, more: str = "") -> Proxy:
        """Start a proxy that stops with the test."""
        proxy = self.lab.proxy(dict(routes), port, more)
        self.addCleanup(proxy.stop)
        return proxy


class PulsarTestCase(ProxyTestCase):
    """A test with real brokers, of this run's version."""

    #: The version that brought what is tested.
    since = versions.ALL[0].name

    def setUp(self) -> None:
        """Skip the tests if there are no brokers, or if they are too old."""
        self.pulsar = versions.current()
        if self.pulsar.number < versions.find(self.since).number:
            raise SkipTest(f"Pulsar {self.pulsar.name} does not have it; {self.since} does")
        require("java", parts=provide.needed(self.pulsar))
        super().setUp()

    def options(self, proxy: Proxy, **more: object) -> dict[str, object]:
        """Options of a client with a proxy option: the service name, the proxy, and host name verification."""
        base = {"url": f"pulsar+ssl://{SERVICE_NAME}:6651", "proxy": proxy.url, "trust": self.lab.material.trust}
        return {**base, "verify": True, **more}

    def java(self, proxy: Proxy, topics: Iterable[str], **more: object) -> Outcome:
        """Run the Java client of this run's version on topics."""
        return self.java_of(self.pulsar, proxy, topics, **more)

    def java_of(self, pulsar: Pulsar, proxy: Proxy, topics: Iterable[str], **more: object) -> Outcome:
        """Run the Java client of a version on topics."""
        return clients.run(clients.java_client(self.options(proxy, **more), list(topics), pulsar))

    def start_cluster(self, settings: Mapping[str, str], **site: Any) -> Cluster:
        """Start brokers with lines of broker.conf, and attributes of a `Site`; they stop with the test."""
        (cluster,) = self.lab.start([Site(**site)], settings)
        self.addCleanup(cluster.stop)
        return cluster

    def python(self, proxy: Proxy, topics: Iterable[str], **more: object) -> Outcome:
        """Run the Python client on topics."""
        return clients.run(clients.python_client(self.options(proxy, **more), list(topics)))

    def assert_all_came_back(self, outcome: Outcome, topics: Iterable[str]) -> None:
        """Assert that the client received all its messages in every topic."""
        self.assertEqual((outcome.complete, outcome.status), (list(topics), 0), f"{outcome.reports}\n{outcome.log}")

    def failure(self, outcome: Outcome) -> dict[str, str]:
        """Assert that the only topic failed. Returns its report."""
        (report,) = outcome.reports
        self.assertIn("error", report)
        return report
