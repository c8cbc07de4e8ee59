"""Pulsar's own command line tools: `pulsar-client`, `pulsar-perf` and `pulsar-admin`, with their proxy options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.cluster import free_ports
from tests.peers.jvm import java_command
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require_private_hosts
from tests.peers.proxy import Proxy

#: The classes that the scripts in Pulsar's bin/ run.
CLIENT = "org.apache.pulsar.client.cli.PulsarClientTool"
PERF = "org.apache.pulsar.testclient.PulsarPerfTestTool"
ADMIN = "org.apache.pulsar.admin.cli.PulsarAdminTool"


class ToolTestCase(PulsarTestCase):
    """A test with the tools; names resolve nowhere, so that a tool that bypasses the proxy fails."""

    #: Maven Central lacks those of 4.0.7 and 4.2.4.
    since = "5.0"

    def conf(self, **lines: object) -> Path:
        """A client.conf with the service URL, the trust file, host name verification, and more lines."""
        base = {
            "brokerServiceUrl": f"pulsar+ssl://{SERVICE_NAME}:6651",
            "webServiceUrl": f"http://127.0.0.1:{self.lab.cluster.brokers[0].web}",
            "tlsTrustCertsFilePath": self.lab.material.trust,
            "tlsEnableHostnameVerification": "true",
        }
        file = self.lab.new_folder() / "client.conf"
        file.write_text("".join(f"{name}={value}\n" for name, value in {**base, **lines}.items()))
        return file

    def run_tool(self, main: str, conf: Path, *arguments: str, inside: Sequence[str] = ()) -> Outcome:
        """Run a tool to its end. `inside`: the beginning of a command that runs it."""
        return clients.run([*inside, *java_command(main, "160m", "error"), str(conf), *arguments])

    def check_names(self, proxy: Proxy, topic: str) -> None:
        """Assert tunnels to the service name and to the topic's owner; a lookup may have been redirected."""
        cluster = self.lab.cluster
        owner, known = cluster.owner(topic).name, {SERVICE_NAME, *(broker.name for broker in cluster.brokers)}
        logged = proxy.connections(lambda log: {SERVICE_NAME, owner} <= {line["server_name"] for line in log})
        self.assertLessEqual({line["server_name"] for line in logged}, known)
        # Some tools leave with bytes unread, which is a reset.
        self.assertLessEqual({line["result"] for line in logged}, {"ok", "reset"})


class ClientToolTests(ToolTestCase):
    """`pulsar-client` and `pulsar-perf`."""

    def test_pulsar_client(self) -> None:
        """`pulsar-client` takes the proxy from its options, and from client.conf; the protocol in any case."""
        topic = "public/default/tool-client"
        proxy = self.proxy(lab.routes(self.lab.cluster))
        options = ["--proxy-url", proxy.url, "--proxy-protocol", "sni"]
        sent = self.run_tool(CLIENT, self.conf(), *options, "produce", topic, "-m", "by-the-tool")
        self.assertEqual(0, sent.status, sent.log)
        conf = self.conf(proxyServiceUrl=proxy.url, proxyProtocol="SNI")
        received = self.run_tool(CLIENT, conf, "consume", topic, "-s", "tool", "-p", "Earliest", "-n", "1")
        self.assertEqual(0, received.status, received.log)
        self.assertIn("content:by-the-tool", received.log)
        self.check_names(proxy, topic)

    def test_pulsar_perf(self) -> None:
        """`pulsar-perf` produces and consumes through the proxy of its options."""
        topic = "public/default/tool-perf"
        proxy = self.proxy(lab.routes(self.lab.cluster))
        options = ["--proxy-url", proxy.url, "--proxy-protocol", "SNI", "-m", "200", topic]
        sent = self.run_tool(PERF, self.conf(), "produce", "-r", "1000", *options)
        self.assertEqual(0, sent.status, sent.log)
        received = self.run_tool(PERF, self.conf(), "consume", "-sp", "Earliest", *options)
        self.assertEqual(0, received.status, received.log)
        stats = self.lab.cluster.admin("GET", f"/admin/v2/persistent/{topic}/stats")
        # It sends what was in flight when the last one was counted, too.
        self.assertGreaterEqual(stats["msgInCounter"], 200)
        (subscription,) = stats["subscriptions"].values()
        self.assertGreaterEqual(subscription["msgOutCounter"], 200)
        self.check_names(proxy, topic)


class AdminToolTests(ToolTestCase):
    """`pulsar-admin`: its proxy options are of the clusters that it describes, not its own."""

    def test_cluster_with_proxy(self) -> None:
        """`clusters create --proxy-url --proxy-protocol` stores what geo-replication needs (PIP-60)."""
        described = {
            "--url-secure": "https://vip.other.test:8443",
            "--broker-url-secure": "pulsar+ssl://vip.other.test:6651",
            "--proxy-url": "pulsar+ssl://proxy.other.test:4443",
            "--proxy-protocol": "SNI",
        }
        words = [word for option in described.items() for word in option]
        made = self.run_tool(ADMIN, self.conf(), "clusters", "create", "described", *words)
        self.addCleanup(self.lab.cluster.admin, "DELETE", "/admin/v2/clusters/described")
        self.assertEqual(0, made.status, made.log)
        data = self.lab.cluster.admin("GET", "/admin/v2/clusters/described")
        names = ("serviceUrlTls", "brokerServiceUrlTls", "proxyServiceUrl", "proxyProtocol")
        self.assertEqual(list(described.values()), [data[name] for name in names])

    def test_https(self) -> None:
        """It reaches brokers in DNS mode over HTTPS."""
        cluster, inside = self.lab.cluster, require_private_hosts()
        (port,) = free_ports(1)
        lines = ["[[listener]]", f'endpoint = "tcp:{port}:interface=127.0.0.1"', 'name = "admin"']
        targets = [f"127.0.0.1:{broker.web_tls}" for broker in cluster.brokers]
        lines += [
            "[[route]]",
            'listener = "admin"',
            f'server_name = "{SERVICE_NAME}"',
            f"target = {json.dumps(targets)}",
        ]
        proxy = self.proxy({"unused.test": ["127.0.0.1:9"]}, more="\n".join(lines) + "\n")
        hosts = self.lab.new_folder() / "hosts"
        clients.write_hosts(hosts, [SERVICE_NAME])
        conf = self.conf(webServiceUrl=f"https://{SERVICE_NAME}:{port}")
        told = self.run_tool(ADMIN, conf, "brokers", "list", cluster.name, inside=[*inside, str(hosts)])
        self.assertEqual(0, told.status, told.log)
        for broker in cluster.brokers:
            self.assertIn(broker.web_id, told.log)
        (name,) = {line["server_name"] for line in proxy.connections()}
        self.assertEqual(SERVICE_NAME, name)
