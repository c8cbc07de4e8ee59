"""Brokers stop and start while the real Java client runs: resolvers follow the cluster, and nothing is lost.

With PEERS_LONG=1 (`make peers-long`) this happens to each of them, more often, and with more messages.
"""

from __future__ import annotations

import json
import os

from tests.peers import geo
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import Site
from tests.peers.material import SERVICE_NAME
from tests.peers.proxy import Proxy
from tests.peers.resolvertable import ROUTES, table

LONG = os.environ.get("PEERS_LONG") == "1"
#: How often brokers are killed, and how many messages of each client and topic have to arrive before it goes on.
ROUNDS, COUNT = (3, 500) if LONG else (1, 100)


class ChurnTests(PulsarTestCase):
    """Two clients of one cluster, each with a proxy and another type of resolver."""

    def test_churn(self) -> None:
        """The leader, or each broker in turn, is killed and restarted: all messages arrive, in order per key, and each
        name leads to its broker.
        """
        (cluster,) = self.lab.start([Site("churn", apart=True, storage_apart=True)], geo.SETTINGS)
        self.addCleanup(cluster.stop)
        zookeeper = {
            "type": "zookeeper",
            "servers": f"127.0.0.1:{cluster.zookeeper}",
            "service_name": SERVICE_NAME,
            "listener": "external",
        }
        asks = self.proxy({}, more=table(cluster))
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in zookeeper.items()]
        watches = self.proxy({}, more=f"{ROUTES}[resolver.brokers]\n{''.join(lines)}")
        owned = cluster.topic_of_each("public/default/churn")
        ways = [(SERVICE_NAME, asks), (SERVICE_NAME, watches)]
        traffic = geo.Traffic(self.lab.material.trust, list(owned.values()), ways)
        self.addCleanup(traffic.stop)
        traffic.go()
        traffic.wait_until_crossing(COUNT)
        for _ in range(ROUNDS):
            for broker in cluster.brokers if LONG else [cluster.leader()]:
                said = {proxy: len(proxy.said) for proxy in (asks, watches)}
                cluster.kill(broker)
                said = {proxy: told(proxy, broker.name, "removed", said[proxy]) for proxy in said}
                traffic.wait_until_crossing(COUNT)
                cluster.revive()
                for proxy, lines_before in said.items():
                    told(proxy, broker.name, "added", lines_before)
                cluster.move(owned[broker.name].removeprefix("persistent://"), broker)
                traffic.wait_until_crossing(COUNT)
        report = traffic.finish()
        self.assertEqual((report["missing"], report["misordered"]), (0, 0), report)
        self.assertEqual(report["crossed"], report["sent"])
        traffic.stop()
        tls = {broker.name: f"localhost:{broker.tls}" for broker in cluster.brokers}
        for proxy in (asks, watches):
            proxy.stop()
            led = {(line["server_name"], line["target"]) for line in proxy.connections() if line["server_name"] in tls}
            self.assertEqual(set(tls.items()), led)


def told(proxy: Proxy, name: str, what: str, after: int) -> int:
    """Wait until the proxy logs this about a broker, after this many lines. Returns the number of lines."""

    def found(lines: list[str]) -> int | None:
        numbers = range(after, len(lines))
        return next((n + 1 for n in numbers if f"{name} (" in lines[n] and what in lines[n]), None)

    return proxy._process.wait_for(found, f"{name} {what}", 60.0)
