"""Two clusters of the same clients: blue-green migration (PIP-188), and failover by the client (PIP-121).

With PEERS_LONG=1 (`make peers-long`) all tests run.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.children import Child
from tests.peers.clients import Sender
from tests.peers.cluster import Cluster, Site, free_ports
from tests.peers.geo import wait_until
from tests.peers.material import BROKER_NAMES, OTHER_BROKER_NAMES, OTHER_SERVICE_NAME, SERVICE_NAME
from tests.peers.needs import require, require_private_hosts
from tests.peers.proxy import Bridge, Program, Proxy, Span

LONG = os.environ.get("PEERS_LONG") == "1"
#: A broker looks once a second whether its cluster has migrated.
SETTINGS = {"clusterMigrationCheckDurationSeconds": "1"}
BLUE_URL, GREEN_URL = (f"pulsar+ssl://{name}:6651" for name in (SERVICE_NAME, OTHER_SERVICE_NAME))


@frozen
class Pair:
    """Two clusters with one broker each."""

    blue: Cluster
    green: Cluster

    def routes(self) -> dict[str, list[str]]:
        """Routes of a proxy in front of both."""
        return {**lab.routes(self.blue), **lab.routes(self.green)}

    def migrate(self, migrated: bool) -> None:
        """Mark the blue cluster as migrated to the green one, or not."""
        (broker,) = self.green.brokers
        # The port is never used behind an SNI proxy.
        urls = {"serviceUrl": f"http://127.0.0.1:{broker.web}", "brokerServiceUrlTls": GREEN_URL}
        path = f"/admin/v2/clusters/{self.blue.name}/migrate?migrated={str(migrated).lower()}"
        self.blue.admin("POST", path, {**urls, "brokerServiceUrl": f"pulsar://127.0.0.1:{broker.plain}"})


@functools.cache
def shared() -> Pair:
    """The clusters of this run."""
    sites = [Site("blue", SERVICE_NAME, BROKER_NAMES[:1]), Site("green", OTHER_SERVICE_NAME, OTHER_BROKER_NAMES)]
    return Pair(*lab.shared().start(sites, SETTINGS))


def stop() -> None:
    """Stop the clusters. Later tests start others."""
    for cluster in (shared().blue, shared().green):
        cluster.stop()
    shared.cache_clear()


def _events(program: Program, name: str) -> list[dict[str, Any]]:
    """The inspector's events of that name, after the program has ended."""
    program.stop()
    told = (json.loads(line) for line in program.event_log.read_text().splitlines())
    return [event for event in told if event["event"] == name]


class MigrationTests(PulsarTestCase):
    """Clients send while the blue cluster migrates to the green one; they go on there, and no message is lost."""

    def run_through(self, pair: Pair, commands: Mapping[str, list[str]]) -> None:
        """Migrate while clients, by the topic of each, send without end. Assert that all messages came back."""
        senders = {topic: Sender(command) for topic, command in commands.items()}
        for sender in senders.values():
            self.addCleanup(sender.stop)
            sender.wait_until_sending()
        self.addCleanup(pair.migrate, False)
        pair.migrate(True)
        for topic, sender in senders.items():
            self.wait_until_there(pair.green, topic)
            sender.wait_until_sending()
        for topic, sender in senders.items():
            self.assert_all_came_back(sender.finish(), [topic])

    def wait_until_there(self, cluster: Cluster, topic: str) -> None:
        """Wait until the topic has a producer in the cluster."""
        name = topic.removeprefix("persistent://")

        def there() -> bool:
            try:
                return bool(cluster.admin("GET", f"/admin/v2/persistent/{name}/stats")["publishers"])
            except AssertionError:
                # No such topic yet.
                return False

        wait_until(there, f"{topic} in {cluster.name}")

    def test_proxy(self) -> None:
        """Through one proxy, which passes TLS through, or ends it and reads TOPIC_MIGRATED."""
        pair, material = shared(), self.lab.material
        (port,) = free_ports(1)
        lines = ["[inspect_log]", 'path = "events.jsonl"', "[[listener]]", 'name = "ends"', 'inspect = "pulsar"']
        lines += [f'endpoint = "tcp:{port}:interface=127.0.0.1"', f'certificates = "{material.folder}"']
        lines += [f'upstream_trust = "{material.trust}"']
        proxy = self.proxy(pair.routes(), more="\n".join(lines) + "\n")
        urls = {"public": proxy.url, "ends": f"pulsar+ssl://127.0.0.1:{port}"}
        topics = {name: f"persistent://public/default/migrates-{name}" for name in urls}
        self.run_through(
            pair,
            {
                topics[name]: clients.java_client(
                    {**self.options(proxy), "proxy": url, "endless": True, "timeout": 60}, [topics[name]]
                )
                for name, url in urls.items()
            },
        )
        wanted = {
            (listener, name)
            for listener in urls
            for cluster in (pair.blue, pair.green)
            for name in (cluster.service_name, cluster.brokers[0].name)
        }
        logged = proxy.connections(lambda log: wanted <= {(line["listener"], line["server_name"]) for line in log})
        self.assertEqual(wanted, {(line["listener"], line["server_name"]) for line in logged})
        self.assertLessEqual({line["result"] for line in logged}, {"ok", "reset"})
        migrated = _events(proxy, "migrated")
        self.assertEqual({"producer", "consumer"}, {event["kind"] for event in migrated})
        self.assertEqual({(topics["ends"], GREEN_URL)}, {(e["topic"], e["broker_url_tls"]) for e in migrated})

    def test_bridges(self) -> None:
        """Clients of a bridge to the blue cluster are led to the bridge to the green one."""
        require(parts=["python"])
        pair = shared()
        proxy = self.proxy(pair.routes())
        spans = [
            Span(f"{name}:6651", proxy.url, self.lab.material.trust, more='inspect = "pulsar"')
            for name in (SERVICE_NAME, OTHER_SERVICE_NAME)
        ]
        bridge = Bridge(self.lab.new_folder(), spans, '[inspect_log]\npath = "events.jsonl"\n')
        self.addCleanup(bridge.stop)
        url = f"pulsar://127.0.0.1:{bridge.ports[0]}"
        makers = {"java": clients.java_client, "python": clients.python_client}
        topics = {name: f"persistent://public/default/bridged-{name}" for name in makers}
        options = {"url": url, "endless": True, "timeout": 60}
        self.run_through(pair, {topics[name]: make(options, [topics[name]]) for name, make in makers.items()})
        names = {each.service_name for each in (pair.blue, pair.green)} | {
            each.brokers[0].name for each in (pair.blue, pair.green)
        }
        logged = proxy.connections(lambda log: names <= {line["server_name"] for line in log})
        self.assertEqual(names, {line["server_name"] for line in logged})
        migrated = _events(bridge, "migrated")
        self.assertEqual(set(topics.values()), {event["topic"] for event in migrated})
        self.assertEqual({GREEN_URL}, {event["broker_url_tls"] for event in migrated})

    if not LONG:
        del test_bridges


