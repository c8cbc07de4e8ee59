"""Tests for sniproxy.migrate.envoy; tests/peers/test_import_envoy.py compares imports with the real Envoy."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy import read
from sniproxy.migrate.formed import PRIVATE
from sniproxy.migrate.model import Kind, MigrateError, SourceFile
from tests.support.envoyconfig import (
    as_json,
    bootstrap,
    chain,
    cluster,
    filter_of,
    imported,
    listener,
    notes,
    one_listener,
    tcp_proxy,
)
from tests.support.importedroutes import route_of, toml_of

WORDS = [
    "static_resources", "listeners", "clusters", "filter_chains", "filter_chain_match", "server_names", "filters",
    "name", "typed_config", "@type", "cluster", "weighted_clusters", "address", "socket_address", "port_value",
    "load_assignment", "endpoints", "lb_endpoints", "endpoint", "transport_socket", "listener_filters",
    "source_prefix_ranges", "configs", "resources", "health_checks", "outlier_detection", "default_filter_chain",
    "additional_addresses", "policies",
]  # fmt: skip
TEXTS = st.sampled_from(
    ["tcp_proxy", "a", "*.a.test", "x.tcp_proxy.v3.TcpProxy", "tls_inspector", "127.0.0.1", "::", "5s", "4443", "EDS"]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 99999) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=30,
)


class ReadTests(SynchronousTestCase):
    """Whole files."""

    def test_routes(self) -> None:
        """An import is a configuration that this proxy takes."""
        first = listener("one", 4443, [chain("a", server_names=["a.test", "*.w.test"])])
        clusters = [cluster("a", "10.0.0.1:6651"), cluster("b", "10.0.0.2:6651")]
        text = as_json(bootstrap([first, listener("two", 4444, [chain("b")])], clusters))
        toml, _ = toml_of(read, {"envoy.json": text})
        for name, at, expected in (
            ("a.test", "one", ["10.0.0.1:6651"]), ("b.w.test", "one", ["10.0.0.1:6651"]), ("w.test", "one", []),
            ("a.test", "two", ["10.0.0.2:6651"]), (None, "two", ["10.0.0.2:6651"]), (None, "one", []),
        ):  # fmt: skip
            self.assertEqual(expected, route_of(toml, name, at), (name, at))
        self.assertIn("# envoy.json:", toml)

    def test_names_of_listeners(self) -> None:
        """Each has its own."""
        listeners = [listener("one", 1, [chain("a")]), listener("one", 2, [chain("a")]), listener("", 3, [chain("a")])]
        found = imported(bootstrap(listeners, [cluster("a", "10.0.0.1:1")]))
        self.assertEqual(["one", "one-2", "listener-3"], [table.name for _, table in found.listeners])

    def test_names_as_hosts(self) -> None:
        """Where names form targets, the private networks and the port are allowed."""
        dynamic = {"name": "dfp", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy"}}
        named = filter_of("network", "sni_dynamic_forward_proxy", "FilterConfig", port_value=6651)
        found = one_listener([{"filters": [named, tcp_proxy("dfp")]}], dynamic)
        assert found.policy is not None
        self.assertEqual((list(PRIVATE), [6651]), (found.policy.allow_cidrs, found.policy.allow_ports))

    def test_report(self) -> None:
        """What was taken is there, too, and each note once."""
        found = one_listener([chain("a", server_names=["a.test"])], additional_addresses=[{"address": {}}])
        self.assertIn("listener public: 1 filter chain", notes(found.report))
        self.assertEqual(1, sum(note.kind == Kind.TAKEN for note in found.report.notes))
        self.assertEqual(len(set(found.report.notes)), len(found.report.notes))

    def test_default_chain_uses_its_cluster(self) -> None:
        """A cluster that only the default chain uses is reported."""
        found = one_listener([], cluster("a", "10.0.0.1:1", odd=1), default_filter_chain=chain("a"))
        self.assertIn("odd of cluster a", notes(found.report))

    @settings(max_examples=40)
    @given(DOCUMENTS)
    def test_any_document(self, document: Any) -> None:
        """A document of any form is read, or is refused with a reason."""
        self.attempt(as_json(document))
        self.attempt(as_json({"static_resources": {"listeners": [document], "clusters": [document]}}))
        self.attempt(as_json(one_chain(document)))

    @settings(max_examples=40)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """So is any text."""
        self.attempt(text)

    def attempt(self, text: str) -> None:
        try:
            read([SourceFile("x", text)])
        except MigrateError as error:
            self.assertTrue(str(error).startswith("x"))


def one_chain(document: object) -> dict[str, Any]:
    """A bootstrap with a document in each place of a chain and a cluster."""
    whole = chain("a", server_names=["a.test"])
    whole["filters"][0]["typed_config"]["weighted_clusters"] = document
    whole["filter_chain_match"]["source_prefix_ranges"] = document
    written = cluster("a", "10.0.0.1:1", transport_socket=document, health_checks=document, outlier_detection=document)
    return bootstrap([listener("one", 1, [whole, chain("a")], listener_filters=document)], [written])
