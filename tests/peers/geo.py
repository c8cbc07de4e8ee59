"""Geo-replication: two real clusters that reach each other through `twistd sniproxy` (PIP-60)."""

from __future__ import annotations

import functools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers import lab
from tests.peers.children import TIMEOUT_S, Child, ChildError
from tests.peers.cluster import Broker, Cluster, Site, free_ports
from tests.peers.jvm import java_command
from tests.peers.lab import Lab
from tests.peers.material import BROKER_NAMES, OTHER_BROKER_NAMES, OTHER_SERVICE_NAME, SERVICE_NAME
from tests.peers.proxy import Proxy
from tests.peers.service import Service

#: Replicated both ways.
NAMESPACE = "public/geo"
#: A dead broker's topics go to another after 4 s, the least that our ZooKeeper grants; the lab's usual 30 s are for
#: machines that were stopped.
SETTINGS = {
    "tlsHostnameVerificationEnabled": "true",
    "metadataStoreSessionTimeoutMillis": "4000",
    "zooKeeperSessionTimeoutMillis": "4000",
}


@frozen
class Door:
    """The addresses of a cluster for other clusters: ports of the proxy on 127.0.0.1.

    `admin` is for HTTPS, which has no proxy option: the brokers' names resolve to the proxy (DNS mode).
    """

    port: int
    admin: int


class Geo:
    """Two clusters that replicate `NAMESPACE` to each other, if a proxy runs.

    `east` has two brokers, each with its own JVM, `west` has one. Each is configured with the other's `cluster_data`.
    `doors`: by cluster name. `door`: one for both; None: each has its own. `hosts`: the only hosts file of the JVMs,
    for DNS mode over HTTPS. Raises ChildError.
    """

    def __init__(self, shared: Lab, door: Door | None = None) -> None:
        self.lab = shared
        self.hosts = shared.new_folder() / "hosts"
        names = [SERVICE_NAME, *BROKER_NAMES, OTHER_SERVICE_NAME, *OTHER_BROKER_NAMES]
        self.hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()} {' '.join(names)}\n")
        sites = [
            Site("east", SERVICE_NAME, BROKER_NAMES, apart=True, hosts=self.hosts),
            Site("west", OTHER_SERVICE_NAME, OTHER_BROKER_NAMES, hosts=self.hosts),
        ]
        self.east, self.west = self.clusters = shared.start(sites, SETTINGS)
        # After the brokers have bound theirs.
        ports = free_ports(4)
        self.doors = {one.name: door or Door(*ports[2 * i : 2 * i + 2]) for i, one in enumerate(self.clusters)}
        for here, there in (self.clusters, self.clusters[::-1]):
            here.admin("PUT", f"/admin/v2/clusters/{there.name}", self.cluster_data(there))
            allowed = {"allowedClusters": [here.name, there.name], "adminRoles": []}
            here.admin("POST", "/admin/v2/tenants/public", allowed)
            here.create_namespace(NAMESPACE, [there.name])

    def cluster_data(self, cluster: Cluster) -> dict[str, object]:
        """Pulsar's ClusterData for the other cluster, as the admin API takes it."""
        door = self.doors[cluster.name]
        return {
            "serviceUrlTls": f"https://{cluster.service_name}:{door.admin}",
            # SNI carries no port: that of this URL is never used.
            "brokerServiceUrlTls": f"pulsar+ssl://{cluster.service_name}:6651",
            "proxyServiceUrl": f"pulsar+ssl://127.0.0.1:{door.port}",
            "proxyProtocol": "SNI",
            "brokerClientTlsEnabled": True,
            "brokerClientTrustCertsFilePath": str(self.lab.material.trust),
        }

    def admin_door(self, name: str, *clusters: Cluster) -> list[str]:
        """The lines of a listener of that name for HTTPS, at the door of the clusters, and of its routes."""
        lines = _listener(name, self.doors[clusters[0].name].admin)
        for cluster in clusters:
            lines += _admin_routes(name, cluster)
        return lines

    def mend(self) -> None:
        """Restart the killed broker, and spread the topics over both. Raises ChildError."""
        if self.east.revive():
            self.east.admin("PUT", f"/admin/v2/namespaces/{NAMESPACE}/unload")

    def topics(self, stem: str) -> list[str]:
        """A replicated topic for each broker of east, which owns it; the topics begin with the stem."""
        return list(self.east.topic_of_each(f"{NAMESPACE}/{stem}").values())

    def proxy(self, *clusters: Cluster) -> Proxy:
        """Start a proxy at the doors of the clusters. The caller stops it."""
        doors: dict[Door, list[Cluster]] = {}
        for cluster in clusters:
            doors.setdefault(self.doors[cluster.name], []).append(cluster)
        # A stop shall be a stop.
        lines = ["[timeouts]", "drain = 0"]
        for number, (door, behind) in enumerate(doors.items()):
            suffix = f"-{number + 1}" if number else ""
            if number:
                lines += _listener(f"public{suffix}", door.port)
            lines += self.admin_door(f"admin{suffix}", *behind)
        routes = {name: targets for cluster in clusters for name, targets in lab.routes(cluster).items()}
        return self.lab.proxy(routes, next(iter(doors)).port, "\n".join(lines) + "\n")


