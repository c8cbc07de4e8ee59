"""The listeners of pulsar-values.yaml in examples/kubernetes, with a real broker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.peers.case import PulsarTestCase
from tests.peers.cluster import free_ports
from tests.peers.material import BROKER_NAMES
from tests.support.kubernetes import broker_values

NAME = BROKER_NAMES[0]
TIMEOUT_S = 60


class ListenerTests(PulsarTestCase):
    """A broker with a TLS port for the cluster, and one for clients from outside."""

    def lookup(self, port: int) -> str:
        """Look a topic up at a port of the broker. Returns the last line: the topic, and the owner's URL."""
        options = ["--proxy-service-url", f"pulsar+ssl://127.0.0.1:{port}", "--proxy-protocol", "sni"]
        options += ["--service-url", f"pulsar+ssl://{NAME}", "--trust", str(self.lab.material.trust)]
        command = [
            str(Path(sys.executable).with_name("sniproxyctl")),
            "lookup",
            "persistent://public/default/t",
            *options,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
        return ran.stdout.splitlines()[-1]

    def test_listeners(self) -> None:
        """Each port is answered with the names of its own listener, so clients inside the cluster notice nothing."""
        plain, inside, outside = free_ports(3)
        host = "$(POD_NAME).pulsar-broker-headless.pulsar.svc.cluster.local"
        replaced = {
            f"{host}:6650": f"{NAME}:{plain}",
            f"{host}:6651": f"{NAME}:{inside}",
            "$(POD_NAME).pulsar.example.com": NAME,
            "0.0.0.0:6652": f"127.0.0.1:{outside}",
        }
        settings = {"brokerServicePort": str(plain), "brokerServicePortTls": str(inside)}
        for key, value in broker_values().items():
            for before, after in replaced.items():
                value = value.replace(before, after)
            self.assertNotRegex(value, "POD_NAME|665[02]|cluster.local")
            settings[key] = value
        self.start_cluster(settings, name="recipe", brokers=(NAME,))
        self.assertEqual(f"persistent://public/default/t  pulsar+ssl://{NAME}:6651", self.lookup(outside))
        self.assertEqual(f"persistent://public/default/t  pulsar+ssl://{NAME}:{inside}", self.lookup(inside))
