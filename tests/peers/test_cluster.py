"""The parts of a cluster, and how topics lie in one."""

from __future__ import annotations

import random
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import cluster
from tests.peers.case import PulsarTestCase
from tests.peers.children import ChildError


class FreePortTests(SynchronousTestCase):
    """Ports for a JVM that cannot choose them itself."""

    def test_distinct(self) -> None:
        """As many as are asked for, all different, and none that the kernel gives to outgoing connections."""
        ports = cluster.free_ports(20)
        self.assertEqual(len(set(ports)), 20)
        self.assertLess(max(ports), 32768)

    def test_taken(self) -> None:
        """A port that somebody listens on is not among them; if there are too few, that is an error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.patch(random, "sample", lambda population, k: [port])
            self.assertRaises(OSError, cluster.free_ports, 1)
        self.assertEqual(cluster.free_ports(1), [port])


class ReadyTests(SynchronousTestCase):
    """What the JVM says."""

    def test_ready(self) -> None:
        """It serves when it says so."""
        self.assertFalse(cluster._ready(["12:00 INFO broker"]))
        self.assertTrue(cluster._ready(["12:00 INFO broker", "CLUSTER READY"]))

    def test_failed(self) -> None:
        """A failure is an error at once, with what was said before it."""
        lines = ["java.net.BindException: Address already in use", "CLUSTER FAILED it"]
        failure = self.assertRaises(ChildError, cluster._ready, lines)
        self.assertIn("BindException", str(failure))


class TopicTests(PulsarTestCase):
    """Topics by their owners."""

    def test_one_broker_has_all(self) -> None:
        """A broker that has lost all bundles of a namespace to the other one gets a topic all the same."""
        brokers = self.lab.cluster
        full, empty = brokers.brokers
        brokers.create_namespace("public/lopsided")
        for i in range(40):
            if brokers.owner(f"public/lopsided/t-{i}") != full:
                brokers.move(f"public/lopsided/t-{i}", full)
        found = brokers.topic_of_each("public/lopsided/t")
        self.assertEqual({full.name, empty.name}, set(found))
        for broker in (full, empty):
            self.assertEqual(broker, brokers.owner(found[broker.name].removeprefix("persistent://")))
