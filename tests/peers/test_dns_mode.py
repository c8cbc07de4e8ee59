"""DNS mode: clients without a proxy option; the brokers' names resolve to the proxy, and brokers advertise its port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.needs import require, require_private_hosts


class DnsModeTests(PulsarTestCase):
    """Each client has its own /etc/hosts, in which every name is 127.0.0.1."""

    def check(self, command: Callable[[Mapping[str, object], Sequence[str]], list[str]], **options: object) -> None:
        """Assert that the client uses topics of both brokers."""
        private = require_private_hosts()
        hosts = self.lab.new_folder() / "hosts"
        clients.write_hosts(hosts, [SERVICE_NAME, *BROKER_NAMES])
        cluster = self.lab.cluster
        topics = cluster.topic_of_each(f"public/default/dns-{command.__name__}")
        proxy = self.proxy(lab.routes(cluster, dns=True), cluster.dns_port)
        base = {"url": f"pulsar+ssl://{SERVICE_NAME}:{proxy.port}", "trust": self.lab.material.trust}
        client = command({**base, **options}, list(topics.values()))
        outcome = clients.run([*private, str(hosts), *client])
        self.assert_all_came_back(outcome, topics.values())
        self.assertEqual(set(proxy.names(SERVICE_NAME, *topics)), {SERVICE_NAME, *topics})

    def test_java(self) -> None:
        """The Java client, which verifies host names."""
        self.check(clients.java_client, verify=True)

    def test_python(self) -> None:
        """The Python client, which verifies host names."""
        require(parts=["python"])
        self.check(clients.python_client, verify=True)

    def test_go(self) -> None:
        """The Go client."""
        require(parts=["go"])
        self.check(clients.go_client)
