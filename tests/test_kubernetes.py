"""Tests for examples/kubernetes without Kubernetes. tests.peers.test_kubernetes renders and checks the manifests."""

from __future__ import annotations

import io
import re
import socket
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from sniproxy.cli.explain.command import explain
from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.ctl import parse as parse_arguments
from tests.support import kubernetes
from tests.support.kubernetes import BROKERS, FOLDER, OVERLAYS, SERVICE_NAME

SPARE_S = 15
"""Seconds between the end of a drain and the kill, at least."""


class RecipeCase(TestCase):
    """A test of the example."""

    def setUp(self) -> None:
        """Skip the test without the example."""
        if not FOLDER.exists():
            raise SkipTest("examples/ is not here: the tests run apart from the sources")

    def configuration(self, overlay: str) -> Configuration:
        path = FOLDER / overlay / "sniproxy.toml"
        return parse(path.read_text(), str(path))


class ConfigurationTests(RecipeCase):
    """The configurations."""

    def test_check(self) -> None:
        """Each is valid; the only warning is of the admin endpoint, which a NetworkPolicy protects."""
        for overlay in OVERLAYS:
            (warning,) = operator_warnings(self.configuration(overlay))
            self.assertIn("admin endpoint beyond loopback", warning, overlay)

    def test_same(self) -> None:
        """They differ in the PROXY protocol only."""
        base = (FOLDER / "base" / "sniproxy.toml").read_text()
        for overlay in OVERLAYS[1:]:
            text = (FOLDER / overlay / "sniproxy.toml").read_text()
            (listener,) = re.findall(r"^\[\[listener\]\]\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
            kept = "\n".join(line for line in listener.splitlines() if line[0] != "#" and "proxy_protocol" not in line)
            self.assertEqual(base, text.replace(listener, kept), overlay)

    def test_reload(self) -> None:
        """They are reloaded when the ConfigMap changes, from a mounted folder."""
        for overlay in OVERLAYS:
            self.assertTrue(self.configuration(overlay).reload_on_change)
        (container,) = kubernetes.document("base/deployment.yaml")["spec"]["template"]["spec"]["containers"]
        self.assertEqual([None], [mount.get("subPath") for mount in container["volumeMounts"]])

    def test_balancers(self) -> None:
        """Networks whose headers are believed are those that the NetworkPolicy lets in."""
        (listener,) = self.configuration("aws").listeners
        assert listener.proxy_protocol is not None
        blocks = [one["ipBlock"]["cidr"] for one in kubernetes.document("aws/networkpolicy.yaml")[0]["value"]]
        self.assertEqual(blocks, [str(network) for network in listener.proxy_protocol.networks])


class NameTests(RecipeCase):
    """Where names lead, with the addresses of a cluster."""

    def setUp(self) -> None:
        """Look names up in the cluster."""
        super().setUp()
        self.patch(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: str, port: int, **more: object) -> list[tuple[object, ...]]:
        address = kubernetes.cluster_dns().get(host)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(None, None, None, "", (address, port))]

    async def explain(self, name: str, overlay: str = "base") -> tuple[int, str]:
        """Run the command explain. @return: exit status and output."""
        from tests.support.reactor import reactor

        out = io.StringIO()
        words = ["explain", name, "--config", str(FOLDER / overlay / "sniproxy.toml"), "--client", "192.0.2.7"]
        return await explain(parse_arguments(words), reactor, out), out.getvalue()

    async def assert_leads(self, name: str, target: str) -> None:
        """Assert that a name leads to a target, and the certificate covers it."""
        for overlay in OVERLAYS:
            status, said = await self.explain(name, overlay)
            self.assertEqual(0, status, said)
            self.assertEqual([target], re.findall(r"^  target +(\S+)$", said, re.MULTILINE), said)
            address = kubernetes.cluster_dns()[target.partition(":")[0]]
            self.assertIn(f"{address}: allowed", said)
        self.assertTrue(any(kubernetes.covers(one, name) for one in kubernetes.certificate_names()), name)

    async def test_service_name(self) -> None:
        """The service name leads to any ready broker."""
        await self.assert_leads(SERVICE_NAME, "pulsar-broker-external.pulsar.svc.cluster.local:6652")

    async def test_brokers(self) -> None:
        """Each host that a broker advertises leads to its pod: the external one, and the internal one of Pulsar 5."""
        for ordinal in range(BROKERS):
            hosts = {host for _, _, host, _ in kubernetes.advertised(ordinal)}
            self.assertEqual(2, len(hosts))
            for host in hosts:
                await self.assert_leads(host, f"{kubernetes.pod(ordinal)}:6652")

    async def test_refused(self) -> None:
        """Names of other pods, of other domains and of nothing are refused."""
        for name in (
            "pulsar-broker-x.pulsar.example.com", "pulsar-broker-0.evil.example",
            "a.pulsar-broker-0.pulsar.example.com",
            "pulsar-zookeeper-0.pulsar-zookeeper.pulsar.svc.cluster.local", "kubernetes.default.svc.cluster.local",
            "pulsar-broker-0.pulsar.example.com.evil.example", "example.com", "10.4.0.10",
        ):  # fmt: skip
            status, said = await self.explain(name)
            self.assertEqual(1, status, said)
            self.assertRegex(said, "  route +none: ")

    async def test_absent(self) -> None:
        """A broker that does not exist has a route, and no address."""
        status, said = await self.explain(f"pulsar-broker-{BROKERS}.pulsar.example.com")
        self.assertEqual(1, status, said)
        self.assertIn("no such host name", said)


