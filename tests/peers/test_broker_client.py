"""`brokerClient_proxyServiceUrl` and `brokerClient_proxyProtocol`: Pulsar's own programs behind an SNI proxy.

Pulsar loads each setting `brokerClient_NAME` into the field NAME of the Java client in such a program. That is the only
way for these programs to use PIP-60, and no documentation of Pulsar names it. With PEERS_LONG=1 (`make peers-long`) all
tests run.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path

from tests.peers import clients, lab, provide
from tests.peers.case import PulsarTestCase
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.geo import wait_until
from tests.peers.jvm import java_command
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import unavailable
from tests.peers.proxy import Proxy

LONG = os.environ.get("PEERS_LONG") == "1"


class BrokerClientTestCase(PulsarTestCase):
    """A test with a program that has a client of its own; brokers' names resolve nowhere."""

    def through(self, proxy: Proxy, protocol: str = "SNI") -> dict[str, object]:
        """The settings under test."""
        return {"brokerClient_proxyServiceUrl": proxy.url, "brokerClient_proxyProtocol": protocol}

    def write(self, name: str, lines: dict[str, object]) -> Path:
        """Write a configuration file of Pulsar."""
        file = self.lab.new_folder() / name
        file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return file

    def check_names(self, proxy: Proxy, *names: str) -> None:
        """Assert that the proxy's connections, which have ended, were tunnels to these names, and to no strangers."""
        logged = proxy.connections(lambda log: set(names) <= {line["server_name"] for line in log})
        # A lookup that is redirected leads to the leader.
        known = {SERVICE_NAME, *(broker.name for broker in self.lab.cluster.brokers)}
        self.assertLessEqual({line["server_name"] for line in logged}, known)
        # The programs leave with bytes unread, which is a reset.
        self.assertLessEqual({line["result"] for line in logged}, {"ok", "reset"})


class WebSocketTests(BrokerClientTestCase):
    """The WebSocket proxy: websocket.conf."""

    def attempt(self, name: str, settings: dict[str, object]) -> tuple[clients.Outcome, str]:
        """Run the WebSocket proxy, and a client of it on a topic."""
        cluster = self.lab.cluster
        (port,) = free_ports(1)
        lines = {
            "clusterName": cluster.name,
            "webServicePort": port,
            "bindAddress": "127.0.0.1",
            "serviceUrl": f"http://127.0.0.1:{cluster.brokers[0].web}",
            "brokerServiceUrlTls": f"pulsar+ssl://{SERVICE_NAME}:6651",
            "brokerClientTlsEnabled": "true",
            "brokerClientTrustCertsFilePath": self.lab.material.trust,
            "tlsHostnameVerificationEnabled": "true",
        }
        conf = self.write("websocket.conf", {**lines, **settings})
        topic = f"public/default/{name}"
        command = java_command("PulsarWebSocket", "160m", "error")
        return clients.run([*command, str(conf), str(port), topic]), topic

    def test_proxy(self) -> None:
        """A client of the WebSocket proxy sends and receives."""
        proxy = self.proxy(lab.routes(self.lab.cluster))
        outcome, topic = self.attempt("web-socket", self.through(proxy))
        self.assert_all_came_back(outcome, [topic])
        self.check_names(proxy, SERVICE_NAME, self.lab.cluster.owner(topic).name)

    def test_protocol_in_lower_case(self) -> None:
        """`sni` is no value of the setting, as it is of the tools' option: the client of the program is not made."""
        proxy = self.proxy(lab.routes(self.lab.cluster))
        outcome, _ = self.attempt("web-socket-lower", self.through(proxy, "sni"))
        self.assertEqual("ExecutionException", self.failure(outcome)["error"])
        self.assertEqual("", proxy.access_log.read_text())

    if not LONG:
        del test_protocol_in_lower_case


