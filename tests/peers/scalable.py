"""Scalable topics of Pulsar 5.0: the V5 client, which does one thing after the other, and the admin API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.peers import clients, inspected, lab, transactional
from tests.peers.case import PulsarTestCase
from tests.peers.children import Child
from tests.peers.clients import LONGEST
from tests.peers.cluster import Broker, Cluster, free_ports
from tests.peers.material import SERVICE_NAME
from tests.peers.proxy import Proxy


class ScalableClient:
    """The V5 client as a process. java/v5/PulsarScalable.java lists what it can do."""

    def __init__(self, command: Sequence[str]) -> None:
        self._child = Child(command)
        self._asked = 0

    def attempt(self, what: str) -> dict[str, Any]:
        """Let it do this. Returns its report, which has `error` and `root` if it failed. Raises ChildError."""
        self._asked += 1
        self._child.write(f"{what}\n")
        return self._child.wait_for(self._report, what, LONGEST)

    def _report(self, lines: list[str]) -> dict[str, Any] | None:
        reports = [line for line in lines if line.startswith('{"did":')]
        return dict(json.loads(reports[self._asked - 1])) if len(reports) >= self._asked else None

    def do(self, *steps: str) -> dict[str, Any]:
        """Let it do all of these. Returns the last report. Raises AssertionError if one of them fails."""
        report: dict[str, Any] = {}
        for what in steps:
            report = self.attempt(what)
            if "error" in report:
                raise AssertionError("\n".join([str(report), *self._child.lines[-40:]]))
        return report

    def receive(self, name: str, count: int) -> list[str]:
        """Receive and acknowledge different messages with a consumer. Returns them, sorted."""
        return sorted(self.do(f"receive {name} {count}")["received"])

    @property
    def lines(self) -> list[str]:
        """Its output so far, its log too."""
        return self._child.lines

    def finish(self) -> int:
        """Let it close its client and exit. Returns its exit status."""
        assert self._child.process.stdin is not None
        self._child.process.stdin.close()
        return self._child.wait()

    def stop(self) -> None:
        """Stop it. Can be repeated."""
        self._child.stop()


class ScalableTopic:
    """A scalable topic of a cluster, in `public/default`, which is made here."""

    def __init__(self, cluster: Cluster, name: str, segments: int) -> None:
        self._cluster = cluster
        self.name = f"topic://public/default/{name}"
        self._path = f"/admin/v2/scalable/public/default/{name}"
        cluster.admin("PUT", f"{self._path}?numInitialSegments={segments}")

    def split(self, segment: int) -> None:
        """Split an active segment into two."""
        self._cluster.admin("POST", f"{self._path}/split/{segment}")

    def merge(self, one: int, other: int) -> None:
        """Merge two active segments, whose hash ranges are neighbours."""
        self._cluster.admin("POST", f"{self._path}/merge/{one}/{other}")

    def owners(self) -> dict[str, Broker]:
        """All of its segments by name, also those that were split or merged, with the brokers that have them."""
        found = self._stats()["layout"]["segments"].values()
        return {each["name"]: self._broker(each["ownerBroker"]) for each in found}

    def controller(self) -> Broker:
        """The broker of its controller, which starts if there is none."""
        return self._broker(self._stats()["controllerBroker"])

    def _stats(self) -> dict[str, Any]:
        return dict(self._cluster.admin("GET", f"{self._path}/stats"))

    def _broker(self, web_id: str) -> Broker:
        return next(broker for broker in self._cluster.brokers if broker.web_id == web_id)


class ScalableTestCase(PulsarTestCase):
    """A test with the V5 client, and brokers that have scalable topics and transactions."""

    since = "5.0"

    def setUp(self) -> None:
        """Start the brokers, unless an earlier test did."""
        super().setUp()
        self.cluster = transactional.brokers(self.pulsar)

    def client(self, topic: ScalableTopic, proxy: str, **options: object) -> ScalableClient:
        """A client of a topic by the proxy with this URL, that ends with the test."""
        base = {"url": f"pulsar+ssl://{SERVICE_NAME}:6651", "proxy": proxy, "trust": self.lab.material.trust}
        return self.start_client(topic, {**base, "verify": True, **options})

    def start_client(
        self, topic: ScalableTopic, words: Mapping[str, object], inside: Sequence[str] = ()
    ) -> ScalableClient:
        """A client of a topic with these options only. `inside`: the beginning of a command that runs it."""
        client = ScalableClient([*inside, *clients.java_client(words, [topic.name], self.pulsar, "PulsarScalable")])
        self.addCleanup(client.stop)
        return client

    def terminating(self) -> tuple[Proxy, str]:
        """A proxy, and the URL of its listener that ends TLS and reads Pulsar."""
        (port,) = free_ports(1)
        proxy = self.proxy(lab.routes(self.cluster), more=inspected.ends(self.lab.material, port))
        return proxy, f"pulsar+ssl://127.0.0.1:{port}"
