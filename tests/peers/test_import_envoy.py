"""Envoy's configurations on the real Envoy, and imported on this proxy: the same names reach the same backends."""

from __future__ import annotations

import re
from typing import Any
from urllib.request import urlopen

from sniproxy.migrate.detect import detect
from sniproxy.migrate.envoy import read
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import SourceFile
from tests.peers.cluster import free_ports
from tests.peers.envoycase import NAMES, EnvoyCase
from tests.peers.envoyserver import Envoy
from tests.support.differential import differences, reached
from tests.support.envoyconfig import (
    API,
    PROXY_PROTOCOL,
    TLS_INSPECTOR,
    address,
    as_json,
    bootstrap,
    chain,
    filter_of,
    listener,
    tcp_proxy,
)
from tests.support.importedroutes import toml_of
from tests.support.sockets import TIMEOUT_S


class ImportTests(EnvoyCase):
    """Envoy's configurations, imported."""

    def test_names(self) -> None:
        """There are at least 200 names, all different."""
        self.assertGreaterEqual(len(set(NAMES)), 200)

    def test_exact_and_wildcard_names(self) -> None:
        """The exact name wins, then the longest wildcard, in any order of chains and case; others are refused."""
        (port,) = free_ports(1)
        chains = [
            chain("wide", server_names=["*.test"]),
            chain("pulsar", server_names=["*.pulsar.test", "*.Example.COM"]),
            chain("broker", server_names=["Broker-1.pulsar.test", "a.pulsar.test", "_sip.odd_one.test"]),
            chain("eu", server_names=["*.eu.pulsar.test"], transport_protocol="tls"),
            chain("com", server_names=["com", "w.example.com"]),
        ]
        clusters = self.clusters("wide", "pulsar", "broker", "eu", "com")
        text = as_json(bootstrap([listener("public", port, chains)], clusters))
        self.assert_same(text, {"public": port})

    def test_no_way_back(self) -> None:
        """A chain whose name matches and whose other conditions do not hides the less specific chains."""
        (port,) = free_ports(1)
        here, elsewhere = ([{"address_prefix": address, "prefix_len": 32}] for address in ("127.0.0.2", "127.0.0.3"))
        chains = [
            chain("any"),
            chain("wide", server_names=["*.pulsar.test"]),
            chain("raw", server_names=["broker-1.pulsar.test"], transport_protocol="raw_buffer"),
            chain("alpn", server_names=["broker-2.pulsar.test"], application_protocols=["h2"]),
            chain("here", server_names=["broker-3.pulsar.test"], source_prefix_ranges=here),
            chain("elsewhere", server_names=["broker-4.pulsar.test"], source_prefix_ranges=elsewhere),
            chain("direct", server_names=["broker-5.pulsar.test"], direct_source_prefix_ranges=here),
            chain("refusing", server_names=["*.eu.pulsar.test"]),
        ]
        clusters = self.clusters("any", "wide", "raw", "alpn", "here", "elsewhere", "direct")
        text = as_json(bootstrap([listener("public", port, chains)], clusters))
        envoy, ours = self.both(text, {"public": port})
        self.assertEqual([], differences(NAMES, envoy, ours))
        for name in ("broker-3.pulsar.test", "broker-4.pulsar.test", "broker-5.pulsar.test", "broker-6.pulsar.test"):
            for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                found = [reached(one["public"], name, source=source) for one in (envoy, ours)]
                found = [one if one in self.backends.addresses else "refused" for one in found]
                self.assertEqual(found[0], found[1], (name, source))

    def test_default_chain(self) -> None:
        """C{default_filter_chain} gets names without a chain, and those whose chains do not match."""
        (port,) = free_ports(1)
        last = {"filters": chain("last")["filters"]}
        chains = [
            chain("pulsar", server_names=["*.pulsar.test"]),
            chain("alpn", server_names=["broker-2.pulsar.test"], application_protocols=["h2"]),
        ]
        clusters = self.clusters("pulsar", "alpn", "last")
        text = as_json(bootstrap([listener("public", port, chains, default_filter_chain=last)], clusters))
        self.assert_same(text, {"public": port})

    def test_two_listeners_and_ports(self) -> None:
        """Chains for a port hide those for all ports; each listener has its own names."""
        first, second, third = free_ports(3)
        shared = [
            chain("first", destination_port=first, server_names=["*.pulsar.test"]),
            chain("second", destination_port=second, server_names=["*.pulsar.test", "a.example.com"]),
            chain("general", server_names=["a.example.com", "*.test"]),
        ]
        more = [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": third}}}]
        listeners = [
            listener("first", first, shared),
            listener("second", second, shared, additional_addresses=more),
        ]
        text = as_json(bootstrap(listeners, self.clusters("first", "second", "general")))
        self.assert_same(text, {"first": first, "second": second, "second-2": third})

    def test_clusters_by_name(self) -> None:
        """With C{sni_cluster} the server name is the name of the cluster; a name without a cluster is refused."""
        (port,) = free_ports(1)
        named = {"name": "sni", "typed_config": {"@type": f"{API}.filters.network.sni_cluster.v3.SniCluster"}}
        chains = [chain("any", named), chain("wide", named, server_names=["*.pulsar.test"]),
                  chain("one", server_names=["a.pulsar.test"])]  # fmt: skip
        names = ("any", "wide", "one", "broker-1.pulsar.test", "a.pulsar.test", "broker-1.example.com")
        text = as_json(bootstrap([listener("public", port, chains)], self.clusters(*names)))
        self.assert_same(text, {"public": port})

    def test_yaml_in_camel_case(self) -> None:
        """YAML with comments and C{lowerCamelCase} keys."""
        (port,) = free_ports(1)
        for name in ("one", "two"):
            self.backends.add(name)
        text = YAML.format(port=port, one=self.backends.port("one"), two=self.backends.port("two"))
        self.assert_same(text, {"public": port})

    def test_without_tls_inspector(self) -> None:
        """Names are not matched, and every connection goes to the chain without a match."""
        (port,) = free_ports(1)
        chains = [chain("any"), chain("named", server_names=["*.test"])]
        clusters = self.clusters("any", "named")
        text = as_json(bootstrap([listener("public", port, chains, listener_filters=[])], clusters))
        self.assert_same(text, {"public": port})

    def test_proxy_protocol(self) -> None:
        """The header is read, and its client is the one that chains match."""
        (port,) = free_ports(1)
        inner = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
        chains = [chain("inner", server_names=["*.test"], source_prefix_ranges=inner)]
        filters = [PROXY_PROTOCOL, TLS_INSPECTOR]
        text = as_json(bootstrap([listener("public", port, chains, listener_filters=filters)], self.clusters("inner")))
        envoy, ours = self.both(text, {"public": port})
        for client, expected in (("10.0.0.7", "inner"), ("192.0.2.7", "")):
            header = f"PROXY TCP4 {client} 192.0.2.1 4444 4443\r\n".encode()
            for one in (envoy, ours):
                found = reached(one["public"], "a.test", header)
                self.assertEqual(expected, found if found == "inner" else "", client)

    def test_header_for_the_target(self) -> None:
        """The target gets a PROXY protocol header of the same version."""
        (port,) = free_ports(1)
        chains, clusters = [], []
        for version in ("V1", "V2"):
            transport = {
                "name": "envoy.transport_sockets.upstream_proxy_protocol",
                "typed_config": {
                    "@type": f"{API}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                    "config": {"version": version},
                    "transport_socket": {
                        "name": "envoy.transport_sockets.raw_buffer",
                        "typed_config": {"@type": f"{API}.transport_sockets.raw_buffer.v3.RawBuffer"},
                    },
                },
            }
            chains.append(chain(version, server_names=[f"{version.lower()}.test"]))
            clusters += self.clusters(version, transport_socket=transport)
        text = as_json(bootstrap([listener("public", port, chains)], clusters))
        self.assert_same(text, {"public": port}, ["v1.test", "v2.test", "v3.test"])
        toml, _ = toml_of(read, {"envoy.yaml": text})
        self.assertEqual(["v1", "v2"], re.findall(r'send_proxy = "(\w+)"', toml))

    def test_dynamic_forward_proxy(self) -> None:
        """The name is the host, once its network is allowed."""
        (port,) = free_ports(1)
        self.backends.add("local")
        cache = {"name": "names", "dns_lookup_family": "V4_ONLY"}
        dynamic = {
            "name": "sni",
            "typed_config": {
                "@type": f"{API}.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
                "port_value": self.backends.port("local"),
                "dns_cache_config": cache,
            },
        }
        dialled = {
            "name": "dynamic",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {
                "name": "envoy.clusters.dynamic_forward_proxy",
                "typed_config": {
                    "@type": f"{API}.clusters.dynamic_forward_proxy.v3.ClusterConfig",
                    "dns_cache_config": cache,
                },
            },
        }
        text = as_json(bootstrap([listener("public", port, [chain("dynamic", dynamic)])], [dialled]))
        envoy, ours = self.both(text, {"public": port}, 'allow_cidrs = ["127.0.0.0/8"]\n')
        # Once: this proxy takes a second connection with the same random bytes for a loop.
        self.assertEqual(["local", "local"], [reached(one["public"], "LocalHost") for one in (envoy, ours)])
        self.assertEqual([], differences([None, "name.invalid"], envoy, ours))

    def test_matcher(self) -> None:
        """C{filter_chain_matcher}: domains in a tree, then expressions, suffixes and all names; C{rbac} in a chain."""
        (port,) = free_ports(1)
        matching = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput"
        given = {"name": "sni", "typed_config": {"@type": matching}}

        def to(name: str) -> dict[str, Any]:
            value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": name}
            return {"action": {"name": name, "typed_config": value}}

        def when(name: str, **value: Any) -> dict[str, Any]:
            return {"predicate": {"single_predicate": {"input": given, "value_match": value}}, "on_match": to(name)}

        domains = {
            "name": "domains",
            "typed_config": {
                "@type": "type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher",
                "domain_matchers": [
                    {"domains": ["*.pulsar.test", "a.example.com"], "on_match": to("one")},
                    {"domains": ["broker-1.pulsar.test", "*.eu.pulsar.test"], "on_match": to("two")},
                ],
            },
        }
        expression = {"google_re2": {}, "regex": "(?i)[a-z]+[.](?:w[.])?example[.]com"}
        listed = [when("three", safe_regex=expression), when("one", suffix=".test"), when("three", exact="1.test")]
        matcher = {
            "matcher_tree": {"input": given, "custom_match": domains},
            "on_no_match": {"matcher": {"matcher_list": {"matchers": listed}, "on_no_match": to("two")}},
        }
        here = {"remote_ip": {"address_prefix": "127.0.0.1", "prefix_len": 32}}
        policy = {"permissions": [{"any": True}], "principals": [here]}
        rules = {"action": "ALLOW", "policies": {"clients": policy}}
        limit = filter_of("network", "rbac", "RBAC", stat_prefix="r", rules=rules)
        chains = [{"name": name, "filters": [limit, tcp_proxy(name)]} for name in ("one", "two", "three")]
        text = as_json(
            bootstrap(
                [listener("public", port, chains, filter_chain_matcher=matcher)], self.clusters("one", "two", "three")
            )
        )
        envoy, ours = self.both(text, {"public": port})
        self.assertEqual([], differences(NAMES, envoy, ours))
        for one in (envoy, ours):
            self.assertNotIn(reached(one["public"], "a.pulsar.test", source="127.0.0.2"), self.backends.addresses)

    def test_configuration_dump(self) -> None:
        """What Envoy's admin interface prints becomes the same routes as its file."""
        port, admin = free_ports(2)
        chains = [chain("one", server_names=["*.pulsar.test"]), chain("two")]
        written = bootstrap([listener("public", port, chains)], self.clusters("one", "two"))
        text = as_json({**written, "admin": {"address": address(admin)}})
        Envoy(self, text, [port, admin])
        with urlopen(f"http://127.0.0.1:{admin}/config_dump?include_eds", timeout=TIMEOUT_S) as answer:
            dump = answer.read().decode()
        self.assertIs(Format.ENVOY, detect([SourceFile("dump", dump)]))
        toml, notes = toml_of(read, {"dump": dump})
        self.assertEqual([], [note.text for note in notes if note.decides])
        expected, _ = toml_of(read, {"envoy.yaml": text})
        without_places = [re.sub(r" *#.*", "", one) for one in (expected, toml)]
        self.assertEqual(without_places[0], without_places[1])

    def test_documented_differences(self) -> None:
        """A trailing dot is a part of the name in Envoy; an address as a name matches a chain for all names there."""
        (port,) = free_ports(1)
        chains = [chain("any"), chain("dot", server_names=["a.test"]), chain("ip", server_names=["10.0.0.7"])]
        text = as_json(bootstrap([listener("public", port, chains)], self.clusters("any", "dot", "ip")))
        envoy, ours = self.both(text, {"public": port})
        expected = {"a.test.": ("any", "dot"), "10.0.0.8": ("any", "alert unrecognized_name"), "10.0.0.7": ("ip", "ip")}
        for name, answers in expected.items():
            self.assertEqual(answers, (reached(envoy["public"], name), reached(ours["public"], name)), name)


YAML = """# A bootstrap as people write it.
staticResources:
  listeners:
    - name: public
      address: {{socketAddress: {{address: 127.0.0.1, portValue: "{port}"}}}}
      listenerFiltersTimeout: 3s
      listenerFilters:
        - name: envoy.filters.listener.tls_inspector
          typedConfig: {{"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
      filterChains:
        - filterChainMatch: {{serverNames: ["*.pulsar.test", a.example.com]}}
          filters:
            - name: envoy.filters.network.tcp_proxy
              typedConfig:
                "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                statPrefix: one
                cluster: one
                idleTimeout: 7200s
        - filterChainMatch: {{serverNames: [broker-1.pulsar.test], transportProtocol: tls}}
          filters:
            - name: envoy.filters.network.tcp_proxy
              typedConfig:
                "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                statPrefix: two
                cluster: two
  clusters:
    - name: one
      connectTimeout: 2.5s
      loadAssignment:
        clusterName: one
        endpoints:
          - lbEndpoints: [{{endpoint: {{address: {{socketAddress: {{address: 127.0.0.1, portValue: {one}}}}}}}}}]
    - name: two
      type: STRICT_DNS
      dnsLookupFamily: V4_ONLY
      connectTimeout: 2s
      loadAssignment:
        clusterName: two
        endpoints:
          - lbEndpoints: [{{endpoint: {{address: {{socketAddress: {{address: localhost, portValue: {two}}}}}}}}}]
"""