class CompactorTests(BrokerClientTestCase):
    """`pulsar compact-topic`: broker.conf."""

    def test_compactor(self) -> None:
        """It reads a topic through the proxy, from the TLS URL of the internal listener on, and compacts it."""
        cluster = self.lab.cluster
        proxy = self.proxy(lab.routes(cluster))
        first, topic = cluster.brokers[0], "public/default/compacted"
        self.assert_all_came_back(self.java(proxy, [f"persistent://{topic}"]), [f"persistent://{topic}"])
        store = f"zk:127.0.0.1:{cluster.zookeeper}"
        lines: dict[str, object] = {
            "clusterName": cluster.name,
            "metadataStoreUrl": store,
            "configurationMetadataStoreUrl": store,
            "managedLedgerDefaultEnsembleSize": 1,
            "managedLedgerDefaultWriteQuorum": 1,
            "managedLedgerDefaultAckQuorum": 1,
            "advertisedListeners": f"internal:pulsar+ssl://{first.name}:6651",
            "internalListenerName": "internal",
            "brokerClientTlsEnabled": "true",
            "brokerClientTrustCertsFilePath": self.lab.material.trust,
            "tlsHostnameVerificationEnabled": "true",
        }
        own = self.proxy(lab.routes(cluster))
        conf = self.write("broker.conf", {**lines, **self.through(own)})
        command = java_command("org.apache.pulsar.compaction.CompactorTool", "160m", "warn")
        done = clients.run([*command, "-c", str(conf), "-t", f"persistent://{topic}"])
        self.assertEqual(0, done.status, done.log)
        stats = cluster.admin("GET", f"/admin/v2/persistent/{topic}/internalStats")
        self.assertGreater(stats["compactedLedger"]["ledgerId"], 0)
        self.check_names(own, first.name, cluster.owner(topic).name)


class FunctionsWorkerTests(BrokerClientTestCase):
    """The functions worker: functions_worker.yml, where the settings are below `properties`."""

    def test_worker(self) -> None:
        """The worker reads and writes its topics through the proxy, and becomes the leader."""
        cluster = self.lab.cluster
        if not list(provide.part(f"jars-{self.pulsar.name}").path.glob("distributedlog-core-*.jar")):
            unavailable("no distributedlog-core among the jars")
        proxy = self.proxy(lab.routes(cluster))
        (port,) = free_ports(1)
        folder = self.lab.new_folder()
        lines = {
            "workerId": "worker-1",
            "workerHostname": "localhost",
            "workerPort": port,
            "pulsarFunctionsCluster": cluster.name,
            "pulsarFunctionsNamespace": "public/functions",
            "pulsarServiceUrl": f"pulsar+ssl://{SERVICE_NAME}:6651",
            "pulsarWebServiceUrl": f"http://127.0.0.1:{cluster.brokers[0].web}",
            "configurationMetadataStoreUrl": f"zk:127.0.0.1:{cluster.zookeeper}",
            "useTls": "true",
            "brokerClientTrustCertsFilePath": self.lab.material.trust,
            "tlsEnableHostnameVerification": "true",
            "functionMetadataTopicName": "metadata",
            "clusterCoordinationTopicName": "coordinate",
            "functionAssignmentTopicName": "assignments",
            "functionRuntimeFactoryClassName": "org.apache.pulsar.functions.runtime.thread.ThreadRuntimeFactory",
            "schedulerClassName": "org.apache.pulsar.functions.worker.scheduler.RoundRobinScheduler",
            "numFunctionPackageReplicas": 1,
            "failureCheckFreqMs": 30000,
            "rescheduleTimeoutMs": 60000,
            "initialBrokerReconnectMaxRetries": 60,
            "assignmentWriteMaxRetries": 60,
            "instanceLivenessCheckFreqMs": 30000,
            "topicCompactionFrequencySec": 1800,
            "metadataStoreSessionTimeoutMillis": 30000,
            "narExtractionDirectory": folder / "nar",
            "downloadDirectory": folder / "packages",
        }
        text = "".join(f"{name}: {value}\n" for name, value in lines.items())
        text += "functionRuntimeFactoryConfigs:\n  threadGroupName: functions\nproperties:\n"
        text += "".join(f"  {name}: {value}\n" for name, value in self.through(proxy).items())
        (folder / "functions_worker.yml").write_text(text)
        command = java_command("org.apache.pulsar.functions.worker.FunctionWorkerStarter", "256m", "warn")
        worker = Child([*command, "-c", str(folder / "functions_worker.yml")], cwd=folder)
        self.addCleanup(worker.stop)
        wait_until(lambda: _get(port, "/admin/v2/worker/cluster/leader"), "a functions worker that leads")
        worker.stop()
        owners = {cluster.owner(f"public/functions/{name}").name for name in ("metadata", "coordinate", "assignments")}
        self.check_names(proxy, SERVICE_NAME, *owners)


if not LONG:
    del FunctionsWorkerTests


def _get(port: int, path: str) -> bool:
    """Whether a GET of the path succeeds with a body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return bool(answer.read()) and answer.status == 200
    except OSError:
        return False
    finally:
        connection.close()
