"""The real Java client, with `proxyServiceUrl`, and two real brokers behind one service name."""

from __future__ import annotations

from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import free_ports
from tests.peers.material import SERVICE_NAME, UNCERTIFIED_NAME


class JavaClientTests(PulsarTestCase):
    """The reference client of PIP-60; it verifies host names unless a test says otherwise."""

    def test_both_phases(self) -> None:
        """Topics are looked up by the service name, and used by the name of their owner."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/java")
        proxy = self.proxy(lab.routes(cluster))
        outcome = self.java(proxy, topics.values())
        self.assert_all_came_back(outcome, topics.values())
        names = [broker.name for broker in cluster.brokers]
        logged = proxy.connections(lambda log: len(log) >= 3)
        first = min(logged, key=lambda line: int(line["id"].rpartition("-")[2]))
        self.assertEqual(first["server_name"], SERVICE_NAME)
        self.assertEqual(sorted(line["server_name"] for line in logged), sorted([SERVICE_NAME, *names]))
        self.assertEqual({line["result"] for line in logged}, {"ok"})
        targets = {line["server_name"]: line["target"] for line in logged}
        for broker in cluster.brokers:
            self.assertEqual(targets[broker.name], f"127.0.0.1:{broker.tls}")

    def test_partitioned_topic(self) -> None:
        """A topic with four partitions is used."""
        cluster = self.lab.cluster
        cluster.admin("PUT", "/admin/v2/persistent/public/default/parts/partitions", 4)
        topic = "persistent://public/default/parts"
        proxy = self.proxy(lab.routes(cluster))
        outcome = self.java(proxy, [topic], n=12)
        self.assert_all_came_back(outcome, [topic])
        self.assertEqual(outcome.reports[0]["partitions"], 4)

    def test_redirect(self) -> None:
        """A broker that does not know the owner redirects, and the client follows through the proxy."""
        cluster = self.lab.cluster
        leader = cluster.leader()
        (other,) = (broker for broker in cluster.brokers if broker != leader)
        cluster.create_namespace("public/redirect")
        topics = [f"persistent://public/redirect/t-{i}" for i in range(4)]
        routes = {**lab.routes(cluster), SERVICE_NAME: [f"127.0.0.1:{other.tls}"]}
        asked: list[set[str]] = []
        for _ in range(2):
            proxy = self.proxy(routes)
            outcome = self.java(proxy, topics, mode="lookup")
            self.assertEqual(outcome.status, 0, f"{outcome.reports}\n{outcome.log}")
            owners = [report["owner"] for report in outcome.reports]
            self.assertLessEqual(set(owners), {broker.name for broker in cluster.brokers})
            # Nothing but lookups was asked: another name than the service's is a redirect that was followed.
            asked.append(set(proxy.names(SERVICE_NAME, *([] if asked else [leader.name]))))
        self.assertIn(leader.name, asked[0])
        # Now every owner is known, and whoever is asked first knows it.
        self.assertEqual(asked[1], {SERVICE_NAME})

    def test_topic_moves_while_producing(self) -> None:
        """A topic that moves to the other broker keeps its client; no message is lost."""
        cluster = self.lab.cluster
        home, away = cluster.brokers
        topic = cluster.topic_of_each("public/default/moving")[home.name]
        url = cluster.move_url(topic.removeprefix("persistent://"), away)
        proxy = self.proxy(lab.routes(cluster))
        outcome = self.java(proxy, [topic], n=300, unload=url)
        self.assert_all_came_back(outcome, [topic])
        self.assertEqual(outcome.reports[0]["unload_status"], 204)
        self.assertEqual(set(proxy.names(home.name, away.name, SERVICE_NAME)), {home.name, away.name, SERVICE_NAME})

    def test_large_messages(self) -> None:
        """Messages of 300 kB arrive unchanged."""
        cluster = self.lab.cluster
        topic = "persistent://public/default/large"
        proxy = self.proxy(lab.routes(cluster))
        outcome = self.java(proxy, [topic], n=5, size=300_000)
        self.assert_all_came_back(outcome, [topic])
        logged = proxy.connections(lambda log: len(log) >= 2)
        self.assertGreater(max(line["bytes_up"] for line in logged), 1_500_000)

    def test_host_name_is_verified(self) -> None:
        """A certificate without the service name fails the client if it verifies host names."""
        cluster = self.lab.cluster
        topic = "persistent://public/default/uncertified"
        routes = lab.routes(cluster)
        proxy = self.proxy({**routes, UNCERTIFIED_NAME: routes[SERVICE_NAME]})
        url = f"pulsar+ssl://{UNCERTIFIED_NAME}:6651"
        verifying = self.java(proxy, [topic], url=url, timeout=5)
        self.failure(verifying)
        self.assertIn(f"matching {UNCERTIFIED_NAME}", verifying.log)
        self.assert_all_came_back(self.java(proxy, [topic], url=url, verify=False), [topic])

    def test_name_without_route(self) -> None:
        """A refused client gets an alert and retries until its timeout; each attempt is logged."""
        proxy = self.proxy({"broker-9.pulsar.test": ["127.0.0.1:9"]})
        outcome = self.java(proxy, ["persistent://public/default/unreachable"], timeout=4)
        self.failure(outcome)
        logged = proxy.connections(lambda log: len(log) >= 2)
        refusals = {(line["server_name"], line["result"], line["alert"]) for line in logged}
        self.assertEqual(refusals, {(SERVICE_NAME, "no_route", "unrecognized_name")})

    def test_broker_that_is_down(self) -> None:
        """If the broker is down, the client gets a plain close, and retries."""
        (port,) = free_ports(1)
        proxy = self.proxy({SERVICE_NAME: [f"127.0.0.1:{port}"]})
        outcome = self.java(proxy, ["persistent://public/default/down"], timeout=4)
        self.failure(outcome)
        logged = proxy.connections(lambda log: len(log) >= 2)
        self.assertEqual({(line["result"], line["alert"]) for line in logged}, {("connect_failed", None)})
