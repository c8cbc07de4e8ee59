"""Exports to Envoy on the real Envoy, and imported again: the same names reach the same backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sniproxy.config.parser import parse
from sniproxy.config.schema import convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate.envoy import read
from sniproxy.migrate.export.envoy import write
from tests.peers.cluster import free_ports
from tests.peers.envoycase import NAMES, EnvoyCase
from tests.peers.envoyserver import Envoy, validate
from tests.support.differential import differences, reached
from tests.support.envoyconfig import (
    as_json,
    bootstrap,
    chain,
    listener,
)
from tests.support.importedroutes import toml_of


class ExportTests(EnvoyCase):
    """This proxy's configurations, exported to Envoy."""

    def assert_exported(self, toml: str, ports: Mapping[str, int], names: Iterable[str | None] = NAMES) -> str:
        """Both proxies connect each name to the same backend. @return: the exported text."""
        parse(toml, "sniproxy.toml")
        text = write(convert(loads(toml), "sniproxy.toml")).text
        self.assertEqual("", validate(self, text))
        Envoy(self, text, list(ports.values()))
        ours = self.ours(toml, ports)
        envoy = {name: ("127.0.0.1", port) for name, port in ports.items()}
        self.assertEqual([], differences(names, ours, envoy))
        return text

    def test_names_and_wildcards(self) -> None:
        """Routes of all listeners and of one, weights, spares, C{{port}}, and C{[default]} for all other hellos."""
        first, second = free_ports(2)
        for name in ("broker", "wide", "inner", "any", "spare"):
            self.backends.add(name)
        at = self.backends.addresses
        toml = f"""
[[listener]]
endpoint = "tcp:{first}:interface=127.0.0.1"
name = "first"
[[listener]]
endpoint = "tcp:{second}:interface=127.0.0.1"
name = "second"
[[route]]
server_name = "broker-1.pulsar.test"
target = ["{at["broker"]} weight=3", "{at["spare"]} weight=0"]
[[route]]
server_name = "*.pulsar.test"
target = "{at["wide"]}"
[[route]]
server_name = "*.pulsar.test"
listener = "second"
target = "{at["inner"]}"
balance = "least_connections"
[[route]]
server_name = "*.eu.pulsar.test"
resolver = "none"
[default]
target = "{at["any"]}"
[no_server_name]
target = "{at["any"]}"
[resolver.none]
type = "refuse"
"""
        text = self.assert_exported(toml, {"first": first, "second": second})
        self.assertIn("filter_chain_match", text)
        self.assertNotIn("filter_chain_matcher", text)

    def test_expressions_and_a_default_without_nameless_hellos(self) -> None:
        """Expressions are tried in order after wildcards; a hello without a name is refused."""
        (port,) = free_ports(1)
        for name in ("exact", "wide", "numbers", "letters", "any"):
            self.backends.add(name)
        at = self.backends.addresses
        toml = f"""
[[listener]]
endpoint = "tcp:{port}:interface=127.0.0.1"
name = "public"
[[route]]
server_name = "broker-1.pulsar.test"
target = "{at["exact"]}"
[[route]]
server_name = "*.eu.pulsar.test"
target = "{at["wide"]}"
[[route]]
server_name = '~Broker-[0-9]+[.].*'
target = "{at["numbers"]}"
[[route]]
server_name = '~(?:a|broker)[a-z0-9.-]*[.]test'
target = "{at["letters"]}"
[default]
target = "{at["any"]}"
"""
        text = self.assert_exported(toml, {"public": port})
        again, _ = toml_of(read, {"envoy.yaml": text})
        ours = self.ours(again, {"public": port})
        self.assertEqual([], differences(NAMES, {"public": ("127.0.0.1", port)}, ours))

    def test_only_hellos_without_a_name(self) -> None:
        """C{[no_server_name]} alone, and with routes."""
        (port,) = free_ports(1)
        for name in ("none", "one"):
            self.backends.add(name)
        at = self.backends.addresses
        listening = f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\nname = "public"\n'
        nameless = f'[no_server_name]\ntarget = "{at["none"]}"\n'
        route = f'[[route]]\nserver_name = "broker-1.pulsar.test"\ntarget = "{at["one"]}"\n'
        self.assert_exported(listening + route + nameless, {"public": port})

    def test_clients(self) -> None:
        """C{only_from}, by the match of a chain, and by a filter where an expression needs the matcher."""
        for pattern in ("*.pulsar.test", "~.*[.]pulsar[.]test"):
            (port,) = free_ports(1)
            self.backends.add("limited")
            toml = f"""
[[listener]]
endpoint = "tcp:{port}:interface=127.0.0.1"
name = "public"
[[route]]
server_name = "{pattern}"
target = "{self.backends.addresses["limited"]}"
only_from = ["127.0.0.2/32"]
"""
            self.assert_exported(toml, {"public": port}, ["a.pulsar.test", "b.test", None])
            found = [reached(("127.0.0.1", port), "a.pulsar.test", source=f"127.0.0.{one}") for one in (2, 3)]
            self.assertEqual("limited", found[0])
            self.assertIn(found[1], ("closed", "reset"))

    def test_headers_health_and_limits(self) -> None:
        """Envoy accepts PROXY protocol in both directions, health checks, ejection and limits, and still routes."""
        (port,) = free_ports(1)
        self.backends.add("one")
        toml = f"""
[[listener]]
endpoint = "tcp:{port}:interface=127.0.0.1"
name = "public"
proxy_protocol = "optional"
[[route]]
server_name = "a.test"
target = "{self.backends.addresses["one"]}"
send_proxy = "v2"
max_connections = 10
[[route]]
server_name = "name.test"
target = ["localhost:6651", "b.invalid:6651 weight=2"]
[health]
check = "tcp"
eject = 10
[limits]
max_connections = 1000
[timeouts]
idle = 0
hello = 2.5
"""
        self.assert_exported(toml, {"public": port}, ["a.test", "b.test"])

    def test_round_trip(self) -> None:
        """What Envoy gets from the export of an import is what it had."""
        (port,) = free_ports(1)
        chains = [chain("wide", server_names=["*.test"]), chain("one", server_names=["a.test", "*.pulsar.test"])]
        text = as_json(bootstrap([listener("public", port, chains)], self.clusters("wide", "one")))
        toml, _ = toml_of(read, {"envoy.json": text})
        self.assert_exported(toml, {"public": port})
