"""Scalable topics of Pulsar 5.0 through the proxy: the V5 client with every kind of consumer, splits and merges.

With PEERS_LONG=1 (`make peers-long`) the proxy is restarted, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.peers import inspected, lab
from tests.peers.cluster import Broker, free_ports
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.needs import require_private_hosts
from tests.peers.proxy import Proxy
from tests.peers.scalable import ScalableClient, ScalableTestCase, ScalableTopic

LONG = os.environ.get("PEERS_LONG") == "1"
#: An address of the proxy beside the brokers' 127.0.0.1.
ELSEWHERE = "127.0.0.9"
KINDS = ("queue", "stream", "checkpoint", "group")


def numbered(prefix: str, count: int) -> list[str]:
    """The messages of `produce`."""
    return [f"{prefix}-{i}" for i in range(count)]


class ConsumerTests(ScalableTestCase):
    """Kinds of consumers; TLS passes through."""

    def test_kinds(self) -> None:
        """Each kind of consumer gets all messages, the first one of a topic and every later one."""
        topic = ScalableTopic(self.cluster, "kinds", 3)
        proxy = self.proxy(lab.routes(self.cluster))
        client = self.client(topic, proxy.url)
        client.do("produce 6 sent")
        for turn in ("first", "later"):
            for kind in KINDS:
                name = f"{kind}-{turn}"
                client.do(f"open {kind} {name}")
                self.assertEqual(numbered("sent", 6), client.receive(name, 6), name)
                client.do(f"close {name}")
        client.do("open namespace all")
        while client.receive("all", 1) != ["sent-0"]:  # those of other topics may come first
            pass
        self.assertEqual(0, client.finish())
        # Controllers and segments are at both brokers, and reached by their names.
        self.assertLessEqual(set(proxy.names(SERVICE_NAME)), {SERVICE_NAME, *BROKER_NAMES})
        self.assertEqual({"ok"}, {line["result"] for line in proxy.connections()})

    def test_shared(self) -> None:
        """Two stream consumers share the segments; when one leaves, the other one gets what it left."""
        topic = ScalableTopic(self.cluster, "shared", 4)
        client = self.client(topic, self.proxy(lab.routes(self.cluster)).url)
        client.do("open stream one together", "open stream two together", "produce 8 sent", "close two")
        self.assertEqual(numbered("sent", 8), client.receive("one", 8))

    def test_split_and_merge(self) -> None:
        """A producer and consumers stay while the topic is split and merged: no message is lost."""
        topic = ScalableTopic(self.cluster, "resized", 1)
        proxy = self.proxy(lab.routes(self.cluster))
        self.check_layouts(topic, self.client(topic, proxy.url))
        self.assertEqual({"ok"}, {line["result"] for line in proxy.connections()})

    def check_layouts(self, topic: ScalableTopic, client: ScalableClient) -> None:
        """Split and merge the topic, with messages before, between and after."""
        client.do("open queue queue", "open stream stream", "produce 4 whole")
        topic.split(0)
        client.do("produce 4 split")
        self.assertEqual(numbered("split", 4) + numbered("whole", 4), client.receive("queue", 8))
        topic.merge(1, 2)
        client.do("produce 4 merged")
        self.assertEqual(numbered("merged", 4), client.receive("queue", 4))
        everything = sorted(numbered("whole", 4) + numbered("split", 4) + numbered("merged", 4))
        self.assertEqual(everything, client.receive("stream", 12))
        self.assertEqual(0, client.finish())

    def test_internal_address(self) -> None:
        """Where brokers advertise an address inside, later stream consumers dial it: refused, and the log says why."""
        cluster = self.start_cluster({"internalListenerName": "tap"}, brokers=BROKER_NAMES[:1])
        # Brokers use that listener, too.
        proxy = self.proxy(lab.routes(cluster), more=inspected.taps(cluster))
        topic = ScalableTopic(cluster, "addressed", 2)
        client = self.client(topic, proxy.url, timeout=10)
        client.do("open queue queue", "open stream first", "produce 2 sent")
        for kind in ("stream", "group"):
            report = client.attempt(f"open {kind} later")
            self.assertIn("error", report)
        # The others go on.
        self.assertEqual(numbered("sent", 2), client.receive("queue", 2))
        refused = proxy.connections(lambda log: any(line["result"] == "no_server_name" for line in log))
        told = next(line for line in refused if line["result"] == "no_server_name")
        self.assertEqual(("missing_extension", None), (told["alert"], told["server_name"]))
        self.assertIn("IP addresses", told["reason"])

    def test_dns_mode(self) -> None:
        """Without a proxy option: names resolve to the proxy, which listens on the brokers' internal ports, too."""
        private = require_private_hosts()
        hosts = self.lab.new_folder() / "hosts"
        # Brokers have their internal ports on 127.0.0.1.
        hosts.write_text(f"127.0.0.1 localhost\n{ELSEWHERE} {SERVICE_NAME} {' '.join(BROKER_NAMES)}\n")
        ports = {"dns": self.cluster.dns_port} | {f"internal-{one.name}": one.plain for one in self.cluster.brokers}
        more = "".join(
            f'[[listener]] # {port}\nname = "{name}"\nendpoint = "tcp:{port}:interface={ELSEWHERE}"\n'
            for name, port in ports.items()
        )
        proxy = self.proxy(lab.routes(self.cluster, dns=True), more=more)
        proxy.wait_for_text("ready: ")
        topic = ScalableTopic(self.cluster, "by-names", 3)
        url = f"pulsar+ssl://{SERVICE_NAME}:{self.cluster.dns_port}"
        words = {"url": url, "trust": self.lab.material.trust, "verify": True}
        client = self.start_client(topic, words, [*private, str(hosts)])
        client.do("produce 6 sent")
        for kind, name in (("queue", "queue"), ("stream", "first"), ("stream", "later"), ("group", "group")):
            client.do(f"open {kind} {name}")
            self.assertEqual(numbered("sent", 6), client.receive(name, 6), name)
        self.assertEqual(0, client.finish())
        logged = proxy.connections(lambda log: any(line["listener"].startswith("internal-") for line in log))
        self.assertEqual({"ok"}, {line["result"] for line in logged})

    if LONG:

        def test_restarted_proxy(self) -> None:
            """Consumers outlive a restart of the proxy, and follow a split afterwards."""
            topic = ScalableTopic(self.cluster, "restarted", 1)
            (port,) = free_ports(1)
            proxy = self.proxy(lab.routes(self.cluster), port)
            client = self.client(topic, proxy.url, timeout=60)
            client.do("open queue queue", "open stream stream", "produce 2 before")
            proxy.kill()
            self.proxy(lab.routes(self.cluster), port)
            client.do("produce 2 between")
            topic.split(0)
            client.do("produce 4 after")
            everything = sorted(numbered("before", 2) + numbered("between", 2) + numbered("after", 4))
            self.assertEqual(everything, client.receive("queue", 8))
            self.assertEqual(everything, client.receive("stream", 8))


