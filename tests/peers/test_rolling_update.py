"""A rolling update of a Deployment: clients of old pods go to new ones, and lose no message."""

from __future__ import annotations

import signal
from collections import Counter

from tests.peers import lab
from tests.peers.case import PulsarTestCase
from tests.peers.geo import Traffic
from tests.peers.proxy import Proxy
from tests.peers.service import Service

DRAIN_S = 3


class RollingUpdateTests(PulsarTestCase):
    """Two clients that send to each other through a Service, as examples/kubernetes sets it up."""

    def pods(self, count: int) -> list[Proxy]:
        routes = lab.routes(self.lab.cluster)
        return [self.proxy(routes, more=f"[timeouts]\ndrain = {DRAIN_S}\n") for _ in range(count)]

    def tunnels(self, pods: list[Proxy]) -> Counter[str]:
        """The connections to brokers by name, of pods that have ended."""
        own = {broker.name for broker in self.lab.cluster.brokers}
        logged = [line for pod in pods for line in pod.connections(lambda log: True)]
        return Counter(line["server_name"] for line in logged if line["server_name"] in own)

    def update(self, old: list[Proxy], surge: int) -> Counter[str]:
        """Replace pods, `surge` at a time, while clients send. Returns the tunnels of new pods."""
        topics = [f"persistent://public/default/rolling-{surge}-{number}" for number in range(4)]
        service = Service(old)
        self.addCleanup(service.stop)
        traffic = Traffic(self.lab.material.trust, topics, [(self.lab.cluster.service_name, service)] * 2)
        self.addCleanup(traffic.stop)
        traffic.go()
        traffic.wait_until_crossing()
        ready, new = list(old), []
        for first in range(0, len(old), surge):
            started, ending = self.pods(surge), old[first : first + surge]
            new += started
            ready = [pod for pod in (*ready, *started) if pod not in ending]
            service.set_ready(ready)
            for pod in ending:
                pod.signal(signal.SIGTERM)
            for pod in ending:
                pod.wait_for_text("Server Shut Down")
            traffic.wait_until_crossing()
        report = traffic.finish()
        traffic.stop()
        for pod in (*old, *new):
            pod.stop()
        self.assertEqual((0, 0), (report["missing"], report["misordered"]))
        return self.tunnels(new)

    def test_all_new_first(self) -> None:
        """With maxSurge 100% each client connects to each broker once more, and no message is lost or out of order."""
        old = self.pods(2)
        after = self.update(old, 2)
        self.assertEqual({2}, set(after.values()))
        self.assertEqual(self.tunnels(old), after)

    def test_one_at_a_time(self) -> None:
        """With maxSurge 1 a client may move to an old pod first; no message is lost or out of order, either."""
        old = self.pods(2)
        after = self.update(old, 1)
        self.assertEqual(set(self.tunnels(old)), set(after))
        self.assertGreaterEqual(min(after.values()), 2)
