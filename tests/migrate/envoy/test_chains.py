"""Tests for sniproxy.migrate.envoy.chains; tests/peers/test_import_envoy.py compares them with the real Envoy."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.envoyconfig import (
    PROXY_PROTOCOL,
    TLS_INSPECTOR,
    chain,
    cluster,
    filter_of,
    notes,
    one_listener,
    rules,
)

A, B, C = (("a.test:6651",), ("b.test:6651",), ("c.test:6651",))


def prefix(*networks: str) -> list[dict[str, Any]]:
    """Networks as Envoy writes them."""
    return [{"address_prefix": one.partition("/")[0], "prefix_len": int(one.partition("/")[2])} for one in networks]


class NameTests(SynchronousTestCase):
    """Server names."""

    def test_precedence(self) -> None:
        """Exact names, then the longest wildcard, then all names and hellos without one."""
        found = one_listener([chain("a"), chain("b", server_names=["*.w.test", "*.x.w.test"]),
                              chain("c", server_names=["A.w.test", "*.test"])])  # fmt: skip
        self.assertEqual(
            [("a.w.test", C), ("*.x.w.test", B), ("*.w.test", B), ("*.test", C), ("*", A), ("", A)], rules(found)
        )
        self.assertIn("without TLS", notes(found.report, False))

    def test_partial_wildcard(self) -> None:
        """Envoy refuses it, and so do we."""
        for name in ("*", "*w.test", "b.*.test"):
            found = one_listener([chain("a", server_names=[name, "a.test"])])
            self.assertEqual([("a.test", A)], rules(found))
            self.assertIn(name, notes(found.report, True))

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(
        ["a.test", "*.test", "*.a.test", "b.a.test", "", "*.b.a.test"]), max_size=3)), max_size=5))  # fmt: skip
    def test_one_rule_for_each_name(self, written: list[tuple[str, list[str]]]) -> None:
        """Each pattern has one rule, and a pattern precedes those that have its names, too."""
        found = [
            pattern for pattern, _ in rules(one_listener([chain(to, server_names=names) for to, names in written]))
        ]
        self.assertEqual(len(found), len(set(found)))
        for number, pattern in enumerate(found):
            for later in found[number + 1 :]:
                self.assertFalse(pattern.startswith("*.") and later.endswith(pattern[1:]), (pattern, later))


class PortTests(SynchronousTestCase):
    """Destination ports."""

    def test_ports(self) -> None:
        """Chains for the listener's port hide those for all ports; those for another port get nothing."""
        chains = [
            chain("a", destination_port=4443, server_names=["*.test"]),
            chain("b"),
            chain("c", destination_port=1),
        ]
        found = one_listener(chains)
        self.assertEqual([("*.test", A)], rules(found))
        self.assertIn("never reached", notes(found.report, False))
        self.assertIn("for port 1", notes(found.report, False))
        self.assertEqual([("*", B), ("", B)], rules(one_listener(chains[1:])))

    def test_what_a_route_cannot_match(self) -> None:
        """Chains for addresses, ports of clients and the like are left out; those for all addresses are not."""
        for match in ({"prefix_ranges": prefix("10.0.0.0/8")}, {"source_ports": [1]}, {"source_type": "EXTERNAL"}):
            found = one_listener([chain("a", **match)])
            self.assertEqual([], rules(found))
            self.assertIn("a route cannot match", notes(found.report, True))
        for match in ({"prefix_ranges": prefix("0.0.0.0/0")}, {"source_type": "ANY"}):
            self.assertEqual([("*", A), ("", A)], rules(one_listener([chain("a", **match)])))


class ProtocolTests(SynchronousTestCase):
    """Transport and application protocols."""

    def test_transport(self) -> None:
        """A chain for TLS precedes one for any transport; if there are only others, the names are refused."""
        names = ["a.test"]
        both = [chain("a", server_names=names), chain("b", server_names=names, transport_protocol="tls")]
        self.assertEqual([("a.test", B)], rules(one_listener(both)))
        raw = [chain("a", server_names=["*.test"]), chain("b", server_names=names, transport_protocol="raw_buffer")]
        self.assertEqual([("a.test", ()), ("*.test", A)], rules(one_listener(raw)))
        self.assertNotIn("without TLS", notes(one_listener([chain("a", transport_protocol="tls")]).report))

    def test_application_protocols(self) -> None:
        """Chains for some protocols are left out; without another chain the names are refused."""
        names = ["a.test"]
        h2 = chain("b", server_names=names, application_protocols=["h2", "x"])
        found = one_listener([chain("a", server_names=names), h2])
        self.assertEqual([("a.test", A)], rules(found))
        self.assertIn("h2 or x (ALPN)", notes(found.report, True))
        self.assertEqual([("a.test", ())], rules(one_listener([h2])))