class FailoverTests(PulsarTestCase):
    """The blue cluster dies; clients that know both have a provider of service URLs."""

    def client(self, kind: str, proxy: Proxy, primary: str, secondary: str, hosts: Path | None = None) -> Child:
        """A client of that kind, which has sent a message to the blue cluster. `hosts`: its own /etc/hosts."""
        options = {"kind": kind, "primary": primary, "secondary": secondary, "proxy": proxy.url}
        topic = f"persistent://public/default/failover-{kind}"
        command = clients.java_client({**options, "trust": self.lab.material.trust}, [topic], main="PulsarFailover")
        inside = [] if hosts is None else [*require_private_hosts(), str(hosts)]
        child = Child([*inside, *command])
        self.addCleanup(child.stop)
        child.wait_for_text("READY")
        self.assertEqual((True, primary), self.send(child, "first"))
        return child

    def send(self, client: Child, text: str) -> tuple[bool, str]:
        """Send a message. Returns whether it was confirmed, and the service URL that the client has then."""
        client.write(f"{text}\n")
        told = json.loads(client.wait_for_text(f'{{"text":"{text}"'))
        return told["sent"], told["url"]

    def test_death_of_a_cluster(self) -> None:
        """SameAuthParamsLookupAutoClusterFailover asks for a topic, through the proxy, and fails over.

        AutoClusterFailover connects to the service URL's host and port, past the proxy, and never does: it finds both
        clusters down where the names do not resolve, and both up where they resolve to the proxy.
        """
        pair = shared()
        self.addCleanup(stop)
        proxy = self.proxy(pair.routes())
        hosts = self.lab.new_folder() / "hosts"
        clients.write_hosts(hosts, [SERVICE_NAME, OTHER_SERVICE_NAME])
        at_proxy = [f"pulsar+ssl://{name}:{proxy.port}" for name in (SERVICE_NAME, OTHER_SERVICE_NAME)]
        looks = self.client("same", proxy, BLUE_URL, GREEN_URL)
        unresolved = self.client("auto", proxy, BLUE_URL, GREEN_URL)
        resolved = self.client("auto", proxy, at_proxy[0], at_proxy[1], hosts)
        pair.blue.kill(pair.blue.brokers[0])
        for number in range(60):
            answer = self.send(looks, f"again-{number}")
            if answer == (True, GREEN_URL):
                break
        self.assertEqual((True, GREEN_URL), answer)
        # Each of these fails after seconds, in which both have probed many times.
        for client, url in ((unresolved, BLUE_URL), (resolved, at_proxy[0])):
            self.assertEqual([(False, url)] * 3, [self.send(client, f"lost-{number}") for number in range(3)])
        self.assertIn(OTHER_SERVICE_NAME, proxy.names(OTHER_SERVICE_NAME))


if not LONG:
    del FailoverTests
