"""Tests for sniproxy.migrate.export.envoy; tests/peers/test_import_envoy.py runs its files on the real Envoy."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ListenerTable, convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate.envoy import read
from sniproxy.migrate.export.envoy import write
from sniproxy.migrate.export.envoy.termination import downstream, named_upstream, upstream
from tests.support.envoyconfig import notes
from tests.support.importedroutes import route_of, toml_of

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\nname = "public"\n'


class WriteTests(SynchronousTestCase):
    """Whole bootstraps."""

    def write(self, toml: str) -> dict[str, Any]:
        parse(toml, "sniproxy.toml")
        self.exported = write(convert(loads(toml), "sniproxy.toml"))
        found: dict[str, Any] = yaml.safe_load(self.exported.text)
        return found

    def listener(self, toml: str) -> dict[str, Any]:
        (found,) = self.write(toml)["static_resources"]["listeners"]
        assert isinstance(found, dict)
        return found

    def decides(self) -> str:
        return notes(self.exported.report, True)

    def test_chains(self) -> None:
        """Names of the same destination share a chain; one without names is for all other hellos."""
        found = self.listener(
            LISTENER + route("a.test") + route("*.test") + route("b.test", "10.0.0.2")
            + '[default]\ntarget = "10.0.0.1"\n[no_server_name]\ntarget = "10.0.0.1"\n'
        )  # fmt: skip
        self.assertEqual(
            [(["a.test", "*.test"], "a.test"), (None, "a.test"), (["b.test"], "b.test")],
            sorted(
                ((one["filter_chain_match"].get("server_names"), cluster(one)) for one in found["filter_chains"]),
                key=lambda pair: (pair[1], pair[0] is None),
            ),
        )
        self.assertNotIn("filter_chain_matcher", found)
        self.assertEqual("10s", found["listener_filters_timeout"])
        self.assertEqual("", self.decides())

    def test_matcher(self) -> None:
        """A default without the hellos that have no name needs the matcher; clients are limited by a filter."""
        limited = '[default]\ntarget = "10.0.0.1"\nonly_from = ["10.0.0.0/8"]\n'
        found = self.listener(LISTENER + route("~a.*") + limited)
        self.assertIn("filter_chain_matcher", found)
        kinds = [[one["name"].rpartition(".")[2] for one in each["filters"]] for each in found["filter_chains"]]
        self.assertEqual([["tcp_proxy"], ["rbac", "tcp_proxy"]], kinds)
        found = self.listener(LISTENER + route("a.test") + '[no_server_name]\ntarget = "10.0.0.1"\n')
        self.assertEqual("refused", found["filter_chains"][-1]["name"])

    def test_expressions_that_re2_lacks(self) -> None:
        """They are left out, and that decides."""
        found = self.listener(LISTENER + route("~(?!a)b.*"))
        self.assertEqual([], found["filter_chains"])
        self.assertIn("RE2", self.decides())

    def test_clients(self) -> None:
        """Networks are a part of the match; ids of private endpoints have no counterpart."""
        found = self.listener(LISTENER + route("a.test") + 'only_from = ["10.0.0.0/8", "vpce-0123"]\n')
        (chain,) = found["filter_chains"]
        self.assertEqual(
            [{"address_prefix": "10.0.0.0", "prefix_len": 8}], chain["filter_chain_match"]["source_prefix_ranges"]
        )
        self.assertIn("private endpoints", self.decides())
        (chain,) = self.listener(LISTENER + route("a.test") + 'only_from = ["vpce-0123"]\n')["filter_chains"]
        self.assertEqual(32, chain["filter_chain_match"]["source_prefix_ranges"][0]["prefix_len"])

    def test_addresses(self) -> None:
        """Ports and unix sockets; a socket of systemd has no counterpart."""
        for endpoint, expected in (
            ("tcp:4443:interface=127.0.0.1", {"socket_address": {"address": "127.0.0.1", "port_value": 4443}}),
            ("tcp6:4443", {"socket_address": {"address": "::", "port_value": 4443}}),
            ("unix:/run/x.sock:mode=600", {"pipe": {"path": "/run/x.sock"}}),
        ):
            self.assertEqual(expected, self.listener(f'[[listener]]\nendpoint = "{endpoint}"\n')["address"])
        self.write('[[listener]]\nendpoint = "systemd:domain=INET:name=front"\n')
        self.assertIn("systemd", self.decides())

    def test_header(self) -> None:
        """A listener that reads headers."""
        for word, expected in (("required", None), ("optional", True)):
            trusted = f'proxy_protocol = "{word}"\nproxy_protocol_from = ["10.0.0.0/8"]\ninspect = "pulsar"\n'
            plain = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "10.0.0.1"\n'
            found = self.listener(plain + trusted)
            (filter_,) = found["listener_filters"]
            self.assertEqual(expected, filter_["typed_config"].get("allow_requests_without_proxy_protocol"))
            self.assertIn("Envoy trusts every peer", notes(self.exported.report, False))
            self.assertIn("inspect", notes(self.exported.report, False))

    def test_plaintext(self) -> None:
        """A chain without a match, and no inspector."""
        plain = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = ["10.0.0.1", "10.0.0.2"]\n'
        found = self.listener(plain)
        (chain,) = found["filter_chains"]
        self.assertNotIn("filter_chain_match", chain)
        self.assertNotIn("listener_filters", found)
        self.assertEqual(2, chain["filters"][0]["typed_config"]["max_connect_attempts"])

    def test_termination(self) -> None:
        """Chains end TLS, and a filter sets the name by which the target is verified; no name and addresses: none."""
        files = 'certificates = "/a.pem"\nupstream_trust = "/b.pem"\nupstream_certificate = "/c.pem"\n'
        files += '[no_server_name]\ntarget = "10.0.0.9"\n'
        routes = "".join(f'[[route]]\nserver_name = "{name}"\ntarget = "10.0.0.1"\n' for name in ("a.test", "10.0.0.7"))
        found = self.write(LISTENER + files + routes)["static_resources"]
        (chain,) = found["listeners"][0]["filter_chains"]
        self.assertEqual({"server_names": ["a.test"], "transport_protocol": "tls"}, chain["filter_chain_match"])
        self.assertEqual(downstream(ListenerTable("x", certificates="/a.pem")), chain["transport_socket"])
        self.assertEqual(named_upstream(), chain["filters"][0])
        (cluster,) = found["clusters"]
        table = ListenerTable("x", upstream_trust="/b.pem", upstream_certificate="/c.pem")
        self.assertEqual(upstream(table), cluster["transport_socket"])
        self.assertEqual("", self.decides())

    def test_termination_with_a_default(self) -> None:
        """Hellos without a name do not get it."""
        files = 'certificates = "/a.pem"\nupstream_trust = "/b.pem"\n[default]\ntarget = "10.0.0.1"\n'
        (listener,) = self.write(LISTENER + files)["static_resources"]["listeners"]
        self.assertNotIn("on_no_match", listener["filter_chain_matcher"])
        (chain,) = listener["filter_chains"]
        self.assertIn("transport_socket", chain)

    def test_termination_that_is_left_out(self) -> None:
        """With a folder of certificates the listener, with send_proxy the header."""
        found = self.write(LISTENER + 'certificates = "/certs"\nupstream_trust = "/b.pem"\n')
        self.assertEqual([], found["static_resources"]["listeners"])
        self.assertIn("certificates: Envoy takes a file", self.decides())
        route = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1"\nsend_proxy = "v1"\n'
        found = self.write(LISTENER + 'certificates = "/a.pem"\nupstream_trust = "/b.pem"\n' + route)
        self.assertIn("inside TLS", self.decides())
        self.assertIn("UpstreamTlsContext", str(found["static_resources"]["clusters"][0]["transport_socket"]))

    def test_other_tables(self) -> None:
        """The limit of all connections is written; tables without a counterpart are reported."""
        bridge = '[[bridge]]\nendpoint = "tcp:1"\nservice_url = "pulsar+ssl://a.test"\ntrust = "a.pem"\n'
        more = '[limits]\nmax_connections = 10\nmax_hellos = 5\n[health]\ncheck = "tls"\n'
        found = self.write("workers = 2\n" + LISTENER + bridge + more)
        (monitor,) = found["overload_manager"]["resource_monitors"]
        self.assertEqual(20, monitor["typed_config"]["max_active_downstream_connections"])
        lines = notes(self.exported.report, False)
        for key in ("bridge[0]", "workers", "limits", "health.check", "timeouts.half_closed"):
            self.assertIn(f"left_out {key}: ", lines)
        self.assertNotIn("left_out admin", lines)


PATTERNS = ("a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test", "~[a-z]+[.]test", "~b[.].*", "c.test", "*.c.test")
NAMES = (
    None,
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "b.test",
    "c.test",
    "b.c.test",
    "d.b.c.test",
    "test",
    "a.b.org",
    "b.org",
)


class RoundTripTests(SynchronousTestCase):
    """From our TOML to Envoy's and back."""

    # An expression of one listener has its place before that of all listeners.
    @example([("~b[.].*", "one"), ("~[a-z]+[.]test", ""), ("~b[.].*", "")], "", "")
    @settings(max_examples=40)
    @given(
        st.lists(st.tuples(st.sampled_from(PATTERNS), st.sampled_from(("", "one", "two"))), max_size=8, unique=True),
        st.sampled_from(("", "10.0.0.1", "10.0.0.2")),
        st.sampled_from(("", "10.0.0.1", "10.0.0.2")),
    )
    def test_same_routes(self, routes: list[tuple[str, str]], default: str, nameless: str) -> None:
        """All names lead to the same targets at each listener."""
        toml = '[[listener]]\nendpoint = "tcp:1"\nname = "one"\n[[listener]]\nendpoint = "tcp:2"\nname = "two"\n'
        for number, (pattern, listener) in enumerate(routes, 10):
            toml += route(pattern, f"10.0.0.{number}") + (f"listener = '{listener}'\n" if listener else "")
        for table, target in (("default", default), ("no_server_name", nameless)):
            toml += f"[{table}]\ntarget = '{target}'\n" if target else ""
        parse(toml, "sniproxy.toml")
        exported = write(convert(loads(toml), "sniproxy.toml"))
        again, found = toml_of(read, {"envoy.yaml": exported.text})
        self.assertEqual([], [one.text for one in found if one.decides])
        for name in NAMES:
            for listener in ("one", "two"):
                expected = [f"{target}:6651" for target in route_of(toml, name, listener)]
                self.assertEqual(expected, route_of(again, name, listener), (name, listener, toml, again))


def route(name: str, target: str = "10.0.0.1") -> str:
    """A route."""
    return f"[[route]]\nserver_name = '{name}'\ntarget = '{target}'\n"


def cluster(chain: dict[str, Any]) -> str:
    """The cluster of a chain."""
    found: str = chain["filters"][-1]["typed_config"]["cluster"]
    return found
