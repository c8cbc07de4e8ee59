"""Tests for sniproxy.migrate.envoy.filters."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Imported
from tests.support.envoyconfig import (
    API,
    bootstrap,
    cluster,
    filter_of,
    imported,
    listener,
    notes,
    one_listener,
    rules,
    tcp_proxy,
    tls_socket,
)

HEADER = {
    "typed_config": {
        "@type": f"{API}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "config": {"version": "V2"},
    }
}


def through(*filters: dict[str, Any], clusters: list[dict[str, Any]] | None = None) -> Imported:
    """The import of a chain with these filters for C{a.test}."""
    chain = {"filter_chain_match": {"server_names": ["a.test"]}, "filters": list(filters)}
    return one_listener([chain], *(clusters or []))


class DestinationTests(SynchronousTestCase):
    """Where a chain leads."""

    def test_one_cluster(self) -> None:
        """The cluster's targets."""
        self.assertEqual([("a.test", ("b.test:6651",))], rules(through(tcp_proxy("b"))))

    def test_weighted_clusters(self) -> None:
        """Shares of clusters and of their endpoints; a cluster of weight 0 gets none."""
        clusters = [cluster("a", "10.0.0.1:1", "10.0.0.2:1"), cluster("b", "10.0.0.3:1"), cluster("c", "10.0.0.4:1")]
        found = through(tcp_proxy({"a": 50, "b": 50, "c": 0}), clusters=clusters)
        self.assertEqual([("a.test", ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1 weight=2"))], rules(found))
        self.assertIn("max_connect_attempts is 1 in Envoy", notes(found.report))

    def test_spares(self) -> None:
        """Spares of all clusters come last, unless another cluster uses them."""
        written = cluster("a", "10.0.0.1:1")
        endpoint = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.2", "port_value": 1}}}}
        written["load_assignment"]["endpoints"].append({"priority": 1, "lb_endpoints": [endpoint]})
        self.assertEqual(
            [("a.test", ("10.0.0.1:1", "10.0.0.2:1 weight=0"))], rules(through(tcp_proxy("a"), clusters=[written]))
        )
        found = through(tcp_proxy({"a": 1, "b": 1}), clusters=[written, cluster("b", "10.0.0.2:1")])
        self.assertEqual([("a.test", ("10.0.0.1:1", "10.0.0.2:1"))], rules(found))

    def test_unusable_clusters(self) -> None:
        """A cluster that is missing or without endpoints loses its share; alone, the names are refused."""
        found = through(tcp_proxy({"a": 1, "x": 1}))
        self.assertEqual([("a.test", ("a.test:6651",))], rules(found))
        self.assertIn("x: no file has this cluster; its share goes to the other clusters", notes(found.report, True))
        found = through(tcp_proxy("a"), clusters=[cluster("a", type="ORIGINAL_DST")])
        self.assertEqual([("a.test", ())], rules(found))
        self.assertIn("its connections are refused", notes(found.report, True))
        self.assertEqual([("a.test", ())], rules(through(tcp_proxy({}))))

    def test_empty_clusters(self) -> None:
        """A cluster that is written without endpoints refuses, as in Envoy; its share goes to the others."""
        found = through(tcp_proxy("a"), clusters=[cluster("a")])
        self.assertEqual(([("a.test", ())], ""), (rules(found), notes(found.report, True)))
        found = through(tcp_proxy({"a": 1, "b": 1}), clusters=[cluster("a"), cluster("b", "10.0.0.1:1")])
        self.assertEqual([("a.test", ("10.0.0.1:1",))], rules(found))
        self.assertIn("a has no endpoint: its share", notes(found.report, False))

    def test_clusters_that_differ(self) -> None:
        """Targets with and without a header cannot be mixed; one balance is for all."""
        clusters = [cluster("a", "10.0.0.1:1"), cluster("b", "10.0.0.2:1", transport_socket=HEADER)]
        found = through(tcp_proxy({"a": 1, "b": 1}), clusters=clusters)
        self.assertEqual([("a.test", ("10.0.0.1:1",))], rules(found))
        self.assertIn("those unlike the first are left out", notes(found.report, True))
        clusters = [cluster("a", "10.0.0.1:1", lb_policy="LEAST_REQUEST"), cluster("b", "10.0.0.2:1")]
        found = through(tcp_proxy({"a": 1, "b": 1}), clusters=clusters)
        self.assertEqual("least_connections", found.rules[0].balance)
        self.assertIn("all are balanced as a", notes(found.report, False))

    def test_header(self) -> None:
        """The target gets a header."""
        found = through(tcp_proxy("a"), clusters=[cluster("a", "10.0.0.1:1", transport_socket=HEADER)])
        self.assertEqual("v2", found.rules[0].send_proxy)

    def test_tls_towards_endpoints(self) -> None:
        """Around the client's TLS it has no counterpart."""
        clusters = [cluster("a", "10.0.0.1:1", transport_socket=tls_socket("Upstream"))]
        found = through(tcp_proxy("a"), clusters=clusters)
        self.assertEqual([("a.test", ())], rules(found))
        self.assertIn("Envoy adds TLS", notes(found.report, True))

    def test_keys_of_tcp_proxy(self) -> None:
        """Attempts differ; what chooses endpoints otherwise decides; others are left out."""
        more: dict[str, Any] = {"max_connect_attempts": 3, "on_demand": {"odcds_config": {}}, "hash_policy": [{"a": 1}]}
        found = through(tcp_proxy("a", **more))
        self.assertIn("max_connect_attempts is 3 in Envoy", notes(found.report, False))
        self.assertIn("hash_policy of tcp_proxy has no counterpart", notes(found.report, False))
        self.assertIn("on_demand has no counterpart", notes(found.report, True))


class OtherFilterTests(SynchronousTestCase):
    """Filters before C{tcp_proxy}, or without one."""

    def test_no_tcp_proxy(self) -> None:
        """The names are refused, and that is reported."""
        found = through(filter_of("network", "http_connection_manager", "HttpConnectionManager"))
        self.assertEqual([("a.test", ())], rules(found))
        self.assertIn("it has http_connection_manager, and no tcp_proxy", notes(found.report, True))

    def test_filters(self) -> None:
        """A filter that decides about clients or targets decides; one that limits does not."""
        for kind, decides in (("rbac", True), ("ext_authz", True), ("something", True), ("connection_limit", False)):
            found = through(filter_of("network", kind, "Config"), tcp_proxy("a"))
            self.assertIn(kind, notes(found.report, decides))
            self.assertEqual([("a.test", ("a.test:6651",))], rules(found))

    def test_clients(self) -> None:
        """Networks of C{rbac} are the clients; anything else is reported."""
        any_ = [{"any": True}]
        one = {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}
        either = {"or_ids": {"ids": [{"remote_ip": {"address_prefix": "x"}}]}}
        for rules_, expected in (
            ({"policies": {"a": {"permissions": any_, "principals": [one, either]}}}, ("10.0.0.0/8", "x/0")),
            ({"action": "DENY", "policies": {"a": {"permissions": any_, "principals": [one]}}}, None),
            ({"policies": {"a": {"permissions": [{"destination_port": 1}], "principals": [one]}}}, None),
            ({"policies": {"a": {"permissions": any_, "principals": [one], "condition": {"x": 1}}}}, None),
            ({"policies": {"a": {"permissions": any_, "principals": any_}}}, None),
            ({"policies": {}}, None),
            (None, None),
        ):  # fmt: skip
            found = through(filter_of("network", "rbac", "RBAC", rules=rules_), tcp_proxy("a"))
            self.assertEqual(expected, found.rules[0].only_from)
            self.assertEqual(expected is None, "rbac decides" in notes(found.report, True), rules_)

    def test_dynamic_forward_proxy(self) -> None:
        """The name is the host; private networks are allowed, and reported."""
        dynamic = {"name": "dfp", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy"}}
        named = filter_of("network", "sni_dynamic_forward_proxy", "FilterConfig", port_value=6651)
        found = through(named, tcp_proxy("dfp"), clusters=[dynamic])
        self.assertEqual([("a.test", ("{server_name}:6651",))], rules(found))
        assert found.policy is not None
        self.assertEqual([6651], found.policy.allow_ports)
        self.assertIn("names form targets", notes(found.report))
        found = one_listener([{"filters": [named, tcp_proxy("dfp")]}], dynamic)
        self.assertEqual([("*", ("{server_name}:6651",)), ("", ())], rules(found))

    def test_dynamic_forward_proxy_that_cannot_be(self) -> None:
        """Without a port, or without the filter, the names are refused."""
        dynamic = {"name": "dfp", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy"}}
        portless = filter_of("network", "sni_dynamic_forward_proxy", "FilterConfig")
        found = through(portless, tcp_proxy("dfp"), clusters=[dynamic])
        self.assertEqual([("a.test", ())], rules(found))
        self.assertIn("port_value", notes(found.report, True))
        found = through(tcp_proxy("dfp"), clusters=[dynamic])
        self.assertEqual([("a.test", ())], rules(found))
        self.assertIn("without a filter", notes(found.report))

    def test_clusters_by_name(self) -> None:
        """Each cluster is a name; all others are refused. The cluster of the chain gets hellos without a name."""
        named = filter_of("network", "sni_cluster", "SniCluster")
        clusters = [
            cluster("b.test", "10.0.0.1:1"), cluster("b.example", "10.0.0.2:1"), cluster("c.test", type="ORIGINAL_DST"),
            cluster("Upper.test", "10.0.0.3:1"),
        ]  # fmt: skip
        chains: list[dict[str, Any]] = [
            {"filter_chain_match": {"server_names": ["*.test"]}, "filters": [named, tcp_proxy("b.example")]},
            {"filters": [named, tcp_proxy("b.example")]},
        ]
        found = imported(bootstrap([listener("public", 1, chains)], clusters))
        expected = {
            "b.test": ("10.0.0.1:1",), "c.test": (), "*.test": (), "b.example": ("10.0.0.2:1",), "*": (),
            "": ("10.0.0.2:1",),
        }  # fmt: skip
        self.assertEqual(expected, {rule.pattern: tuple(rule.targets) for rule in reversed(found.rules)})
        self.assertIn("names of sni_cluster", notes(found.report, True))
