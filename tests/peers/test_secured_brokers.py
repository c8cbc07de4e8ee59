"""Brokers with authentication: TLS client certificates and tokens, end to end through the proxy."""

from __future__ import annotations

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.cluster import free_ports
from tests.peers.material import CLIENT_ROLE


class SecuredBrokerTests(PulsarTestCase):
    """The Java client; brokers require a client certificate, and authorize roles."""

    def attempt(self, name: str, role: str, certified: bool = True, **more: object) -> tuple[Outcome, str]:
        """Run a client in a new namespace in which the role has its permissions."""
        cluster = self.lab.secured
        cluster.create_namespace(f"public/{name}")
        cluster.allow(f"public/{name}", role)
        topic = f"persistent://public/{name}/t"
        self.routed = self.proxy(lab.routes(cluster))
        client = self.lab.material.client
        certificate = {"cert": client.certificate, "key": client.key} if certified else {}
        return self.java(self.routed, [topic], **certificate, **more), topic

    def test_client_certificate(self) -> None:
        """The broker gets the client's certificate, and takes the role from it."""
        outcome, topic = self.attempt("certified", CLIENT_ROLE)
        self.assert_all_came_back(outcome, [topic])

    def test_no_client_certificate(self) -> None:
        """Without one the broker ends the handshake, and the proxy logs ok."""
        outcome, _ = self.attempt("uncertified", CLIENT_ROLE, certified=False, timeout=6)
        self.failure(outcome)
        logged = self.routed.connections(lambda log: len(log) >= 2)
        self.assertEqual({line["alert"] for line in logged}, {None})
        self.assertGreater(min(line["bytes_down"] for line in logged), 0)

    def test_token(self) -> None:
        """The broker takes the role from a token."""
        outcome, topic = self.attempt("tokens", "app", token=self.lab.material.tokens["app"])
        self.assert_all_came_back(outcome, [topic])

    def test_role_without_rights(self) -> None:
        """The role of the token counts, not the certificate."""
        outcome, _ = self.attempt("others", CLIENT_ROLE, token=self.lab.material.tokens["app"])
        self.assertIn("Authorization", self.failure(outcome)["root"])

    def test_bad_token(self) -> None:
        """A token with a wrong signature is refused by the broker, with Pulsar's text."""
        outcome, _ = self.attempt("forged", "app", token=self.lab.material.bad_token)
        self.assertIn("Authentication", self.failure(outcome)["root"])

    def test_tls_that_ends_at_the_proxy(self) -> None:
        """The brokers get the proxy's certificate, and the client's token gives the role."""
        cluster, material = self.lab.secured, self.lab.material
        cluster.create_namespace("public/ended")
        cluster.allow("public/ended", "app")
        own = self.lab.new_folder() / "own.pem"
        own.touch(mode=0o600)
        own.write_bytes(material.client.certificate.read_bytes() + material.client.key.read_bytes())
        (port,) = free_ports(1)
        lines = [
            "[[listener]]",
            f'endpoint = "tcp:{port}:interface=127.0.0.1"',
            'name = "ends"',
            f'certificates = "{material.folder}"',
            f'upstream_trust = "{material.trust}"',
            f'upstream_certificate = "{own}"',
        ]
        proxy = self.proxy(lab.routes(cluster), more="\n".join(lines) + "\n")
        topic = "persistent://public/ended/t"
        options = {**self.options(proxy), "proxy": f"pulsar+ssl://127.0.0.1:{port}", "token": material.tokens["app"]}
        self.assert_all_came_back(clients.run(clients.java_client(options, [topic])), [topic])
        self.assertEqual({("ends", "ok")}, {(line["listener"], line["result"]) for line in proxy.connections()})
