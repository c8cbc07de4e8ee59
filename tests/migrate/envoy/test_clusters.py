"""Tests for sniproxy.migrate.envoy.clusters."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy.clusters import Cluster, read_clusters
from sniproxy.migrate.envoy.sources import gather
from sniproxy.migrate.model import Notes, SourceFile
from tests.support.envoyconfig import API, address, as_json, bootstrap, cluster, listener, notes, tls_socket


class ClusterTests(SynchronousTestCase):
    """One cluster at a time."""

    def setUp(self) -> None:
        self.report = Notes()

    def read(self, written: dict[str, Any], *resources: dict[str, Any]) -> Cluster:
        document = {**bootstrap([listener("one", 1, [])], [written]), "resources": list(resources)}
        sources = gather([SourceFile("envoy.yaml", as_json(document))], self.report)
        return read_clusters(sources, self.report, {written["name"]})[written["name"]]

    def of(self, *localities: dict[str, Any], **more: Any) -> Cluster:
        return self.read({"name": "a", "load_assignment": {"endpoints": list(localities)}, **more})

    def test_endpoints(self) -> None:
        """Addresses and names become targets."""
        found = self.read(cluster("a", "10.0.0.1:6651", "b.test:6652"))
        self.assertEqual([("10.0.0.1:6651", 1), ("b.test:6652", 1)], found.targets)
        self.assertEqual(
            (None, None, None, ""), (found.balance, found.send_proxy, found.max_connections, found.unusable)
        )
        self.assertEqual("", notes(self.report))

    def test_ipv6(self) -> None:
        """An IPv6 address gets brackets."""
        found = self.of({"lb_endpoints": [{"endpoint": {"address": address(6651, "fd00::1")}}]})
        self.assertEqual([("[fd00::1]:6651", 1)], found.targets)

    def test_weights_and_priorities(self) -> None:
        """Weights count in the first priority; the others are spares, in their order."""
        found = self.of(
            {"priority": 2, "lb_endpoints": [{"endpoint": {"address": address(3)}}]},
            {"lb_endpoints": [endpoint(1, load_balancing_weight=4), endpoint(2, load_balancing_weight=2)]},
            {"priority": 1, "lb_endpoints": [endpoint(4), endpoint(1)]},
        )
        self.assertEqual(
            [("127.0.0.1:1", 2), ("127.0.0.1:2", 1), ("127.0.0.1:4", 0), ("127.0.0.1:3", 0)], found.targets
        )
        self.assertIn("spares", notes(self.report, False))

    def test_localities(self) -> None:
        """Weights of localities count only where the cluster says so."""
        localities = (
            {"load_balancing_weight": 3, "lb_endpoints": [endpoint(1)]},
            {"load_balancing_weight": 1, "lb_endpoints": [endpoint(2)]},
        )
        self.assertEqual([("127.0.0.1:1", 1), ("127.0.0.1:2", 1)], self.of(*localities).targets)
        found = self.of(*localities, common_lb_config={"locality_weighted_lb_config": {}})
        self.assertEqual([("127.0.0.1:1", 3), ("127.0.0.1:2", 1)], found.targets)

    def test_unhealthy_endpoints(self) -> None:
        """An endpoint that is written as unhealthy gets no connections."""
        found = self.of({"lb_endpoints": [endpoint(1, health_status="DRAINING"), endpoint(2)]})
        self.assertEqual([("127.0.0.1:2", 1)], found.targets)

    def test_addresses_that_are_no_targets(self) -> None:
        """Each is reported, and decides."""
        for written in (
            {"pipe": {"path": "/run/x"}},
            {"socket_address": {"address": "a.test", "named_port": "tls"}},
            {"socket_address": {"address": "a.test", "port_value": 0}},
            {"socket_address": {"address": "a test", "port_value": 1}},
        ):
            self.report.notes.clear()
            found = self.of({"lb_endpoints": [{"endpoint": {"address": written}}, {}]})
            self.assertEqual("it has no usable endpoint", found.unusable)
            self.assertEqual(1, notes(self.report, True).count("\n") + 1, written)

    def test_old_hosts(self) -> None:
        """Old versions wrote endpoints as hosts."""
        found = self.read({"name": "a", "hosts": [address(1), address(2)]})
        self.assertEqual([("127.0.0.1:1", 1), ("127.0.0.1:2", 1)], found.targets)

    def test_types(self) -> None:
        """DNS clusters are taken, with the difference; those that are known only at run time are not."""
        for keys in (
            {"type": "STRICT_DNS"}, {"type": "LOGICAL_DNS"},
            {"cluster_type": {"name": "x", "typed_config": {"@type": f"{API}.clusters.dns.v3.DnsCluster"}}},
            {"cluster_type": {"name": "envoy.cluster.strict_dns"}},
        ):  # fmt: skip
            self.report.notes.clear()
            self.assertEqual("", self.read({**cluster("a", "a.test:1"), **keys}).unusable)
            self.assertIn("tried in order", notes(self.report))
        for keys in ({"type": "ORIGINAL_DST"}, {"cluster_type": {"name": "envoy.clusters.aggregate"}}):
            self.assertIn("while it runs", self.read({"name": "a", **keys}).unusable)
        self.assertIn("no load_assignment", self.read({"name": "a"}).unusable)
        dynamic = {"name": "envoy.clusters.dynamic_forward_proxy"}
        self.assertTrue(self.read({"name": "a", "cluster_type": dynamic}).dynamic)

    def test_eds(self) -> None:
        """Endpoints of EDS come from a file that has them."""
        written = {"name": "a", "type": "EDS", "eds_cluster_config": {"service_name": "svc"}}
        self.assertIn("no file has them", self.read(written).unusable)
        resource = {"@type": "x.ClusterLoadAssignment", "cluster_name": "svc"}
        found = self.read(written, {**resource, "endpoints": [{"lb_endpoints": [endpoint(1)]}]})
        self.assertEqual([("127.0.0.1:1", 1)], found.targets)

    def test_balance(self) -> None:
        """Two policies have a counterpart; the others are reported."""
        policy = {"typed_config": {"@type": f"{API}.load_balancing_policies.least_request.v3.LeastRequest"}}
        ring = {"name": "envoy.load_balancing_policies.ring_hash"}
        for keys, expected, reported in (
            ({"lb_policy": "ROUND_ROBIN"}, None, False),
            ({"lb_policy": "LEAST_REQUEST"}, "least_connections", False),
            ({"lb_policy": 1}, "least_connections", False),
            ({"lb_policy": "RANDOM"}, None, True),
            ({"lb_policy": "MAGLEV"}, None, True),
            ({"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}, "least_connections", False),
            ({"load_balancing_policy": {"policies": [{"typed_extension_config": ring}]}}, None, True),
            ({"load_balancing_policy": {"policies": [{}]}}, None, False),
        ):
            self.report.notes.clear()
            self.assertEqual(expected, self.read({**cluster("a", "10.0.0.1:1"), **keys}).balance, keys)
            self.assertEqual(reported, "in turn" in notes(self.report), keys)

    def test_limits(self) -> None:
        """The limit of the default priority."""
        thresholds = [{"priority": "HIGH", "max_connections": 1}, {"max_connections": 7}]
        found = self.read({**cluster("a", "10.0.0.1:1"), "circuit_breakers": {"thresholds": thresholds}})
        self.assertEqual(7, found.max_connections)
        found = self.read({**cluster("a", "10.0.0.1:1"), "circuit_breakers": {"thresholds": thresholds[:1]}})
        self.assertIsNone(found.max_connections)

    def test_transports(self) -> None:
        """A PROXY protocol header, TLS, both, and what has no counterpart."""
        header = f"{API}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
        raw = {"name": "envoy.transport_sockets.raw_buffer"}
        tls = tls_socket("Upstream")
        for transport, expected in (
            (raw, (None, False, "")),
            (tls, (None, True, "")),
            ({"name": "envoy.transport_sockets.upstream_proxy_protocol"}, ("v1", False, "")),
            (
                {"typed_config": {"@type": header, "config": {"version": "V2"}, "transport_socket": raw}},
                ("v2", False, ""),
            ),
            ({"typed_config": {"@type": header, "transport_socket": tls}}, ("v1", True, "")),
            ({"name": "envoy.transport_sockets.quic"}, (None, False, "Envoy speaks quic to its endpoints")),
        ):
            found = self.read({**cluster("a", "10.0.0.1:1"), "transport_socket": transport})
            self.assertEqual(expected, (found.send_proxy, found.tls is not None, found.unusable))

    def test_unused_cluster(self) -> None:
        """A cluster that no chain leads to is not reported."""
        document = bootstrap([listener("one", 1, [])], [{**cluster("a"), "odd": 1}])
        report = Notes()
        found = read_clusters(gather([SourceFile("envoy.yaml", as_json(document))], report), report, set())
        self.assertEqual(("", []), (found["a"].unusable, found["a"].targets))
        self.assertEqual([], report.notes)
        self.assertEqual("envoy.yaml:24 cluster a", str(found["a"].place))


def endpoint(port: int, **more: Any) -> dict[str, Any]:
    """An endpoint on loopback."""
    return {"endpoint": {"address": address(port)}, **more}
