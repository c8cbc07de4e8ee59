"""Tests for sniproxy.migrate.export.tlsroute.

The rules of the API are those of its resource definitions: names of objects, hostnames, at most 1,024 of them, at most
16 backends, weights to 1,000,000.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate.export.tlsroute import write
from sniproxy.migrate.tlsroute import read
from tests.support.envoyconfig import notes
from tests.support.importedroutes import route_of, toml_of

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\nname = "public"\n'
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def route(name: str, *targets: str, more: str = "") -> str:
    """A route."""
    return f"[[route]]\nserver_name = '{name}'\ntarget = {list(targets or ('10.0.0.1',))}\n{more}"


class WriteCase(SynchronousTestCase):
    """Manifests that the API takes."""

    def write(self, toml: str, **options: str) -> list[dict[str, Any]]:
        parse(toml, "sniproxy.toml")
        self.exported = write(convert(loads(toml), "sniproxy.toml"), **options)
        found = list(yaml.safe_load_all(self.exported.text))
        for one in found:
            self.assertTrue(LABEL.fullmatch(one["metadata"]["name"]), one["metadata"])
        names = [(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in found]
        self.assertEqual(len(names), len(set(names)))
        for one in found:
            if one["kind"] == "TLSRoute":
                self.check(one["spec"])
        return found

    def check(self, spec: dict[str, Any]) -> None:
        """Check the rules of the API for a route."""
        self.assertTrue(all(HOSTNAME.fullmatch(name) for name in spec["hostnames"]))
        self.assertLessEqual(len(spec["hostnames"]), 1024)
        (rule,) = spec["rules"]
        self.assertTrue(1 <= len(rule["backendRefs"]) <= 16)
        for reference in rule["backendRefs"]:
            self.assertTrue(0 <= reference.get("weight", 1) <= 1_000_000)
            self.assertTrue(1 <= reference["port"] <= 65535)

    def kinds(self, found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
        return [one for one in found if one["kind"] == kind]

    def decides(self) -> str:
        return notes(self.exported.report, True)


class RouteTests(WriteCase):
    """TLSRoutes."""

    def test_names(self) -> None:
        """Names of the same targets are one route of all listeners."""
        found = self.write(LISTENER + route("a.test") + route("*.test") + route("b.test", "10.0.0.2"))
        routes = self.kinds(found, "TLSRoute")
        self.assertEqual([["a.test", "*.test"], ["b.test"]], [one["spec"]["hostnames"] for one in routes])
        self.assertEqual([[{"name": "sniproxy"}]] * 2, [one["spec"]["parentRefs"] for one in routes])
        self.assertEqual("", self.decides())

    def test_listeners(self) -> None:
        """Each is a section of one Gateway; routes name theirs."""
        second = '[[listener]]\nendpoint = "tcp:4444:interface=10.0.0.9"\n'
        found = self.write(
            LISTENER + second + route("a.test") + route("a.test", "10.0.0.2", more="listener = 'public'")
        )
        (gateway,) = self.kinds(found, "Gateway")
        self.assertEqual(["public", "tls-4444"], [one["name"] for one in gateway["spec"]["listeners"]])
        self.assertEqual(
            [("public", "to-10-0-0-2-6651"), ("tls-4444", "to-10-0-0-1-6651")],
            [
                (one["spec"]["parentRefs"][0]["sectionName"], one["spec"]["rules"][0]["backendRefs"][0]["name"])
                for one in self.kinds(found, "TLSRoute")
            ],
        )
        self.assertIn("on the Gateway's addresses", notes(self.exported.report, False))

    def test_many_names(self) -> None:
        """A route has at most 1,024 hostnames."""
        found = self.write(LISTENER + "".join(route(f"b-{number}.test") for number in range(1030)))
        self.assertEqual([1024, 6], [len(one["spec"]["hostnames"]) for one in self.kinds(found, "TLSRoute")])

    def test_what_a_route_cannot_match(self) -> None:
        """Expressions, all names, hellos without one, IP addresses and underscores."""
        more = '[default]\ntarget = "10.0.0.1"\n[no_server_name]\ntarget = "10.0.0.1"\n'
        routes = "".join(route(name) for name in ("~a.*", "10.0.0.7", "fd00::7", "_sip.test"))
        self.assertEqual([], self.kinds(self.write(LISTENER + routes + more), "TLSRoute"))
        self.assertEqual(6, len(self.decides().splitlines()))

    def test_refused_names(self) -> None:
        """A backend that gets no connections: a wildcard must not take them."""
        more = "[[route]]\nserver_name = 'a.test'\nresolver = 'no'\n[resolver.no]\ntype = 'refuse'\n"
        found = self.write(LISTENER + route("*.test", "{1}.internal") + more)
        references = [one["spec"]["rules"][0]["backendRefs"] for one in self.kinds(found, "TLSRoute")]
        self.assertEqual([[{"name": "refused", "port": 1, "weight": 0}]], references)
        self.assertIn("{1}.internal: the name forms the target", self.decides())

    def test_keys_without_a_counterpart(self) -> None:
        """C{only_from} decides; the other keys do not."""
        keys = "only_from = ['10.0.0.0/8']\nsend_proxy = 'v2'\nbalance = 'least_connections'\nmax_connections = 5\n"
        self.write(LISTENER + route("a.test", more=keys) + "[health]\ncheck = 'tcp'\n[timeouts]\nidle = 5\n")
        self.assertEqual(["only_from"], re.findall(r"only_from|send_proxy|max_connections|balance", self.decides()))
        self.assertIn("left_out health", notes(self.exported.report, False))

    def test_listeners_that_are_left_out(self) -> None:
        """Without TLS, with certificates, without a port, or on a port that is taken."""
        for listener, why in (
            ("endpoint = 'tcp:1'\nplaintext = true\ntarget = 'x'\n", "TCPRoute"),
            ("endpoint = 'tcp:1'\ncertificates = 'a'\nupstream_trust = 'b'\n", "Terminate"),
            ("endpoint = 'unix:/x'\n", "TCP port"),
            ("endpoint = 'tcp:4443:interface=127.0.0.2'\n", "another listener has port 4443"),
        ):
            found = self.write(f"{LISTENER}[[listener]]\n{listener}{route('a.test')}")
            self.assertEqual(1, len(self.kinds(found, "Gateway")[0]["spec"]["listeners"]))
            self.assertIn(why, self.decides())
        self.write("[[listener]]\nendpoint = 'unix:/x'\n")
        self.assertNotIn("kind", self.exported.text)

    def test_other_parts(self) -> None:
        """Bridges and headers are reported."""
        bridge = '[[bridge]]\nendpoint = "tcp:1"\nservice_url = "pulsar+ssl://a.test"\ntrust = "a.pem"\n'
        self.write(LISTENER + "proxy_protocol = 'required'\nproxy_protocol_from = ['10.0.0.0/8']\n" + bridge)
        for word in ("bridge[0]", "proxy_protocol"):
            self.assertIn(word, notes(self.exported.report, False))


class BackendTests(WriteCase):
    """Services."""

    def references(self, *targets: str, **options: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The references of a route to these targets, and all objects."""
        found = self.write(LISTENER + route("a.test", *targets), **options)
        (one,) = self.kinds(found, "TLSRoute")
        return one["spec"]["rules"][0]["backendRefs"], found

    def test_addresses(self) -> None:
        """A headless Service with an EndpointSlice."""
        references, found = self.references("10.0.0.1 weight=3", "[fd00::1]:6652")
        self.assertEqual([("to-10-0-0-1-6651", 3), ("to-fd00-1-6652", None)], [
            (one["name"], one.get("weight")) for one in references
        ])  # fmt: skip
        slices = self.kinds(found, "EndpointSlice")
        self.assertEqual(["IPv4", "IPv6"], [one["addressType"] for one in slices])
        self.assertEqual("to-10-0-0-1-6651", slices[0]["metadata"]["labels"]["kubernetes.io/service-name"])
        self.assertEqual(["None", "None"], [one["spec"]["clusterIP"] for one in self.kinds(found, "Service")])

    def test_services(self) -> None:
        """The DNS name of a Service is a reference to it; in another namespace it needs a grant."""
        own, other = "b.default.svc.cluster.local:1", "c.pulsar.svc.cluster.local:2"
        references, found = self.references(own, other)
        self.assertEqual([{"name": "b", "port": 1}, {"name": "c", "port": 2, "namespace": "pulsar"}], references)
        (grant,) = self.kinds(found, "ReferenceGrant")
        self.assertEqual(("pulsar", "c"), (grant["metadata"]["namespace"], grant["spec"]["to"][0]["name"]))
        self.assertEqual("", self.decides())
        references, found = self.references("b.pulsar.svc.k8s.test:1", namespace="pulsar", cluster_domain="k8s.test")
        self.assertEqual([{"name": "b", "port": 1}], references)

    def test_host_names(self) -> None:
        """An ExternalName Service, which implementations may refuse."""
        _, found = self.references("b.example.com:1")
        (service,) = self.kinds(found, "Service")
        self.assertEqual("b.example.com", service["spec"]["externalName"])
        self.assertIn("ExternalName", self.decides())

    def test_spares(self) -> None:
        """There are none; targets that are all spares are no spares."""
        references, _ = self.references("10.0.0.1", "10.0.0.2 weight=0")
        self.assertEqual(1, len(references))
        self.assertIn("no spares", self.decides())
        references, _ = self.references("10.0.0.1 weight=0")
        self.assertEqual([None], [one.get("weight") for one in references])

    def test_many_targets(self) -> None:
        """More than 16 addresses of one weight are one Service; other ones are left out beyond 16."""
        references, found = self.references(*(f"10.0.0.{number}" for number in range(1, 21)), "10.0.1.1 weight=2")
        self.assertEqual([20, 2], [one.get("weight") for one in references])
        self.assertEqual([20, 1], [len(one["endpoints"]) for one in self.kinds(found, "EndpointSlice")])
        references, _ = self.references(*(f"b-{number}.example.com" for number in range(20)))
        self.assertEqual(16, len(references))
        self.assertIn("4 are left out", self.decides())

    def test_names_that_collide(self) -> None:
        """Each destination has a Service of its own."""
        found = self.write(LISTENER + route("a.test", "b-c.test:1") + route("d.test", "b.c.test:1"))
        self.assertEqual(
            ["to-b-c-test-1", "to-b-c-test-1-2"], [one["metadata"]["name"] for one in self.kinds(found, "Service")]
        )


