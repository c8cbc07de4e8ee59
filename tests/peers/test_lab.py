"""Tests for tests.peers.lab."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import lab, versions
from tests.peers.children import ChildError
from tests.peers.cluster import LAB, Broker
from tests.peers.material import SERVICE_NAME


class LabTests(SynchronousTestCase):
    """With a fake cluster."""

    def setUp(self) -> None:
        """A lab without the lock, which a real one may hold."""
        self.lab = lab.Lab()
        self.lab._locked = True
        self.addCleanup(self.lab.close)
        self.events: list[str] = []
        events = self.events

        class StandIn:
            failure: Exception | None = None

            def __init__(self, *arguments: Any) -> None:
                events.append("start")

            def serve(self) -> None:
                events.append("serve")
                if self.failure is not None:
                    raise self.failure

            def stop(self) -> None:
                events.append("stop")

        self.stand_in = StandIn
        self.patch(lab, "Cluster", StandIn)

    def test_once(self) -> None:
        """A cluster starts at its first use, and ends with the lab, whose folder is removed."""
        self.assertIs(self.lab.cluster, self.lab.cluster)
        self.assertEqual(self.events, ["start", "serve"])
        self.lab.close()
        self.assertEqual(self.events, ["start", "serve", "stop"])
        self.assertFalse(self.lab.folder.exists())

    def test_versions(self) -> None:
        """Each version has its own cluster; that of the run is the usual one."""
        old, new = versions.ALL[0], versions.ALL[-1]
        self.assertIsNot(self.lab.cluster_of(old), self.lab.cluster_of(new))
        self.assertIs(self.lab.cluster_of(versions.current()), self.lab.cluster)
        self.assertEqual(self.events, ["start", "serve"] * len({old, new, versions.current()}))

    def test_failure_is_of_a_version(self) -> None:
        """Clusters of other versions are started after a failure."""
        self.stand_in.failure = ChildError("it does not start")
        self.assertRaises(ChildError, self.lab.cluster_of, versions.ALL[0])
        self.stand_in.failure = None
        self.assertRaises(ChildError, self.lab.cluster_of, versions.ALL[0])
        self.lab.cluster_of(versions.ALL[-1])

    def test_failure_is_kept(self) -> None:
        """A cluster that failed to start is not started again, nor are the others."""
        self.stand_in.failure = ChildError("it does not start")
        for _ in range(2):
            self.assertRaises(ChildError, lambda: self.lab.cluster)
            self.assertRaises(ChildError, lambda: self.lab.secured)
        self.assertEqual(self.events, ["start", "serve"])

    def test_several(self) -> None:
        """Clusters that are started together all start before the first is awaited."""
        self.lab.start([LAB, LAB], {})
        self.assertEqual(self.events, ["start", "start", "serve", "serve"])


class RouteTests(SynchronousTestCase):
    """The configuration of a proxy in front of a cluster."""

    def test_routes(self) -> None:
        """The service name leads to all brokers, a broker's name to that broker; DNS mode has its own listeners."""

        class StandIn:
            service_name = SERVICE_NAME
            brokers = [Broker("a.test", 1, 2, 3, 4, 0, 0), Broker("b.test", 5, 6, 7, 8, 0, 0)]

        cluster: Any = StandIn()
        usual = {"a.test": ["127.0.0.1:3"], "b.test": ["127.0.0.1:7"]}
        self.assertEqual(lab.routes(cluster), {SERVICE_NAME: ["127.0.0.1:3", "127.0.0.1:7"], **usual})
        dns = {"a.test": ["127.0.0.1:4"], "b.test": ["127.0.0.1:8"]}
        self.assertEqual(lab.routes(cluster, dns=True), {SERVICE_NAME: ["127.0.0.1:4", "127.0.0.1:8"], **dns})
