"""The inspector in its plaintext test mode: real clients, and one plaintext listener for each broker (PIP-95)."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.cluster import Cluster
from tests.peers.needs import require
from tests.peers.proxy import Proxy


def taps(cluster: Cluster) -> str:
    """A plaintext listener before each broker, where its listener `tap` says that it is."""
    lines = ["[inspect_log]", 'path = "events.jsonl"']
    for broker in cluster.brokers:
        lines += [
            "[[listener]]",
            f'endpoint = "tcp:{broker.tap}:interface=127.0.0.1"',
            f'name = "{broker.name}"',
            "plaintext = true",
            'inspect = "pulsar"',
            f'target = "127.0.0.1:{broker.behind_tap}"',
        ]
    return "\n".join(lines) + "\n"


def without_time(topic: str) -> str:
    """`persistent://public/default/t` as the admin API's path has it."""
    return topic.replace("://", "/")


class PlaintextTests(PulsarTestCase):
    """What lookups say is what the admin API says."""

    def start(self) -> tuple[Cluster, Proxy]:
        cluster = self.lab.cluster
        return cluster, self.proxy(lab.routes(cluster), more=taps(cluster))

    def owner_url(self, cluster: Cluster, topic: str) -> str:
        """Where the admin API says that the topic is, for clients of the listener `tap`."""
        answer = cluster.admin("GET", f"/lookup/v2/topic/{without_time(topic)}?listenerName=tap")
        return str(answer["brokerUrl"])

    def events(self, proxy: Proxy) -> list[dict[str, Any]]:
        """All events, when the proxy has ended."""
        proxy.stop()
        return [json.loads(line) for line in proxy.event_log.read_text().splitlines()]

    def check(self, outcome: Outcome, cluster: Cluster, proxy: Proxy, topics: list[str]) -> None:
        self.assert_all_came_back(outcome, topics)
        owners = {topic: self.owner_url(cluster, topic) for topic in topics}
        self.assertEqual(len(cluster.brokers), len(set(owners.values())))
        events = self.events(proxy)
        told = {e["topic"]: e["broker_url"] for e in events if e["event"] == "lookup" and e["response"] == "connect"}
        self.assertEqual(owners, told)
        # Each broker was used through its own tap.
        names = {broker.name for broker in cluster.brokers}
        self.assertEqual(names, {line["listener"] for line in proxy.connections()})

    def test_java(self) -> None:
        """The Java client's lookups, topics on both brokers."""
        cluster, proxy = self.start()
        topics = list(cluster.topic_of_each("public/default/tapped-java").values())
        url = f"pulsar://127.0.0.1:{cluster.brokers[0].tap}"
        self.check(clients.run(clients.java_client({"url": url}, topics)), cluster, proxy, topics)

    def test_python(self) -> None:
        """The Python client's lookups, topics on both brokers."""
        require(parts=["python"])
        cluster, proxy = self.start()
        topics = list(cluster.topic_of_each("public/default/tapped-python").values())
        url = f"pulsar://127.0.0.1:{cluster.brokers[1].tap}"
        self.check(
            clients.run(clients.python_client({"url": url, "trust": self.lab.material.trust}, topics)),
            cluster,
            proxy,
            topics,
        )

    def test_move(self) -> None:
        """A topic moves while messages are sent: the ledger says from where to where, as the admin API does."""
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
        moved = [event for event in self.events(proxy) if event["event"] == "moved"]
        self.assertEqual(
            [(f"persistent://{topic}", f"pulsar://127.0.0.1:{before.tap}", url)],
            [(event["topic"], event["from_url"], event["to_url"]) for event in moved],
        )