class SourceTests(SynchronousTestCase):
    """Clients."""

    def test_networks(self) -> None:
        """They become C{only_from}."""
        for key in ("source_prefix_ranges", "direct_source_prefix_ranges"):
            found = one_listener([chain("a", server_names=["a.test"], **{key: prefix("10.1.2.3/8", "fd00::/8")})])
            self.assertEqual(("10.0.0.0/8", "fd00::/8"), found.rules[0].only_from)
            self.assertEqual("", notes(found.report, True))

    def test_bad_network(self) -> None:
        """It is written as it is: the check of the result names it."""
        found = one_listener([chain("a", server_names=["a.test"], source_prefix_ranges=prefix("x/8"))])
        self.assertEqual(("x/8",), found.rules[0].only_from)

    def test_same_destination(self) -> None:
        """Chains for different clients of the same targets are one."""
        found = one_listener([
            chain("a", server_names=["a.test"], source_prefix_ranges=prefix("10.0.0.0/8")),
            chain("a", server_names=["a.test"], source_prefix_ranges=prefix("192.0.2.0/24")),
        ])  # fmt: skip
        self.assertEqual(("10.0.0.0/8", "192.0.2.0/24"), found.rules[0].only_from)
        self.assertEqual("", notes(found.report, True))

    def test_destination_by_client(self) -> None:
        """The chain for all clients is taken, or the first; the others are reported."""
        limited = chain("a", server_names=["a.test"], source_prefix_ranges=prefix("10.0.0.0/8"))
        found = one_listener([limited, chain("b", server_names=["a.test"])])
        self.assertEqual([("a.test", B)], rules(found))
        self.assertIsNone(found.rules[0].only_from)
        self.assertIn("one destination for all its clients", notes(found.report, True))
        other = chain("b", server_names=["a.test"], source_prefix_ranges=prefix("192.0.2.0/24"))
        found = one_listener([limited, other])
        self.assertEqual(([("a.test", A)], ("10.0.0.0/8",)), (rules(found), found.rules[0].only_from))

    def test_peer_and_client(self) -> None:
        """Networks of the peer cannot be matched where a header names the client."""
        limited = chain("a", server_names=["a.test"], direct_source_prefix_ranges=prefix("10.0.0.0/8"))
        found = one_listener([limited], listener_filters=[PROXY_PROTOCOL, TLS_INSPECTOR])
        self.assertIsNone(found.rules[0].only_from)
        self.assertIn("direct_source_prefix_ranges", notes(found.report, True))


class ClusterTests(SynchronousTestCase):
    """C{sni_cluster}."""

    def test_names(self) -> None:
        """The clusters that the pattern has are names; the others of the pattern are refused."""
        named = filter_of("network", "sni_cluster", "SniCluster")
        clusters = [
            cluster("a", "10.0.0.1:1"),
            cluster("a.test", "10.0.0.2:1"),
            cluster("b.test", type="ORIGINAL_DST"),
            cluster("c.example"),
        ]
        found = one_listener([chain("a", named, server_names=["*.test", "a.test"])], *clusters)
        expected = [("a.test", ("10.0.0.2:1",)), ("b.test", ()), ("a.test", ("10.0.0.2:1",)), ("*.test", ())]
        self.assertEqual(sorted(expected), sorted(rules(found)))
        self.assertIn("while it runs", notes(found.report, True))


class MatcherTests(SynchronousTestCase):
    """C{filter_chain_matcher}; test_matchers.py has its parts."""

    def test_chains(self) -> None:
        """It names chains; names without one are refused, or get the default chain."""
        action = {"action": {"typed_config": {"value": "first"}}}
        missing = {"action": {"typed_config": {"value": "other"}}}
        server_name = {"typed_config": {"@type": "x.ServerNameInput"}}
        tree = {"input": server_name, "exact_match_map": {"map": {"a.test": action, "missing.test": missing}}}
        chains = [{**chain("a"), "name": "first"}]
        found = one_listener(chains, filter_chain_matcher={"matcher_tree": tree})
        self.assertEqual([("missing.test", ()), ("a.test", A)], rules(found))
        found = one_listener(chains, filter_chain_matcher={"matcher_tree": tree}, default_filter_chain=chain("b"))
        self.assertEqual([("missing.test", ()), ("a.test", A), ("*", B), ("", B)], rules(found))


class ClientTests(SynchronousTestCase):
    """C{rbac}."""

    def test_networks(self) -> None:
        """They are C{only_from}; if the match has others, too, these are taken."""
        principals = [{"remote_ip": one} for one in prefix("10.0.0.0/8")]
        policy = {"permissions": [{"any": True}], "principals": principals}
        limit = filter_of("network", "rbac", "RBAC", rules={"policies": {"p": policy}})
        found = one_listener([chain("a", limit, server_names=["a.test"])])
        self.assertEqual((("10.0.0.0/8",), ""), (found.rules[0].only_from, notes(found.report, True)))
        limited = chain("a", limit, server_names=["a.test"], source_prefix_ranges=prefix("192.0.2.0/24"))
        found = one_listener([limited])
        self.assertEqual(("192.0.2.0/24",), found.rules[0].only_from)
        self.assertIn("both limit clients", notes(found.report, True))


class DefaultTests(SynchronousTestCase):
    """C{default_filter_chain}."""

    def test_names(self) -> None:
        """It gets what no chain matches."""
        h2 = chain("b", server_names=["a.test"], application_protocols=["h2"])
        found = one_listener([chain("a", server_names=["*.test"]), h2], default_filter_chain=chain("c"))
        self.assertEqual([("a.test", C), ("*.test", A), ("*", C), ("", C)], rules(found))

    def test_behind_a_chain_for_all(self) -> None:
        """A chain without a match hides it."""
        found = one_listener([chain("a")], default_filter_chain=chain("c"))
        self.assertEqual([("*", A), ("", A)], rules(found))

    def test_other_clients(self) -> None:
        """A route refuses other clients; Envoy gives them the default chain."""
        limited = chain("a", server_names=["a.test"], source_prefix_ranges=prefix("10.0.0.0/8"))
        found = one_listener([limited], default_filter_chain=chain("c"))
        self.assertEqual([("a.test", A), ("*", C), ("", C)], rules(found))
        self.assertIn("other clients go to default_filter_chain", notes(found.report, True))
