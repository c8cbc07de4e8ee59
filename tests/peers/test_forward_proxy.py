"""Real clients through two proxies: a forward proxy in their network, and a reverse proxy in front of the brokers."""

from __future__ import annotations

from collections.abc import Iterable

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.needs import require, require_private_hosts
from tests.peers.proxy import Proxy

NAMES = [SERVICE_NAME, *BROKER_NAMES]


class ForwardProxyTests(PulsarTestCase):
    """The hello passes both unchanged, and each routes by its name."""

    def by_name(self, last: Proxy, policy: str) -> Proxy:
        """A forward proxy for which every name is 127.0.0.1, and whose target port is the second proxy's."""
        hosts = self.lab.new_folder() / "hosts"
        clients.write_hosts(hosts, NAMES)
        routes = {"*.test": [f"{{server_name}}:{last.port}"]}
        inside = [*require_private_hosts(), str(hosts)]
        proxy = Proxy(
            self.lab.new_folder(), routes, more=f"[policy]\nallow_ports = [{last.port}]\n{policy}", inside=inside
        )
        self.addCleanup(proxy.stop)
        return proxy

    def assert_same(self, first: Proxy, last: Proxy, names: Iterable[str]) -> None:
        """Assert that both proxies logged these names with equal byte counts."""
        expected = sorted(names)
        seen = []
        for proxy in (first, last):
            logged = proxy.connections(lambda log: len(log) >= len(expected))
            self.assertEqual(expected, sorted(line["server_name"] for line in logged))
            self.assertEqual({"ok"}, {line["result"] for line in logged}, logged)
            seen.append(sorted((line["server_name"], line["bytes_up"], line["bytes_down"]) for line in logged))
        self.assertEqual(*seen)

    def test_java_by_name(self) -> None:
        """Java through a forward proxy without configured brokers: it dials the names, as its policy allows."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/forward").values()
        last = self.proxy(lab.routes(cluster))
        first = self.by_name(last, 'allow_cidrs = ["127.0.0.0/8"]\nallow_names = ["*.test"]\n')
        self.assert_all_came_back(self.java(first, topics), topics)
        self.assert_same(first, last, NAMES)
        targets = {line["target"] for line in first.connections()}
        self.assertEqual({f"{name}:{last.port}" for name in NAMES}, targets)

    def test_java_to_one_proxy(self) -> None:
        """Java through a forward proxy whose only target is the next proxy."""
        cluster = self.lab.cluster
        topics = cluster.topic_of_each("public/default/chain").values()
        last = self.proxy(lab.routes(cluster))
        first = self.proxy({"*.test": [f"127.0.0.1:{last.port}"]})
        self.assert_all_came_back(self.java(first, topics), topics)
        self.assert_same(first, last, NAMES)

    def test_python_in_dns_mode(self) -> None:
        """Python, for which names resolve to the forward proxy; the brokers advertise that proxy's port."""
        require(parts=["python"])
        private = require_private_hosts()
        hosts = self.lab.new_folder() / "hosts"
        clients.write_hosts(hosts, NAMES)
        cluster = self.lab.cluster
        topics = list(cluster.topic_of_each("public/default/chain-dns").values())
        last = self.proxy(lab.routes(cluster, dns=True))
        first = self.proxy({"*.test": [f"127.0.0.1:{last.port}"]}, cluster.dns_port)
        options = {"url": f"pulsar+ssl://{SERVICE_NAME}:{first.port}", "trust": self.lab.material.trust, "verify": True}
        outcome = clients.run([*private, str(hosts), *clients.python_client(options, topics)])
        self.assert_all_came_back(outcome, topics)
        self.assertLessEqual(set(NAMES), set(first.names(*NAMES)))
        self.assertEqual(sorted(first.names(*NAMES)), sorted(last.names(*first.names())))

    def test_denied(self) -> None:
        """Without a policy a name that resolves to loopback is denied, and the next proxy gets no connection."""
        last = self.proxy({SERVICE_NAME: ["127.0.0.1:9"]})
        first = self.by_name(last, "")
        self.failure(self.java(first, ["persistent://public/default/denied"], timeout=4))
        logged = first.connections()
        refusals = {(line["server_name"], line["result"], line["alert"]) for line in logged}
        self.assertEqual({(SERVICE_NAME, "denied", "access_denied")}, refusals)
        self.assertIn("127.0.0.1: the address is loopback (127.0.0.0/8)", logged[0]["reason"])
        self.assertEqual("", last.access_log.read_text())
