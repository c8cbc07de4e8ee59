"""Tests for tests.peers.cluster."""

from __future__ import annotations

import random
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import cluster
from tests.peers.case import PulsarTestCase
from tests.peers.children import ChildError


class FreePortTests(SynchronousTestCase):
    """Ports for a JVM, which cannot choose free ones."""

    def test_distinct(self) -> None:
        """As many different ports as requested, outside the ephemeral range."""
        ports = cluster.free_ports(20)
        self.assertEqual(len(set(ports)), 20)
        self.assertLess(max(ports), 32768)

    def test_taken(self) -> None:
        """A used port is not returned; too few free ports are an error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.patch(random, "sample", lambda population, k: [port])
            self.assertRaises(OSError, cluster.free_ports, 1)
        self.assertEqual(cluster.free_ports(1), [port])


class ReadyTests(SynchronousTestCase):
    """The output of the JVM."""

    def test_ready(self) -> None:
        """A cluster serves when its JVM says so."""
        self.assertFalse(cluster._ready(["12:00 INFO broker"]))
        self.assertTrue(cluster._ready(["12:00 INFO broker", "CLUSTER READY"]))

    def test_failed(self) -> None:
        """A failure is an immediate error with the output so far."""
        lines = ["java.net.BindException: Address already in use", "CLUSTER FAILED it"]
        failure = self.assertRaises(ChildError, cluster._ready, lines)
        self.assertIn("BindException", str(failure))


class TopicTests(PulsarTestCase):
    """Owners of topics."""

    def test_one_broker_has_all(self) -> None:
        """A broker without bundles of a namespace still gets a topic."""
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
