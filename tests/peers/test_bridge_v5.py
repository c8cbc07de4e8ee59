"""Java's V5 API of Pulsar 5.0 by the bridge: unmodified clients with a plain service URL, two real brokers."""

from __future__ import annotations

from tests.peers import clients, lab
from tests.peers.cluster import free_ports
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.proxy import Bridge, Span
from tests.peers.scalable import ScalableClient, ScalableTestCase, ScalableTopic


class BridgeTests(ScalableTestCase):
    """Scalable topics and transactions. The brokers' names do not resolve: a client that leaves the bridge fails."""

    def bridge(self, service: str = "", port: int = 0, more: str = "") -> Bridge:
        """A bridge. `service`: the only broker at the service name. Empty: all of them."""
        routes = lab.routes(self.cluster)
        if service:
            routes[SERVICE_NAME] = routes[service]
        span = Span(f"{SERVICE_NAME}:6651", self.proxy(routes).url, self.lab.material.trust, port, more)
        bridge = Bridge(self.lab.new_folder(), [span])
        self.addCleanup(bridge.stop)
        return bridge

    def names(self, bridge: Bridge) -> set[str]:
        """The server names of the bridge's connections. Asserts that none was refused."""
        bridge.stop()
        logged = bridge.connections()
        self.assertLessEqual({line["result"] for line in logged}, {"ok", "reset"}, logged)
        return {line["server_name"] for line in logged}

    def transact(self, client: ScalableClient, times: int = 1) -> None:
        """Assert that a consumer `reading` gets a committed message and no aborted one, acknowledged in a transaction.

        Coordinators take turns.
        """
        for number in range(times):
            client.do("begin", f"produce 1 dropped-{number}")
            self.assertEqual("ABORTED", client.do("abort")["state"])
            client.do("begin", f"produce 1 kept-{number}")
            self.assertEqual("COMMITTED", client.do("commit")["state"])
            client.do("begin")
            self.assertEqual([f"kept-{number}-0"], client.receive("reading", 1))
            self.assertEqual("COMMITTED", client.do("commit")["state"])

    def test_consumers(self) -> None:
        """Consumers of each kind, before and after a split and a merge, reach all brokers through the bridge."""
        topic = ScalableTopic(self.cluster, "bridged-v5", 2)
        bridge = self.bridge()
        client = self.start_client(topic, {"url": bridge.url})
        kinds = ("queue", "stream", "checkpoint", "group")
        client.do("produce 4 first", *(f"open {kind} {kind}" for kind in kinds))
        for kind in kinds:
            self.assertEqual([f"first-{i}" for i in range(4)], client.receive(kind, 4))
        topic.split(0)
        topic.merge(2, 3)
        client.do("produce 4 second", "close stream", "open stream stream")
        for kind in kinds:
            self.assertEqual([f"second-{i}" for i in range(4)], client.receive(kind, 4))
        self.assertEqual(0, client.finish())
        self.assertEqual({SERVICE_NAME, *BROKER_NAMES}, self.names(bridge))

    def test_transactions(self) -> None:
        """Transactions work whichever broker the service name leads to: the coordinators' leader may be another."""
        for name in BROKER_NAMES:
            topic = ScalableTopic(self.cluster, f"bridged-v5-by-{name[:8]}", 1)
            bridge = self.bridge(name)
            client = self.start_client(topic, {"url": bridge.url, "transactions": True})
            client.do("open queue reading")
            self.transact(client, 2)
            self.assertEqual(0, client.finish())
            self.assertIn(SERVICE_NAME, self.names(bridge))

    def test_restart(self) -> None:
        """A bridge that is killed and started again keeps its clients: it learns the leaders anew."""
        topic = ScalableTopic(self.cluster, "bridged-v5-restart", 1)
        (port,) = free_ports(1)
        bridge = self.bridge(port=port)
        client = self.start_client(topic, {"url": bridge.url, "transactions": True, "timeout": 30})
        client.do("open queue reading", "open stream stream")
        self.transact(client)
        client.receive("stream", 1)
        bridge.kill()
        self.bridge(port=port)
        self.transact(client)
        client.receive("stream", 1)
        self.assertEqual(0, client.finish())

    def test_refused(self) -> None:
        """If `allow` lacks the coordinators' leaders, the client and the log get the reason."""
        bridge = self.bridge(more='allow = ["nobody.test:6651"]')
        words = {"url": bridge.url, "transactions": True}
        outcome = clients.run(
            clients.java_client(words, ["topic://public/default/none"], self.pulsar, "PulsarScalable")
        )
        said = "but it is not in the bridge's allow list"
        self.assertIn(said, outcome.log)
        bridge.wait_for_text(said)
