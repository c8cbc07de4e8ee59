"""Transactions through the proxy: of the classic Java API with each version, of the V5 API with Pulsar 5.0.

With PEERS_LONG=1 (`make peers-long`) the V5 API is shown to fail where brokers answer for each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tests.peers import clients, inspected, lab, transactional
from tests.peers.case import PulsarTestCase
from tests.peers.clients import Outcome
from tests.peers.cluster import Broker, free_ports
from tests.peers.material import BROKER_NAMES, SERVICE_NAME
from tests.peers.proxy import Bridge, Proxy, Span
from tests.peers.scalable import ScalableTestCase, ScalableTopic

LONG = os.environ.get("PEERS_LONG") == "1"
ERRORS = ("moved", "unrouted", "gap", "lost", "unanswered")


class ClassicTests(PulsarTestCase):
    """Commit, abort, and both for acknowledgements; four transactions of four coordinators in each topic."""

    def setUp(self) -> None:
        """Start the brokers, unless an earlier test did."""
        super().setUp()
        self.cluster = transactional.brokers(self.pulsar)

    def topics(self, stem: str) -> list[str]:
        """A topic of each broker."""
        return list(self.cluster.topic_of_each(f"public/default/{stem}").values())

    def run_java(self, options: dict[str, object], topics: Sequence[str]) -> Outcome:
        return clients.run(clients.java_client(options, topics, self.pulsar, "PulsarTransactions"))

    def check(self, outcome: Outcome, topics: Sequence[str]) -> None:
        """Assert that only committed messages came, and only committed acknowledgements hold."""
        expected = [
            {
                "topic": topic,
                "received": [*(f"sent-{i}" for i in range(5)), "outside"],
                "again": ["outside", "last"],
                "coordinators": list(range(transactional.COORDINATORS)),
            }
            for topic in topics
        ]
        self.assertEqual((expected, 0), (outcome.reports, outcome.status), outcome.log)

    def check_events(self, proxy: Proxy, topics: Sequence[str]) -> list[dict[str, Any]]:
        """Assert that the inspector has nothing to complain of. Returns the events."""
        found = inspected.events(proxy)
        self.assertEqual([], [event for event in found if event["event"] in ERRORS or event.get("error")])
        self.assertLessEqual(set(topics), {event["topic"] for event in found if event["event"] == "producer"})
        return found

    def test_proxy(self) -> None:
        """TLS passes: clients reach the coordinators of both brokers by the brokers' names."""
        topics = self.topics("transacted")
        proxy = self.proxy(lab.routes(self.cluster))
        self.check(self.run_java(self.options(proxy), topics), topics)
        names = proxy.names(SERVICE_NAME, *BROKER_NAMES)
        self.assertEqual({SERVICE_NAME, *BROKER_NAMES}, set(names))
        self.assertEqual({"ok"}, {line["result"] for line in proxy.connections()})

    def test_terminated(self) -> None:
        """The proxy ends TLS, and reads transactions without a false alarm."""
        (port,) = free_ports(1)
        topics = self.topics("transacted-ended")
        proxy = self.proxy(lab.routes(self.cluster), more=inspected.ends(self.lab.material, port))
        options = self.options(proxy) | {"proxy": f"pulsar+ssl://127.0.0.1:{port}"}
        self.check(self.run_java(options, topics), topics)
        found = self.check_events(proxy, topics)
        commands = [event["commands"] for event in found if event["event"] == "ended"]
        self.assertEqual(len(topics) * 4, sum(each.get("NEW_TXN", 0) for each in commands))

    def test_tap(self) -> None:
        """In plaintext through the brokers' taps; the inspector reads without a false alarm."""
        topics = self.topics("transacted-tapped")
        proxy = self.proxy(lab.routes(self.cluster), more=inspected.taps(self.cluster))
        self.check(self.run_java({"url": f"pulsar://127.0.0.1:{self.cluster.brokers[0].tap}"}, topics), topics)
        self.check_events(proxy, topics)

    def test_bridge(self) -> None:
        """A plain client by a bridge."""
        topics = self.topics("transacted-bridged")
        proxy = self.proxy(lab.routes(self.cluster))
        span = Span(f"{SERVICE_NAME}:6651", proxy.url, self.lab.material.trust)
        bridge = Bridge(self.lab.new_folder(), [span])
        self.addCleanup(bridge.stop)
        self.check(self.run_java({"url": bridge.url}, topics), topics)
        bridge.stop()
        self.assertEqual({SERVICE_NAME, *BROKER_NAMES}, {line["server_name"] for line in bridge.connections()})


class ScalableTests(ScalableTestCase):
    """The V5 API (PIP-473): the client asks any broker, by the service name, for each coordinator's leader.

    Pulsar 5.0's brokers do not pass that on: so the service name must lead to the leader.
    """

    def routes(self, service: Broker) -> dict[str, list[str]]:
        """Routes with one broker at the service name."""
        return lab.routes(self.cluster) | {SERVICE_NAME: [f"127.0.0.1:{service.tls}"]}

    def leader(self, topic: ScalableTopic) -> Broker:
        """The broker that leads all coordinators, as the inspector reads it."""
        proxy, url = self.terminating()
        client = self.client(topic, url, transactions=True)
        client.do("open queue found")
        client.finish()
        found = [event for event in inspected.events(proxy) if event["event"] == "coordinators"]
        self.assertEqual(transactional.COORDINATORS, len(found[-1]["assignments"]))
        (led_by,) = {each["broker_url_tls"] for each in found[-1]["assignments"]}
        (leader,) = [one for one in self.cluster.brokers if f"pulsar+ssl://{one.name}:{one.tls}" == led_by]
        return leader

    def test_leader(self) -> None:
        """Commit, abort and acknowledge, where the service name leads to the leader."""
        topic = ScalableTopic(self.cluster, "transacted-v5", 2)
        proxy = self.proxy(self.routes(self.leader(topic)))
        client = self.client(topic, proxy.url, transactions=True)
        client.do("open queue reading", "begin", "produce 3 kept")
        self.assertEqual("COMMITTED", client.do("commit")["state"])
        client.do("begin", "produce 2 dropped")
        self.assertEqual("ABORTED", client.do("abort")["state"])
        client.do("produce 1 outside", "begin")
        self.assertEqual(["kept-0", "kept-1", "kept-2", "outside-0"], client.receive("reading", 4))
        self.assertEqual("COMMITTED", client.do("commit")["state"])
        self.assertEqual(0, client.finish())
        self.assertEqual({"ok"}, {line["result"] for line in proxy.connections()})

    if LONG:

        def test_other_broker(self) -> None:
            """Where it leads to another broker, that one refuses coordinators that it does not lead: Pulsar's fault."""
            topic = ScalableTopic(self.cluster, "transacted-v5-else", 2)
            reports: list[str] = []
            for _ in range(3):  # the brokers may elect another leader meanwhile
                leader = self.leader(topic)
                (other,) = [broker for broker in self.cluster.brokers if broker is not leader]
                client = self.client(topic, self.proxy(self.routes(other)).url, transactions=True, timeout=4)
                begun = [client.attempt("begin") for _ in range(transactional.COORDINATORS)]
                reports.append(str([report.get("error") for report in begun]))
                if "Create new transaction" in reports[-1]:
                    return
            self.fail(f"each transaction began: {reports}")
