"""The ExtensibleLoadManager: an unload tells clients the topic's new owner (PIP-307), so that they need no lookup.

With PEERS_LONG=1 (`make peers-long`) the topics move more often.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import Any

from tests.peers import clients, lab
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Sender
from tests.peers.cluster import Broker, free_ports
from tests.peers.material import SERVICE_NAME

#: How often each topic moves.
ROUNDS = 5 if os.environ.get("PEERS_LONG") == "1" else 2
SETTINGS = {
    "loadManagerClassName": "org.apache.pulsar.broker.loadbalance.extensions.ExtensibleLoadManagerImpl",
    "loadBalancerMultiPhaseBundleUnload": "true",
    "systemTopicEnabled": "true",
    "topicLevelPoliciesEnabled": "true",
}


class UnloadTests(PulsarTestCase):
    """A client sends while its topic moves between two brokers."""

    def test_close_with_url(self) -> None:
        """The client goes to the broker that CLOSE names, by SNI and without a lookup; no message is lost.

        One client's TLS passes through the proxy. The other's ends there, and the inspector tells each move.
        """
        cluster = self.start_cluster(SETTINGS, setup=True)
        material = self.lab.material
        (port,) = free_ports(1)
        lines = ["[inspect_log]", 'path = "events.jsonl"', "[[listener]]", 'name = "ends"', 'inspect = "pulsar"']
        lines += [f'endpoint = "tcp:{port}:interface=127.0.0.1"', f'certificates = "{material.folder}"']
        lines += [f'upstream_trust = "{material.trust}"']
        proxy = self.proxy(lab.routes(cluster), more="\n".join(lines) + "\n")
        urls = {"public": proxy.url, "ends": f"pulsar+ssl://127.0.0.1:{port}"}
        topics = {name: f"public/default/unloaded-{name}" for name in urls}
        first = {name: cluster.owner(topic) for name, topic in topics.items()}
        senders = {}
        for name, url in urls.items():
            options = {**self.options(proxy), "proxy": url, "endless": True, "timeout": 60}
            senders[name] = Sender(clients.java_client(options, [f"persistent://{topics[name]}"]))
            self.addCleanup(senders[name].stop)
            senders[name].wait_until_sending()
        path: list[tuple[Broker, Broker]] = []
        for _ in range(ROUNDS):
            for name, topic in topics.items():
                here = cluster.owner(topic)
                (there,) = (broker for broker in cluster.brokers if broker is not here)
                cluster.move(topic, there)
                senders[name].wait_until_sending()
                if name == "ends":
                    path.append((here, there))
        for name, sender in senders.items():
            self.assert_all_came_back(sender.finish(), [f"persistent://{topics[name]}"])
        names = {SERVICE_NAME, *(broker.name for broker in cluster.brokers)}
        wanted = {(listener, name) for listener in urls for name in names}
        logged = proxy.connections(lambda log: wanted <= {(line["listener"], line["server_name"]) for line in log})
        self.assertEqual(wanted, {(line["listener"], line["server_name"]) for line in logged})
        proxy.stop()
        told = [json.loads(line) for line in proxy.event_log.read_text().splitlines()]
        self.check_events([event for event in told if event.get("topic") == f"persistent://{topics['ends']}"], path)
        self.assertEqual(first["ends"], path[0][0])

    def check_events(self, events: list[dict[str, Any]], path: list[tuple[Broker, Broker]]) -> None:
        """Assert that the topic's events tell the moves, and that clients had the new owner from CLOSE."""
        closes = [event for event in events if event["event"] == "close" and event["by"] == "broker"]
        self.assertEqual({"producer", "consumer"}, {event["kind"] for event in closes})
        self.assertEqual(
            [there.name for _, there in path for _ in range(2)], [_host(e, "broker_url_tls") for e in closes]
        )
        moved = [event for event in events if event["event"] == "moved"]
        told = [(_host(event, "from_url_tls"), _host(event, "to_url_tls")) for event in moved]
        self.assertEqual([(here.name, there.name) for here, there in path], told)
        after = events[events.index(closes[0]) :]
        self.assertEqual([], [event for event in after if event["event"] == "lookup"])


def _host(event: dict[str, Any], key: str) -> str | None:
    return urllib.parse.urlsplit(str(event[key])).hostname