@functools.cache
def shared() -> Geo:
    """The two clusters of this run."""
    return Geo(lab.shared())


def wait_until(true: Callable[[], bool], what: str, seconds: float = TIMEOUT_S) -> None:
    """Poll a condition. Raises ChildError, with `what`, if it stays false."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise ChildError(f"{what}: not within {seconds:.0f} s")
        threading.Event().wait(0.1)


def _listener(name: str, port: int) -> list[str]:
    return ["[[listener]]", f'name = "{name}"', f'endpoint = "tcp:{port}:interface=127.0.0.1"']


def _admin_routes(listener: str, cluster: Cluster) -> list[str]:
    lines: list[str] = []

    def route(name: str, brokers: Iterable[Broker]) -> None:
        targets = [f"127.0.0.1:{broker.web_tls}" for broker in brokers]
        lines.extend(
            ["[[route]]", f'listener = "{listener}"', f'server_name = "{name}"', f"target = {json.dumps(targets)}"]
        )

    route(cluster.service_name, cluster.brokers)
    for broker in cluster.brokers:
        route(broker.name, [broker])
    return lines


def ways(geo: Geo, proxy: Proxy) -> list[tuple[str, Proxy]]:
    """For `Traffic`: an entrance to each cluster through a proxy with routes for both. East is `a`."""
    return [(cluster.service_name, proxy) for cluster in geo.clusters]


class Traffic:
    """Two Java clients that produce to and consume from the topics, as java/PulsarTraffic.java describes.

    `ways`: the service name and the proxy of each. `trust`: the CA that both trust. `log_level`: of the clients. Raises
    ChildError.
    """

    def __init__(
        self, trust: Path, topics: Sequence[str], ways: Sequence[tuple[str, Proxy | Service]], log_level: str = "warn"
    ) -> None:
        options = {"trust": str(trust), "topics": ",".join(topics)}
        for site, (service_name, proxy) in zip("ab", ways, strict=True):
            options[f"{site}.url"] = f"pulsar+ssl://{service_name}:6651"
            options[f"{site}.proxy"] = proxy.url
        arguments = [f"{name}={value}" for name, value in options.items()]
        self._child = Child([*java_command("PulsarTraffic", "160m", log_level), *arguments])
        try:
            self._child.wait_for_text("READY", 60.0)
        except BaseException:
            self._child.stop()
            raise

    @property
    def log(self) -> list[str]:
        """The lines of the clients' log so far."""
        return [line for line in self._child.lines if not line.startswith('{"')]

    def go(self) -> None:
        """Start sending numbered messages."""
        self._child.write("go\n")

    def say(self, sender: str, text: str) -> None:
        """Send a text from `a` or `b`, and wait until the other has received it. Raises ChildError."""
        self._child.write(f"say {sender} {text}\n")
        self._child.wait_for(
            lambda lines: any(told["text"] == text for told in _told(lines, "text")), f"{text!r} to arrive", 60.0
        )

    def progress(self) -> dict[str, dict[str, int]]:
        """The numbers of `sent` and `crossed` messages by sender and topic, from the next report. Raises ChildError."""
        before = len(self._child.lines)
        return self._child.wait_for(lambda lines: next(iter(_told(lines[before:], "crossed")), None), "progress")

    def wait_until_crossing(self, count: int = 200) -> None:
        """Wait until `count` of the messages sent from now on, of each sender and topic, have crossed.

        Raises ChildError after a minute.
        """
        wanted = {stream: number + count for stream, number in self.progress()["sent"].items()}

        def found(lines: list[str]) -> bool:
            told = _told(lines, "crossed")
            return bool(told) and all(told[-1]["crossed"][stream] >= wanted[stream] for stream in wanted)

        self._child.wait_for(found, f"{count} more messages of each", 60.0)

    def finish(self) -> dict[str, Any]:
        """Stop sending. Returns `sent`, `crossed`, `missing`, `misordered`, `duplicates` and `slowest_ms`."""
        self._child.write("stop\n")
        report = self._child.wait_for(lambda lines: next(iter(_told(lines, "report")), None), "the report", 120.0)
        return dict(report["report"])

    def stop(self) -> None:
        """End the clients. Can be repeated."""
        self._child.stop()


def _told(lines: Sequence[str], key: str) -> list[dict[str, Any]]:
    """The JSON objects with this key among the lines."""
    return [json.loads(line) for line in lines if line.startswith('{"') and f'"{key}":' in line]
