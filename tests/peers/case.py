"""What the tests with real Pulsar clients have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import clients, lab
from tests.peers.clients import Outcome
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require
from tests.peers.proxy import Proxy


class ProxyTestCase(SynchronousTestCase):
    """A test that starts proxies and looks at their access logs."""

    def setUp(self) -> None:
        """Skips where nothing can be started."""
        require("setpriv", "tail")
        self.lab = lab.shared()

    def proxy(self, routes: Mapping[str, list[str]], port: int = 0, more: str = "") -> Proxy:
        """A running proxy that ends with the test."""
        proxy = self.lab.proxy(dict(routes), port, more)
        self.addCleanup(proxy.stop)
        return proxy


class PulsarTestCase(ProxyTestCase):
    """A test with real brokers."""

    def setUp(self) -> None:
        """Skips where there are no brokers."""
        require("java", parts=["jars", "classes"])
        super().setUp()

    def options(self, proxy: Proxy, **more: object) -> dict[str, object]:
        """What a client that has a proxy option is told: the service name, this proxy, and to verify host names."""
        base = {"url": f"pulsar+ssl://{SERVICE_NAME}:6651", "proxy": proxy.url, "trust": self.lab.material.trust}
        return {**base, "verify": True, **more}

    def java(self, proxy: Proxy, topics: Iterable[str], **more: object) -> Outcome:
        """What the Java client does with the topics."""
        return clients.run(clients.java_client(self.options(proxy, **more), list(topics)))

    def python(self, proxy: Proxy, topics: Iterable[str], **more: object) -> Outcome:
        """What the Python client does with the topics."""
        return clients.run(clients.python_client(self.options(proxy, **more), list(topics)))

    def assert_all_came_back(self, outcome: Outcome, topics: Iterable[str]) -> None:
        """The client received, in every topic, all that it sent."""
        done = [report["topic"] for report in outcome.reports if report.get("received", 0) == report.get("sent", -1)]
        self.assertEqual((done, outcome.status), (list(topics), 0), f"{outcome.reports}\n{outcome.log}")

    def failure(self, outcome: Outcome) -> dict[str, str]:
        """The report of the one topic, which failed."""
        (report,) = outcome.reports
        self.assertIn("error", report)
        return report
