"""PIP-60's own Java sample: client certificates by `AuthenticationTls`, through `proxyServiceUrl`."""

from __future__ import annotations

import os

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.material import CLIENT_ROLE, SERVICE_NAME
from tests.peers.proxy import Proxy


class SampleTests(PulsarTestCase):
    """Brokers require a client certificate in each handshake, and take the role from it."""

    def attempt(self, role: str, namespace: str) -> tuple[Outcome, str, Proxy]:
        """Run the sample with the client's certificate in a new namespace in which the role has its permissions."""
        cluster = self.lab.secured
        cluster.create_namespace(namespace)
        cluster.allow(namespace, role)
        proxy = self.proxy(lab.routes(cluster))
        client = self.lab.material.client
        options = {
            "url": f"pulsar+ssl://{SERVICE_NAME}:6651/",
            "proxy": proxy.url,
            "trust": self.lab.material.trust,
            "cert": client.certificate,
            "key": client.key,
        }
        topic = f"persistent://{namespace}/t"
        return clients.run(clients.java_client(options, [topic], main="PulsarSample")), topic, proxy

    def test_certificate(self) -> None:
        """The sample's client sends and receives; it presents its certificate in both phases."""
        outcome, topic, proxy = self.attempt(CLIENT_ROLE, "public/sample")
        self.assert_all_came_back(outcome, [topic])
        names = {SERVICE_NAME, self.lab.secured.owner(topic.removeprefix("persistent://")).name}
        logged = proxy.connections(lambda log: names <= {line["server_name"] for line in log})
        self.assertEqual({"ok"}, {line["result"] for line in logged})

    def test_role_without_rights(self) -> None:
        """The certificate's role counts: the broker refuses it, and the proxy logs tunnels that are ok."""
        outcome, _, proxy = self.attempt("app", "public/sample-denied")
        self.assertIn("Authorization", self.failure(outcome)["root"])
        self.assertEqual({"ok"}, {line["result"] for line in proxy.connections()})

    if os.environ.get("PEERS_LONG") != "1":
        del test_role_without_rights
