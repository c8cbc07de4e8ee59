"""`sniproxyctl explain --connect` with real brokers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.material import SERVICE_NAME
from tests.peers.proxy import configuration


class ExplainTests(PulsarTestCase):
    """The command before any client connects."""

    def setUp(self) -> None:
        """Skip the test without brokers."""
        super().setUp()
        self.cluster = self.lab.cluster
        folder = self.lab.new_folder()
        self.config = folder / "sniproxy.toml"
        self.config.write_text(configuration(lab.routes(self.cluster), 4443, folder / "access.jsonl"))

    def explain(self, *arguments: str) -> tuple[int, str]:
        """Run the command. Returns the exit status and its output."""
        program = Path(sys.executable).with_name("sniproxyctl")
        command = [str(program), "explain", "--config", str(self.config), "--connect", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout

    def test_brokers(self) -> None:
        """Each broker is dialled by its own name; its certificate covers that name and the service name."""
        for broker in self.cluster.brokers:
            status, said = self.explain(broker.name, "--also", SERVICE_NAME)
            self.assertEqual(0, status, said)
            for words in (
                f"connected  to 127.0.0.1:{broker.tls} in ",
                f"certificate for {broker.name}, ",
                f"covers     {broker.name}: yes",
                f"covers     {SERVICE_NAME}: yes",
                "would be routed",
            ):
                self.assertIn(words, said)

    def test_service(self) -> None:
        """The service name leads to all brokers, without problems."""
        status, said = self.explain(SERVICE_NAME, "--json")
        (report,) = json.loads(said)
        self.assertEqual((0, [], True), (status, report["problems"], report["routed"]))
        wanted = [f"127.0.0.1:{broker.tls}" for broker in self.cluster.brokers]
        self.assertEqual(wanted, [target["dialled"]["address"] for target in report["targets"]])

    def test_not_routed(self) -> None:
        """A name without a route is refused, and a name without a certificate is a problem."""
        status, said = self.explain("broker-9.pulsar.test")
        self.assertEqual(1, status)
        self.assertIn("REFUSED", said)
        name = self.cluster.brokers[0].name
        status, said = self.explain(name, "--also", "proxy.example.com")
        self.assertEqual(1, status)
        self.assertIn("the certificate does not cover proxy.example.com", said)
