"""The inspector with real clients, and one plaintext listener for each broker (PIP-95)."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.peers import clients, inspected, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.cluster import Cluster, free_ports
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require
from tests.peers.proxy import Proxy


def without_time(topic: str) -> str:
    """The path of `persistent://public/default/t` in the admin API."""
    return topic.replace("://", "/")


class InspectorTestCase(PulsarTestCase):
    """Has assertions for events, and for the ledger of a running proxy."""

    def setUp(self) -> None:
        """Skip the test without brokers."""
        super().setUp()
        (self.admin_port,) = free_ports(1)

    def ledger(self) -> dict[str, dict[str, Any]]:
        """The proxy's topics. Asserts that /topics and `sniproxyctl topics URL` agree."""
        url = f"http://127.0.0.1:{self.admin_port}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/topics", timeout=10) as answer:
            topics = {entry["topic"]: entry for entry in json.load(answer)["topics"]}
        command = [str(Path(sys.executable).with_name("sniproxyctl")), "topics", url, "--json"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        self.assertEqual(
            {topic: (entry["broker_url"], entry["broker_url_tls"]) for topic, entry in topics.items()},
            {entry["topic"]: (entry["broker_url"], entry["broker_url_tls"]) for entry in json.loads(told)},
        )
        return topics

    def check_ledger(self, key: str, owners: Mapping[str, str], moves: int = 0) -> dict[str, dict[str, Any]]:
        """Assert the owner and the number of moves of each topic, and that each is listed once, in one cluster."""
        ledger = self.ledger()
        found = {topic: (ledger[topic][key], ledger[topic]["moves_total"]) for topic in owners}
        self.assertEqual({topic: (owner, moves) for topic, owner in owners.items()}, found)
        self.assertEqual(1, len({entry["cluster"] for entry in ledger.values()}))
        return ledger

    def check_unload(
        self, cluster: Cluster, topic: str, key: str, owner: Callable[[str], str], again: Callable[[], Outcome]
    ) -> None:
        """Move the topic to the other broker, use it, and assert that the ledger has the new owner."""
        name = topic.removeprefix("persistent://")
        here = cluster.owner(name)
        cluster.move(name, next(broker for broker in cluster.brokers if broker is not here))
        self.assert_all_came_back(again(), [topic])
        self.assertIsNot(here, cluster.owner(name))
        self.check_ledger(key, {topic: owner(topic)}, moves=1)


class PlaintextTests(InspectorTestCase):
    """Lookups agree with the admin API."""

    def start(self) -> tuple[Cluster, Proxy]:
        cluster = self.lab.cluster
        return cluster, self.proxy(lab.routes(cluster), more=inspected.taps(cluster) + inspected.admin(self.admin_port))

    def owner_url(self, cluster: Cluster, topic: str) -> str:
        """The owner's URL for listener `tap`, by the admin API."""
        answer = cluster.admin("GET", f"/lookup/v2/topic/{without_time(topic)}?listenerName=tap")
        return str(answer["brokerUrl"])

    def check(self, outcome: Outcome, cluster: Cluster, proxy: Proxy, topics: list[str]) -> None:
        """Assert the ledger and, after the proxy has ended, the events."""
        owners = self.check_live(outcome, cluster, topics)
        self.check_events(owners, cluster, proxy)

    def check_live(self, outcome: Outcome, cluster: Cluster, topics: list[str]) -> dict[str, str]:
        self.assert_all_came_back(outcome, topics)
        owners = {topic: self.owner_url(cluster, topic) for topic in topics}
        self.assertEqual(len(cluster.brokers), len(set(owners.values())))
        self.check_ledger("broker_url", owners)
        return owners

    def check_events(self, owners: dict[str, str], cluster: Cluster, proxy: Proxy) -> None:
        events = inspected.events(proxy)
        told = [(e["topic"], e["broker_url"]) for e in events if e["event"] == "lookup" and e["response"] == "connect"]
        self.assertEqual(owners, dict(reversed(told)))
        # Each broker was used through its own tap.
        names = {broker.name for broker in cluster.brokers}
        self.assertEqual(names, {line["listener"] for line in proxy.connections()})

    def test_java(self) -> None:
        """Lookups of the Java client, topics on both brokers."""
        cluster, proxy = self.start()
        topics = list(cluster.topic_of_each("public/default/tapped-java").values())
        url = f"pulsar://127.0.0.1:{cluster.brokers[0].tap}"
        self.check(clients.run(clients.java_client({"url": url}, topics)), cluster, proxy, topics)

    def test_python(self) -> None:
        """Lookups of the Python client, topics on both brokers, before and after an unload."""
        require(parts=["python"])
        cluster, proxy = self.start()
        topics = list(cluster.topic_of_each("public/default/tapped-python").values())
        options = {"url": f"pulsar://127.0.0.1:{cluster.brokers[1].tap}", "trust": self.lab.material.trust}

        def run(topics: list[str]) -> Outcome:
            return clients.run(clients.python_client(options, topics))

        owners = self.check_live(run(topics), cluster, topics)
        moved = topics[0]
        owner = functools.partial(self.owner_url, cluster)
        self.check_unload(cluster, moved, "broker_url", owner, lambda: run([moved]))
        self.check_events(owners, cluster, proxy)

    def test_move(self) -> None:
        """A topic moves during sending: the ledger has the old and the new owner, as the admin API."""
        cluster, proxy = self.start()
        topic = "public/default/tapped-move"
        before = cluster.owner(topic)
        after = next(broker for broker in cluster.brokers if broker is not before)
        outcome = clients.run(
            clients.java_client(
                {"url": f"pulsar://127.0.0.1:{before.tap}", "n": 100, "unload": cluster.move_url(topic, after)},
                [f"persistent://{topic}"],
            )
        )
        self.assert_all_came_back(outcome, [f"persistent://{topic}"])
        url = self.owner_url(cluster, f"persistent://{topic}")
        self.assertEqual(after.tap, urllib.parse.urlsplit(url).port)
        ledger = self.check_ledger("broker_url", {f"persistent://{topic}": url}, moves=1)
        (move,) = ledger[f"persistent://{topic}"]["moves"]
        self.assertEqual((f"pulsar://127.0.0.1:{before.tap}", url), (move["from_url"], move["to_url"]))
        moved = [event for event in inspected.events(proxy) if event["event"] == "moved"]
        self.assertEqual(
            [(f"persistent://{topic}", f"pulsar://127.0.0.1:{before.tap}", url)],
            [(event["topic"], event["from_url"], event["to_url"]) for event in moved],
        )


class TerminatedTests(InspectorTestCase):
    """TLS terminated by the proxy, with verification on both sides."""

    def start(self, more: str = "") -> tuple[Cluster, Proxy, str]:
        """@return: the cluster, a proxy, and the URL of its listener that ends TLS."""
        cluster, material = self.lab.cluster, self.lab.material
        (port,) = free_ports(1)
        return (
            cluster,
            self.proxy(
                lab.routes(cluster), more=inspected.ends(material, port) + inspected.admin(self.admin_port) + more
            ),
            f"pulsar+ssl://127.0.0.1:{port}",
        )

    def run_java(self, proxy: Proxy, ends: str, topics: list[str], **more: object) -> Outcome:
        """Run the Java client through the listener that terminates TLS."""
        return clients.run(clients.java_client({**self.options(proxy), "proxy": ends, **more}, topics))

    def owner_url(self, cluster: Cluster, topic: str) -> str:
        """The owner's TLS URL by the admin API."""
        answer = cluster.admin("GET", f"/lookup/v2/topic/{without_time(topic)}?listenerName=external")
        return str(answer["brokerUrlTls"])

    def check(
        self,
        outcome: Outcome,
        cluster: Cluster,
        proxy: Proxy,
        topics: list[str],
        then: Callable[[], None] | None = None,
    ) -> None:
        """Assert the ledger and, after further steps and the end of the proxy, log and events."""
        self.assert_all_came_back(outcome, topics)
        owners = {topic: self.owner_url(cluster, topic) for topic in topics}
        self.check_ledger("broker_url_tls", owners)
        if then is not None:
            then()
        logged = proxy.connections(lambda log: len(log) >= 3)
        names = {broker.name for broker in cluster.brokers} | {SERVICE_NAME}
        self.assertEqual(
            {("ends", "ok", name) for name in names}, {(c["listener"], c["result"], c["server_name"]) for c in logged}
        )
        events = inspected.events(proxy)
        lookups = [event for event in events if event["event"] == "lookup" and event["response"] == "connect"]
        self.assertEqual(owners, {event["topic"]: event["broker_url_tls"] for event in reversed(lookups)})
        self.assertFalse([event for event in events if event["event"] in ("lost", "gap", "unrouted")])

    def test_java(self) -> None:
        """The Java client in proxy mode, with host names verified on both sides."""
        cluster, proxy, url = self.start()
        topics = list(cluster.topic_of_each("public/default/ended-java").values())
        self.check(self.run_java(proxy, url, topics), cluster, proxy, topics)

    def test_python(self) -> None:
        """The Python client, before and after an unload."""
        require(parts=["python"])
        cluster, proxy, url = self.start()
        topics = list(cluster.topic_of_each("public/default/ended-python").values())

        def run(topics: list[str]) -> Outcome:
            return clients.run(clients.python_client(self.options(proxy) | {"proxy": url}, topics))

        def unload() -> None:
            topic = topics[0]
            owner = functools.partial(self.owner_url, cluster)
            self.check_unload(cluster, topic, "broker_url_tls", owner, lambda: run([topic]))

        self.check(run(topics), cluster, proxy, topics, unload)

    def test_move(self) -> None:
        """A topic moves during sending: events agree with the admin API, before and after."""
        cluster, proxy, url = self.start()
        topic = "public/default/ended-move"
        before = cluster.owner(topic)
        first = self.owner_url(cluster, f"persistent://{topic}")
        after = next(broker for broker in cluster.brokers if broker is not before)
        outcome = self.run_java(proxy, url, [f"persistent://{topic}"], n=100, unload=cluster.move_url(topic, after))
        self.assert_all_came_back(outcome, [f"persistent://{topic}"])
        after_url = self.owner_url(cluster, f"persistent://{topic}")
        ledger = self.check_ledger("broker_url_tls", {f"persistent://{topic}": after_url}, moves=1)
        (move,) = ledger[f"persistent://{topic}"]["moves"]
        self.assertEqual((first, after_url), (move["from_url_tls"], move["to_url_tls"]))
        moved = [(e["from_url_tls"], e["to_url_tls"]) for e in inspected.events(proxy) if e["event"] == "moved"]
        self.assertEqual([(first, self.owner_url(cluster, f"persistent://{topic}"))], moved)
        self.assertNotEqual(*moved[0])

    def test_no_certificate(self) -> None:
        """A name without a certificate is refused, with the reason in the record."""
        _, proxy, url = self.start(
            f'[[route]]\nserver_name = "localhost.test"\ntarget = "127.0.0.1:{self.lab.cluster.brokers[0].tls}"\n'
        )
        outcome = self.run_java(
            proxy, url, ["persistent://public/default/x"], url="pulsar+ssl://localhost.test:6651", timeout=4
        )
        self.failure(outcome)
        results = {line["result"] for line in proxy.connections()}
        self.assertEqual({"no_certificate"}, results)