class InspectorTests(ScalableTestCase):
    """What the inspector tells of scalable topics agrees with the admin API."""

    def check_events(
        self, proxy: Proxy, topic: ScalableTopic, key: str, url: Callable[[Broker], str]
    ) -> list[dict[str, Any]]:
        """Assert the owners of segments, by the lookups that clients made and by the topic's layout, and that nothing
        moved or is missing. Returns the events.

        `url`: what a lookup says of a broker, in the field `key`.
        """
        owners, controller = topic.owners(), topic.controller()
        found = inspected.events(proxy)
        wrong = ("moved", "unrouted", "gap", "lost", "unanswered", "error")
        self.assertEqual([], [event for event in found if event["event"] in wrong])
        self.assertFalse([event for event in found if "TYPE_" in str(event.get("commands"))])
        lookups = [event for event in found if event["event"] == "lookup" and event["response"] == "connect"]
        looked_up = {event["topic"]: event[key] for event in lookups if event["topic"].startswith("segment://")}
        self.assertEqual({segment: url(broker) for segment, broker in owners.items()}, looked_up)
        layouts = [event for event in found if event["event"] == "scalable_topic"]
        self.assertEqual({(topic.name, "success")}, {(event["topic"], event["status"]) for event in layouts})
        last = max(layouts, key=lambda event: int(event["epoch"]))
        self.assertEqual(len(owners), last["segments_total"])
        active = {each["segment_id"]: each["broker_url"] for each in last["segments"] if not each["sealed"]}
        numbers = {int(segment.rpartition("-")[2]): internal(broker) for segment, broker in owners.items()}
        self.assertEqual(active, {number: numbers.get(number) for number in active})
        told = {event["controller_broker_url"] for event in layouts} - {None}
        self.assertEqual({internal(controller)}, told)
        return found

    def test_terminated(self) -> None:
        """Where the proxy ends TLS: consumers of each kind, a split and a merge."""
        topic = ScalableTopic(self.cluster, "ended", 2)
        proxy, url = self.terminating()
        client = self.client(topic, url)
        client.do("open queue queue", "open stream stream", "open group group", "produce 4 sent")
        topic.split(0)
        topic.merge(2, 3)
        client.do("produce 4 more")
        for name in ("queue", "stream", "group"):
            self.assertEqual(numbered("more", 4) + numbered("sent", 4), client.receive(name, 8), name)
        self.assertEqual(0, client.finish())
        found = self.check_events(
            proxy, topic, "broker_url_tls", lambda broker: f"pulsar+ssl://{broker.name}:{broker.tls}"
        )
        changes = [
            (event["event"], *([each["segment_id"] for each in event[key]] for key in ("parents", "children")))
            for event in found
            if event["event"] in ("split", "merged")
        ]
        self.assertEqual([("split", [0], [2, 3]), ("merged", [2, 3], [4])], changes)
        told = [event for event in found if event["event"] == "scalable_subscribe"]
        self.assertEqual(
            {("STREAM", "ready"), ("CHECKPOINT", "ready")}, {(e["consumer_type"], e["status"]) for e in told}
        )

    def test_tap(self) -> None:
        """In plaintext: producers and queue consumers stay on the brokers' taps."""
        topic = ScalableTopic(self.cluster, "tapped", 3)
        proxy = self.proxy(lab.routes(self.cluster), more=inspected.taps(self.cluster))
        # From now on layouts name a controller, which is no owner.
        topic.controller()
        client = self.start_client(topic, {"url": f"pulsar://127.0.0.1:{self.cluster.brokers[0].tap}"})
        client.do("open queue queue", "produce 6 sent")
        self.assertEqual(numbered("sent", 6), client.receive("queue", 6))
        self.assertEqual(0, client.finish())
        self.check_events(proxy, topic, "broker_url", lambda broker: f"pulsar://127.0.0.1:{broker.tap}")


def internal(broker: Broker) -> str:
    """The URL of the listener that brokers use among themselves."""
    return f"pulsar://{broker.name}:{broker.plain}"
