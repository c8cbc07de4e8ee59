"""The real Python client (based on the C++ client) with an SNI proxy, and two real brokers."""

from __future__ import annotations

from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import free_ports
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require


class PythonClientTests(PulsarTestCase):
    """Its hellos are longer than a TCP segment; it verifies the proxy's name, and does not retry after an alert."""

    def setUp(self) -> None:
        """Skip the test without the Python client."""
        super().setUp()
        require(parts=["python"])

    def test_both_phases(self) -> None:
        """Topics of both brokers are used by their owners' names, with host names verified."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/python")
        proxy = self.proxy(lab.routes(cluster))
        outcome = self.python(proxy, topics.values())
        self.assert_all_came_back(outcome, topics.values())
        self.assertEqual(set(proxy.names(SERVICE_NAME, *topics)), {SERVICE_NAME, *topics})

    def test_name_without_route(self) -> None:
        """The alert ends the client's attempts with a connection error, not a timeout."""
        proxy = self.proxy({"broker-9.pulsar.test": ["127.0.0.1:9"]})
        outcome = self.python(proxy, ["persistent://public/default/unreachable"])
        self.assertEqual(self.failure(outcome)["error"], "ConnectError", outcome.log)
        (refused,) = proxy.connections()
        self.assertEqual((refused["result"], refused["alert"]), ("no_route", "unrecognized_name"))

    def test_broker_that_is_down(self) -> None:
        """After a plain close the client retries until its timeout."""
        (port,) = free_ports(1)
        proxy = self.proxy({SERVICE_NAME: [f"127.0.0.1:{port}"]})
        outcome = self.python(proxy, ["persistent://public/default/down"], timeout=4)
        self.assertEqual(self.failure(outcome)["error"], "Timeout", outcome.log)
        logged = proxy.connections(lambda log: len(log) >= 2)
        self.assertEqual({(line["result"], line["alert"]) for line in logged}, {("connect_failed", None)})