class RoundTripTests(SynchronousTestCase):
    """From our TOML to manifests and back."""

    def test_same_routes(self) -> None:
        """200 names and more lead to the same addresses at each listener."""
        parents = ("pulsar.test", "eu.pulsar.test", "w.test", "example.com", "test")
        labels = ("", "a", "b", "broker-1", "broker-2", "a.b", "x.y.z", "UP", "no-1")
        names = [f"{label}.{parent}".lstrip(".") for parent in parents for label in labels]
        names += [f"broker-{number}.pulsar.test" for number in range(200)] + ["other.org", "10.0.0.7"]
        toml = f"""
[[listener]]
endpoint = "tcp:4443"
name = "sniproxy-4443"
[[listener]]
endpoint = "tcp:4444"
name = "sniproxy-4444"
{route("broker-1.pulsar.test", "10.0.0.1:6651 weight=3", "10.0.0.2:6651")}
{route("*.pulsar.test", "10.0.0.3:6651")}
{route("*.pulsar.test", "[fd00::3]:6651", more="listener = 'sniproxy-4444'")}
{route("*.eu.pulsar.test", "10.0.0.4:6652", "10.0.0.5:6652")}
{route("*.test", "10.0.0.5:{port}")}
[[route]]
server_name = "no-1.w.test"
resolver = "no"
[resolver.no]
type = "refuse"
""" + "".join(route(f"broker-{number}.pulsar.test", f"10.0.1.{number}:6651") for number in range(100, 150))
        parse(toml, "sniproxy.toml")
        exported = write(convert(loads(toml), "sniproxy.toml"))
        self.assertEqual("", notes(exported.report, True))
        again, found = toml_of(read, {"routes.yaml": exported.text})
        self.assertEqual([], [one.text for one in found if one.decides])
        for name in names:
            for listener in ("sniproxy-4443", "sniproxy-4444"):
                expected = [text.replace("{port}", listener[-4:]) for text in route_of(toml, name, listener)]
                self.assertEqual(expected, route_of(again, name, listener), (name, listener))
        self.assertGreaterEqual(len(set(names)), 200)

    @settings(max_examples=40)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test", "c.test")),
                st.sampled_from(("", "sniproxy-1", "sniproxy-2")),
            ),
            min_size=1,
            max_size=8,
            unique=True,
        ),
        st.integers(0, 20),
    )
    def test_any_routes(self, routes: list[tuple[str, str]], refused: int) -> None:
        """All names lead to the same targets at each listener. @param refused: the number of a route that refuses."""
        toml = "[resolver.no]\ntype = 'refuse'\n"
        for port in (1, 2):
            toml += f"[[listener]]\nendpoint = 'tcp:{port}'\nname = 'sniproxy-{port}'\n"
        for number, (pattern, listener) in enumerate(routes):
            where = f"target = '10.0.0.{number % 3}:6651'" if number != refused else "resolver = 'no'"
            toml += f"[[route]]\nserver_name = '{pattern}'\n{where}\n" + (
                f"listener = '{listener}'\n" if listener else ""
            )
        parse(toml, "sniproxy.toml")
        exported = write(convert(loads(toml), "sniproxy.toml"))
        again, found = toml_of(read, {"routes.yaml": exported.text})
        self.assertEqual([], [one.text for one in found if one.decides])
        for name in ("a.test", "b.a.test", "c.b.a.test", "b.test", "c.test", "d.c.test", "test", "b.org"):
            for listener in ("sniproxy-1", "sniproxy-2"):
                self.assertEqual(
                    route_of(toml, name, listener), route_of(again, name, listener), (name, listener, toml)
                )
