"""Geo-replication (PIP-60): two real clusters that reach each other through the proxy.

With PEERS_LONG=1 (`make peers-long`) more is restarted, more often, with more messages.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.peers import clients, geo, lab
from tests.peers.case import PulsarTestCase
from tests.peers.children import ChildError
from tests.peers.cluster import Broker, Cluster
from tests.peers.geo import NAMESPACE, Geo, Traffic, wait_until, ways
from tests.peers.material import BROKER_NAMES, OTHER_BROKER_NAMES, OTHER_SERVICE_NAME, SERVICE_NAME, UNCERTIFIED_NAME
from tests.peers.needs import require, require_private_hosts
from tests.peers.proxy import Connection, Proxy

LONG = os.environ.get("PEERS_LONG") == "1"
#: How often something is restarted, and how many messages of each sender and topic have to cross before it goes on.
ROUNDS, COUNT = (6, 500) if LONG else (1, 100)

#: What replicators ask the proxy for: in front of west, and in front of east.
WEST_NAMES = {OTHER_SERVICE_NAME, *OTHER_BROKER_NAMES}
EAST_NAMES = {SERVICE_NAME, *BROKER_NAMES}


class GeoTestCase(PulsarTestCase):
    """A test with both clusters."""

    def setUp(self) -> None:
        """Skip the test without brokers."""
        super().setUp()
        self.geo: Geo = geo.shared()
        self.geo.mend()

    def doors(self, *clusters: Cluster) -> Proxy:
        """Start a proxy in front of the clusters, for the replicators."""
        proxy = self.geo.proxy(*clusters)
        self.addCleanup(proxy.stop)
        return proxy

    def traffic(self, topics: Sequence[str]) -> Traffic:
        """Start clients of both clusters with their own proxy, so that other connections are the replicators'."""
        routes = {name: targets for one in self.geo.clusters for name, targets in lab.routes(one).items()}
        traffic = Traffic(self.lab.material.trust, topics, ways(self.geo, self.proxy(routes)))
        self.addCleanup(traffic.stop)
        return traffic

    def assert_nothing_lost(self, report: dict[str, Any]) -> None:
        """Assert that all confirmed messages have arrived in both clusters, in order per key."""
        self.assertEqual((report["missing"], report["misordered"]), (0, 0), report)
        self.assertEqual(report["crossed"], report["sent"])


class ReplicationTests(GeoTestCase):
    """Messages in both directions."""

    def test_one_proxy_for_both(self) -> None:
        """One proxy leads to both clusters; it receives the service name and the name of each broker."""
        proxy = self.doors(*self.geo.clusters)
        traffic = self.traffic(self.geo.topics("both"))
        traffic.go()
        traffic.wait_until_crossing(COUNT)
        report = traffic.finish()
        self.assert_nothing_lost(report)
        # Nothing comes twice, where nothing was ended.
        self.assertEqual(report["duplicates"], 0)
        proxy.stop()
        self.assertEqual(asked(proxy.connections(), "public"), EAST_NAMES)
        self.assertEqual(asked(proxy.connections(), "public-2"), WEST_NAMES)

    def test_proxies_restart(self) -> None:
        """With one proxy per cluster, replicators reconnect after a restart of a proxy."""
        east, west = self.geo.clusters
        before_east, before_west = self.doors(east), self.doors(west)
        traffic = self.traffic(self.geo.topics("restarts"))
        traffic.go()
        for _ in range(ROUNDS):
            traffic.wait_until_crossing(COUNT)
            before_west.kill()
            before_west = self.doors(west)
            traffic.wait_until_crossing(COUNT)
            before_east.stop()
            self.assertEqual(asked(before_east.connections(), "public"), EAST_NAMES)
            before_east = self.doors(east)
            traffic.wait_until_crossing(COUNT)
        self.assert_nothing_lost(traffic.finish())
        before_west.stop()
        self.assertEqual(asked(before_west.connections(), "public"), WEST_NAMES)

    def test_when_a_broker_dies(self) -> None:
        """When a broker is killed, its topics are replicated by the other one, and to the other one."""
        east = self.geo.east
        _, dying = east.brokers
        owned = east.topic_of_each(f"{NAMESPACE}/dies")
        proxy = self.doors(*self.geo.clusters)
        traffic = self.traffic(list(owned.values()))
        traffic.go()
        for _ in range(ROUNDS):
            # The last is left to the next test: a broker starts slowly while messages need the machine too.
            if east.revive():
                east.move(owned[dying.name].removeprefix("persistent://"), dying)
            traffic.wait_until_crossing(COUNT)
            east.kill(dying)
            traffic.wait_until_crossing(COUNT)
        self.assert_nothing_lost(traffic.finish())
        self.assertIn(
            (dying.name, "connect_failed"), [(line["server_name"], line["result"]) for line in proxy.connections()]
        )


