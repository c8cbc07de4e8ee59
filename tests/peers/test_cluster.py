"""Tests for tests.peers.cluster."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import cluster, lab, needs, versions
from tests.peers.case import PulsarTestCase
from tests.peers.children import ChildError
from tests.peers.cluster import Cluster, Site
from tests.peers.material import BROKER_NAMES, SERVICE_NAME


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


class CommandTests(SynchronousTestCase):
    """The JVMs' commands and configurations, without JVMs."""

    def setUp(self) -> None:
        """A recorder in place of the JVMs."""
        self.commands: list[list[str]] = []
        commands = self.commands

        class StandIn:
            def __init__(self, command: list[str], cwd: Path) -> None:
                commands.append(command)

        self.patch(cluster, "Child", StandIn)
        self.patch(cluster, "java_command", lambda main, heap, level, pulsar: [f"java-{pulsar.java}", main])
        self.patch(needs, "private_hosts", lambda: None)
        self.folder = lab.shared().new_folder()

    def cluster(self, **attributes: Any) -> Cluster:
        """A cluster that does not run."""
        return Cluster(self.folder, lab.shared().material, site=Site(**attributes))

    def listeners(self) -> str:
        """What the first broker advertises."""
        lines = (self.folder / f"{BROKER_NAMES[0]}.conf").read_text().splitlines()
        return next(line for line in lines if line.startswith("advertisedListeners="))

    def test_internal_listener(self) -> None:
        """It has the broker's name where clients are led to controllers by it, else an address."""
        old = self.cluster(pulsar=versions.ALL[0])
        self.assertIn(f"internal:pulsar://127.0.0.1:{old.brokers[0].plain}", self.listeners())
        new = self.cluster(pulsar=versions.ALL[-1])
        self.assertIn(f"internal:pulsar://{BROKER_NAMES[0]}:{new.brokers[0].plain}", self.listeners())
        self.assertEqual([command[0] for command in self.commands], ["java-17", "java-21"])

    def test_hosts(self) -> None:
        """All names of the site are 127.0.0.1, for the JDK, and where possible for all else in the JVM."""
        made = self.cluster()
        self.assertLess({*BROKER_NAMES, SERVICE_NAME, socket.gethostname()}, set(made.hosts.read_text().split()))
        self.patch(needs, "private_hosts", lambda: ["unshare", "mount"])
        self.cluster()
        without, inside = self.commands
        self.assertIn(f"-Djdk.net.hosts.file={made.hosts}", without)
        self.assertEqual(inside[:3], ["unshare", "mount", str(made.hosts)])
        self.assertEqual(len(inside), len(without) + 3)

    def test_setup(self) -> None:
        """The metadata is set up before the brokers only where the site says so."""
        self.cluster()
        self.cluster(setup=True, name="other")
        without, setup = (next((word for word in one if "peers.setup" in word), "") for one in self.commands)
        self.assertEqual(without, "")
        self.assertTrue(setup.startswith("-Dpeers.setup=--cluster other --metadata-store zk:127.0.0.1:"), setup)


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