class BrokerTests(RecipeCase):
    """The values for the chart of the brokers."""

    def test_listeners(self) -> None:
        """The external port is bound and routed; internal names and ports are those of the chart."""
        self.assertEqual("external:pulsar+ssl://0.0.0.0:6652", kubernetes.broker_values()["bindAddresses"])
        self.assertEqual("internal", kubernetes.broker_values()["internalListenerName"])
        for ordinal in range(BROKERS):
            self.assertEqual(
                [
                    ("internal", "pulsar", kubernetes.pod(ordinal), 6650),
                    ("internal", "pulsar+ssl", kubernetes.pod(ordinal), 6651),
                    ("external", "pulsar+ssl", f"pulsar-broker-{ordinal}.pulsar.example.com", 6651),
                ],
                list(kubernetes.advertised(ordinal)),
            )

    def test_advertised_port(self) -> None:
        """Clients in DNS mode dial the port that brokers advertise: that of the load balancer."""
        (port,) = kubernetes.document("base/service.yaml")["spec"]["ports"]
        self.assertEqual({port["port"]}, {port for name, _, _, port in kubernetes.advertised(0) if name == "external"})

    def test_dns(self) -> None:
        """ExternalDNS makes the service name, and a wildcard that covers the brokers."""
        annotations = kubernetes.document("base/service.yaml")["metadata"]["annotations"]
        names = annotations["external-dns.alpha.kubernetes.io/hostname"].split(",")
        for name in (SERVICE_NAME, "pulsar-broker-0.pulsar.example.com"):
            self.assertTrue(any(kubernetes.covers(one, name) for one in names), name)

    def test_port(self) -> None:
        """Routes, the policy, the Service and the NetworkPolicy have the port of the external listener."""
        (port,) = kubernetes.document("base/brokers.yaml")["spec"]["ports"]
        egress: list[Any] = kubernetes.document("base/networkpolicy.yaml")["spec"]["egress"]
        configuration = self.configuration("base")
        self.assertEqual([6652], [port["port"]])
        self.assertEqual([{"port": 6652}], egress[0]["ports"])
        self.assertEqual([6652], list(configuration.policy.allow_ports))


class StopTests(RecipeCase):
    """How a pod ends."""

    def test_grace(self) -> None:
        """A pod is killed after preStop and the drain, with time to spare."""
        drain = self.configuration("base").timeouts.drain
        for overlay in ("base", "aws"):
            pause, grace = kubernetes.stopping(kubernetes.document(f"{overlay}/deployment.yaml"))
            self.assertGreaterEqual(grace, pause + drain + SPARE_S, overlay)