class AdminTests(GeoTestCase):
    """HTTPS, which PIP-60 does not cover: the brokers' names resolve to the proxy, with a separate listener."""

    def test_partitioned_topic(self) -> None:
        """A partitioned topic of one cluster is created in the other, through the proxy."""
        proxy = self.doors(*self.geo.clusters)
        for here, there in (self.geo.clusters, self.geo.clusters[::-1]):
            topic = f"{NAMESPACE}/of-{here.name}"
            here.admin("PUT", f"/admin/v2/persistent/{topic}/partitions", 3)
            wait_until(functools.partial(has_partitioned, there, topic), f"{topic} in {there.name}")
        proxy.stop()
        self.assertIn(OTHER_SERVICE_NAME, asked(proxy.connections(), "admin-2"))
        self.assertIn(SERVICE_NAME, asked(proxy.connections(), "admin"))

    def test_curl(self) -> None:
        """A request, and the redirect to another broker, both pass the proxy."""
        require("curl")
        proxy = self.doors(self.geo.east)
        port = self.geo.doors["east"].admin
        topic = self.geo.east.topic_of_each(f"{NAMESPACE}/curl")[BROKER_NAMES[1]].replace("://", "/")
        self.geo.east.admin("PUT", f"/admin/v2/{topic}")
        url = f"https://{BROKER_NAMES[0]}:{port}/admin/v2/{topic}/stats"
        # What a name server would do for an administrator: every name is the proxy.
        resolve = ["--connect-to", f"::127.0.0.1:{port}", "--cacert", str(self.lab.material.trust)]
        said = subprocess.run(
            ["curl", "--silent", "--show-error", "--location", *resolve, url],
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertIn("west", json.loads(said.stdout or "{}").get("replication", {}), said.stdout + said.stderr)
        proxy.names(*BROKER_NAMES)
        self.assertEqual(asked(proxy.connections(), "admin"), set(BROKER_NAMES))

    def test_java_looks_up_by_https(self) -> None:
        """A Java client with an https:// service URL looks topics up through the proxy."""
        proxy = self.doors(self.geo.east)
        topics = self.geo.east.topic_of_each(f"{NAMESPACE}/https")
        url = f"https://{SERVICE_NAME}:{self.geo.doors['east'].admin}"
        options = {"url": url, "trust": self.lab.material.trust, "verify": True, "mode": "lookup"}
        java, *rest = clients.java_client({**options, "listener": "external"}, list(topics.values()))
        # From 4.2 on Netty resolves the name, by /etc/hosts; in 4.0 the JDK does.
        private = [*require_private_hosts(), str(self.geo.hosts)]
        outcome = clients.run([*private, java, f"-Djdk.net.hosts.file={self.geo.hosts}", *rest])
        self.assertEqual([report.get("owner") for report in outcome.reports], list(topics), outcome.log)
        self.assertIn(SERVICE_NAME, proxy.names(SERVICE_NAME))


class MistakeTests(GeoTestCase):
    """The symptoms of wrong cluster data; docs/howto/geo-replication.md lists them."""

    def attempt(self, name: str, **changes: object) -> tuple[Proxy, Broker, str]:
        """Configure west at east under a new name, with changes, and replicate a topic to it.

        Returns the proxy, which has no route for west's brokers, the responsible broker, and the topic. The admin API,
        without which 4.2 and later replicate nothing, passes the proxy.
        """
        east, west = self.geo.clusters
        targets = lab.routes(west)[west.service_name]
        more = ["[timeouts]", "drain = 0", *self.geo.admin_door("admin", west)]
        proxy = self.proxy({west.service_name: targets, UNCERTIFIED_NAME: targets}, more="\n".join(more) + "\n")
        data = {**self.geo.cluster_data(west), "proxyServiceUrl": proxy.url, **changes}
        east.admin("PUT", f"/admin/v2/clusters/{name}", data)
        tenant = east.admin("GET", "/admin/v2/tenants/public")
        east.admin(
            "POST", "/admin/v2/tenants/public", {**tenant, "allowedClusters": [*tenant["allowedClusters"], name]}
        )
        namespace = f"public/{name}"
        west.create_namespace(namespace)
        east.create_namespace(namespace, [name])
        # Otherwise it would be tried until the end of the run.
        end = (f"/admin/v2/namespaces/{namespace}/replication", [east.name])
        self.addCleanup(east.admin, "POST", *end)
        return proxy, east.owner(f"{namespace}/t"), f"persistent/{namespace}/t"

    def first(self, proxy: Proxy) -> Connection:
        """The first connection in the access log that is no request to the admin API."""

        def at_the_door(log: list[Connection]) -> list[Connection]:
            return [line for line in log if line["listener"] == "public"]

        return at_the_door(proxy.connections(lambda log: bool(at_the_door(log))))[0]

    def test_no_tls(self) -> None:
        """Without TLS neither brokerServiceUrlTls nor the proxy is used; without a plain URL topics do not load."""
        proxy, _, topic = self.attempt("without-tls", brokerClientTlsEnabled=False)
        failure = self.assertRaises(ChildError, self.geo.east.admin, "PUT", f"/admin/v2/{topic}")
        self.assertIn("Param serviceUrl must not be blank", str(failure))
        proxy.stop()
        self.assertEqual(asked(logged(proxy), "public"), set())

    def test_no_protocol(self) -> None:
        """Without proxyProtocol the proxy is not used: the broker resolves the service name."""
        proxy, broker, topic = self.attempt("without-protocol", proxyProtocol=None)
        self.geo.east.admin("PUT", f"/admin/v2/{topic}")
        # 4.x names the replicator before the message, 5.0 after it.
        words = ("without-protocol", "Failed to create remote producer", "Exception")
        self.geo.east.jvm(broker).wait_for(
            lambda lines: next((line for line in lines if all(word in line for word in words)), None), repr(words)
        )
        proxy.stop()
        self.assertEqual(asked(logged(proxy), "public"), set())

    def test_certificate(self) -> None:
        """If the remote broker's certificate does not cover the name, the handshake fails; the proxy logs ok."""
        url = f"pulsar+ssl://{UNCERTIFIED_NAME}:6651"
        proxy, broker, topic = self.attempt("without-name", brokerServiceUrlTls=url)
        self.geo.east.admin("PUT", f"/admin/v2/{topic}")
        self.geo.east.jvm(broker).wait_for_text(f"No subject alternative DNS name matching {UNCERTIFIED_NAME}")
        first = self.first(proxy)
        self.assertEqual((first["server_name"], first["result"]), (UNCERTIFIED_NAME, "ok"))

    def test_no_route(self) -> None:
        """Without a route for a broker's name the lookup succeeds, and the connect phase gets an alert."""
        proxy, broker, topic = self.attempt("without-route")
        self.geo.east.admin("PUT", f"/admin/v2/{topic}")
        self.geo.east.jvm(broker).wait_for_text("TLSV1_ALERT_UNRECOGNIZED_NAME")
        first = self.first(proxy)
        refused = (OTHER_BROKER_NAMES[0], "no_route", "unrecognized_name")
        self.assertEqual((first["server_name"], first["result"], first["alert"]), refused)


def has_partitioned(cluster: Cluster, topic: str) -> bool:
    """Whether the topic (`public/default/t`) is partitioned in the cluster."""
    namespace, _, _ = topic.rpartition("/")
    return f"persistent://{topic}" in cluster.admin("GET", f"/admin/v2/persistent/{namespace}/partitioned")


def logged(proxy: Proxy) -> list[Connection]:
    """The access log of a proxy that has stopped; it may be empty."""
    return [json.loads(line) for line in proxy.access_log.read_text().splitlines()]


def asked(log: Sequence[Connection], listener: str) -> set[str]:
    """The server names that the listener has received."""
    return {line["server_name"] for line in log if line["listener"] == listener}
