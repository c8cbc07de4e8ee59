"""The pulsar resolver with real brokers, and the Java client through the proxy.

tests.peers.test_churn stops brokers.
"""

from __future__ import annotations

from tests.peers.case import PulsarTestCase
from tests.peers.cluster import Cluster
from tests.peers.material import SERVICE_NAME
from tests.peers.proxy import Proxy
from tests.peers.resolvertable import table


class PulsarResolverTests(PulsarTestCase):
    """Names that are not configured."""

    def assert_found(self, cluster: Cluster, proxy: Proxy, stem: str, **more: object) -> None:
        """Assert that the Java client uses a topic of each broker, and that each name led to its broker."""
        topics = list(cluster.topic_of_each(stem).values())
        self.assert_all_came_back(self.java(proxy, topics, **more), topics)
        names = [broker.name for broker in cluster.brokers]
        logged = proxy.connections(lambda log: {SERVICE_NAME, *names} <= {line["server_name"] for line in log})
        targets = {line["server_name"]: line["target"] for line in logged}
        for broker in cluster.brokers:
            self.assertEqual(f"localhost:{broker.tls}", targets[broker.name])

    def test_java(self) -> None:
        """Names, listeners and ports of brokers are found; the first TLS listener is used."""
        cluster = self.lab.cluster
        self.assert_found(cluster, self.proxy({}, more=table(cluster)), "public/default/found")

    def test_refused(self) -> None:
        """A name without a broker is refused, and the log has the known names."""
        cluster = self.lab.cluster
        proxy = self.proxy({}, more=table(cluster))
        url = "pulsar+ssl://broker-9.pulsar.test:6651"
        self.failure(self.java(proxy, ["persistent://public/default/refused"], url=url, timeout=4))
        line = proxy.connections()[0]
        self.assertEqual(("no_route", "unrecognized_name"), (line["result"], line["alert"]))
        for broker in cluster.brokers:
            self.assertIn(broker.name, line["reason"])

    def test_secured(self) -> None:
        """A super-user's token works with authorization."""
        cluster, material = self.lab.secured, self.lab.material
        cluster.create_namespace("public/resolved")
        cluster.allow("public/resolved", "app")
        proxy = self.proxy({}, more=table(cluster, token_file=str(material.tokens["admin"])))
        client = {"cert": material.client.certificate, "key": material.client.key, "token": material.tokens["app"]}
        self.assert_found(cluster, proxy, "public/resolved/found", **client)

    def test_without_rights(self) -> None:
        """With a token without permissions, clients get a plain close, and the log has the cure."""
        cluster, material = self.lab.secured, self.lab.material
        proxy = self.proxy({}, more=table(cluster, token_file=str(material.tokens["app"])))
        self.failure(self.java(proxy, ["persistent://public/default/t"], timeout=4))
        line = proxy.connections()[0]
        self.assertEqual(("resolver_failed", None), (line["result"], line["alert"]))
        self.assertIn("401, access denied; token_file or certificate must be a superuser's", line["reason"])

    def test_https(self) -> None:
        """With HTTPS on both sides certificates are verified, and ours is sent."""
        cluster, material = self.lab.secured, self.lab.material
        first = cluster.brokers[0]
        own = self.lab.new_folder() / "own.pem"
        own.write_text(material.client.certificate.read_text() + material.client.key.read_text())
        files = {"trust": material.trust, "certificate": own, "token_file": material.tokens["admin"]}
        options = {key: str(file) for key, file in files.items()}
        url = f"https://localhost:{first.web_tls}"
        static = {broker.name: [f"127.0.0.1:{broker.tls}"] for broker in cluster.brokers}
        more = table(cluster, url=url, ask_brokers=False, port=first.tls, **options)
        proxy = self.proxy(static, more=more.replace("*.pulsar.test", "localhost"))
        cluster.create_namespace("public/https")
        cluster.allow("public/https", "app")
        client = {"cert": material.client.certificate, "key": material.client.key, "token": material.tokens["app"]}
        topic = "persistent://public/https/t"
        self.assert_all_came_back(self.java(proxy, [topic], **client), [topic])
        logged = proxy.connections(lambda log: SERVICE_NAME in {line["server_name"] for line in log})
        targets = {line["target"] for line in logged if line["server_name"] == SERVICE_NAME}
        self.assertEqual({f"localhost:{first.tls}"}, targets)
