"""A real Pulsar cluster on free ports: two brokers in one JVM, or as a `Site` configures it."""

from __future__ import annotations

import http.client
import json
import random
import socket
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.peers import needs, provide, versions
from tests.peers.children import Child, ChildError
from tests.peers.jvm import java_command as java_command
from tests.peers.material import BROKER_NAMES, CLIENT_ROLE, SERVICE_NAME, Material
from tests.peers.versions import Pulsar

CONF = provide.HERE / "conf"
START_S = 240.0
"""Seconds for the start of a JVM with brokers, on a machine that may be busy."""


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1 below Linux's ephemeral range, so that no outgoing connection takes one."""
    found: list[int] = []
    for port in random.sample(range(10240, 32768), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports")


@frozen
class Site:
    """The configuration of a cluster.

    `name`: of the cluster; `service_name`: the host for lookups; `brokers`: the names of the brokers. `apart`: every
    broker but the first has its own JVM, and can be killed; with `storage_apart` the first, too, because ZooKeeper and
    the bookie have their own JVM. `hosts`: the only hosts file of the JVMs; the brokers' web addresses then have the
    brokers' names, otherwise `localhost`. `pulsar`: the version of the brokers. `setup`: initialize-cluster-metadata
    runs before the first broker starts, as the ExtensibleLoadManager requires. `flags`: more flags of all JVMs.
    """

    name: str = "lab"
    service_name: str = SERVICE_NAME
    brokers: tuple[str, ...] = BROKER_NAMES
    apart: bool = False
    storage_apart: bool = False
    hosts: Path | None = None
    pulsar: Pulsar = field(factory=versions.current)
    setup: bool = False
    flags: tuple[str, ...] = ()


LAB = Site()


@frozen
class Broker:
    """One broker: its name, and its ports on 127.0.0.1.

    A lookup at `tls` is answered with the broker's name and this port (clients with a proxy option ignore the port),
    one at `dns` with the broker's name and the proxy's port (DNS mode), and one at `behind_tap`, in plaintext, with
    127.0.0.1 and `tap`: the port of a plaintext listener of the proxy. `web` and `web_tls` are ports of the admin API,
    at the host `web_host`.
    """

    name: str
    plain: int
    web: int
    tls: int
    dns: int
    behind_tap: int
    tap: int
    web_tls: int = 0
    web_host: str = field(default="localhost", kw_only=True)

    @property
    def web_id(self) -> str:
        """The broker's id in the admin API."""
        return f"{self.web_host}:{self.web}"


class Cluster:
    """Brokers, with the tenant `public` and its namespace `default`, after `serve` has returned.

    `dns_port`: the proxy's port in DNS mode; `zookeeper`: the port of ZooKeeper; `hosts`: the brokers' hosts file.
    `settings`: lines of broker.conf for
    all brokers. `admin_token`: a file with a super-user's token, if the brokers require one. Construction and `serve`
    are separate, so that several clusters can start at the same time.
    """

    def __init__(
        self,
        folder: Path,
        material: Material,
        settings: Mapping[str, str] | None = None,
        admin_token: Path | None = None,
        site: Site = LAB,
    ) -> None:
        self._token = admin_token.read_text() if admin_token else None
        self.name, self.service_name = site.name, site.service_name
        self.pulsar = site.pulsar
        self._folder = folder
        self.hosts = site.hosts or _hosts_file(folder / "hosts", site)
        self.zookeeper, self.dns_port, *ports = free_ports(2 + 7 * len(site.brokers))
        self.brokers = [
            Broker(name, *ports[7 * i : 7 * i + 7], web_host=name if site.hosts else "localhost")
            for i, name in enumerate(site.brokers)
        ]
        self._files = {}
        for broker in self.brokers:
            lines = self._settings(broker, material) | dict(settings or {})
            file = folder / f"{broker.name}.conf"
            file.touch(mode=0o600)
            own = "".join(f"{name}={value}\n" for name, value in lines.items())
            file.write_text((CONF / "broker.conf").read_text() + own)
            self._files[broker.name] = str(file)
        # By the names of the brokers in them, if any; the first holds ZooKeeper and the bookie too.
        self._jvms: dict[tuple[str, ...], Child] = {}
        self._groups: list[tuple[str, ...]] = [(name,) for name in site.brokers] if site.apart else [site.brokers]
        if site.storage_apart:
            self._groups.insert(0, ())
        self._setup, self._flags = site.setup, site.flags
        self._start(self._groups[0], storage=True)

    def serve(self) -> None:
        """Wait for the brokers. Raises ChildError, with the output of a JVM that does not serve within START_S."""
        try:
            first, *others = self._groups
            self._wait(first)
            for names in others:
                self._start(names, storage=False)
                self._wait(names)
            self._populate()
        except BaseException:
            self.stop()
            raise

    def _start(self, names: tuple[str, ...], storage: bool) -> None:
        # Half of Pulsar's clients resolve by the JDK, half by Netty, which reads /etc/hosts.
        flags = ["-XX:MaxDirectMemorySize=384m", f"-Djdk.net.hosts.file={self.hosts}", *self._flags]
        if storage and self._setup:
            flags.append(f"-Dpeers.setup={' '.join(self._setup_arguments())}")
        private = needs.private_hosts()
        inside = [*private, str(self.hosts)] if private else []
        java, *rest = java_command("PulsarCluster", "384m", "warn", self.pulsar)
        place = str(self._folder) if storage else "-"
        command = [*inside, java, *flags, *rest, place, str(self.zookeeper), *(self._files[name] for name in names)]
        self._jvms[names] = Child(command, cwd=self._folder)

    def _wait(self, names: tuple[str, ...]) -> None:
        self._jvms[names].wait_for(_ready, "CLUSTER READY", START_S)

    def kill(self, broker: Broker) -> None:
        """Kill a broker that has its own JVM. Its cluster notices when its session has timed out."""
        jvm = self._jvms[(broker.name,)]
        jvm.process.kill()
        jvm.stop()

    def revive(self) -> bool:
        """Restart the killed brokers. Returns whether there were any. Raises ChildError."""
        dead = [names for names, jvm in self._jvms.items() if jvm.process.poll() is not None]
        for names in dead:
            self._start(names, storage=False)
            self._wait(names)
        return bool(dead)

    def jvm(self, broker: Broker) -> Child:
        """The JVM of the broker. Its output is the log of all its brokers."""
        return next(jvm for names, jvm in self._jvms.items() if broker.name in names)

    def _settings(self, broker: Broker, material: Material) -> dict[str, str]:
        pair = material.brokers[broker.name]
        # PIP-95: what a lookup is answered depends on the listener that it came in by. The brokers' own clients use
        # the plaintext one. From 5.0 on clients, too, are led to a topic's controller by it, so it has a name there.
        internal = broker.name if self.pulsar.scalable else "127.0.0.1"
        listeners = {
            "internal": f"pulsar://{internal}:{broker.plain}",
            "external": f"pulsar+ssl://{broker.name}:{broker.tls}",
            "dns": f"pulsar+ssl://{broker.name}:{self.dns_port}",
            "tap": f"pulsar://127.0.0.1:{broker.tap}",
        }
        bound = {"external": broker.tls, "dns": broker.dns}
        bind = [f"{name}:pulsar+ssl://127.0.0.1:{port}" for name, port in bound.items()]
        bind.append(f"tap:pulsar://127.0.0.1:{broker.behind_tap}")
        return {
            "clusterName": self.name,
            "metadataStoreUrl": f"zk:127.0.0.1:{self.zookeeper}",
            "configurationMetadataStoreUrl": f"zk:127.0.0.1:{self.zookeeper}",
            "advertisedAddress": broker.web_host,
            "brokerServicePort": str(broker.plain),
            "webServicePort": str(broker.web),
            "webServicePortTls": str(broker.web_tls),
            "bindAddresses": ",".join(bind),
            "advertisedListeners": ",".join(f"{name}:{url}" for name, url in listeners.items()),
            "internalListenerName": "internal",
            "tlsCertificateFilePath": str(pair.certificate),
            "tlsKeyFilePath": str(pair.key),
            "tlsTrustCertsFilePath": str(material.trust),
        }

    def _setup_arguments(self) -> list[str]:
        first, store = self.brokers[0], f"zk:127.0.0.1:{self.zookeeper}"
        return [
            *("--cluster", self.name, "--metadata-store", store, "--configuration-metadata-store", store),
            *("--web-service-url", f"http://127.0.0.1:{first.web}"),
            *("--broker-service-url", f"pulsar://127.0.0.1:{first.plain}"),
            *("--broker-service-url-tls", f"pulsar+ssl://{self.service_name}:{first.tls}"),
            *("--initial-num-transaction-coordinators", "2", "--initial-num-stream-storage-containers", "1"),
        ]

    def _populate(self) -> None:
        if self._setup:
            return
        first = self.brokers[0]
        urls = {
            "serviceUrl": f"http://127.0.0.1:{first.web}",
            "brokerServiceUrl": f"pulsar://127.0.0.1:{first.plain}",
            "brokerServiceUrlTls": f"pulsar+ssl://{self.service_name}:{first.tls}",
        }
        self.admin("PUT", f"/admin/v2/clusters/{self.name}", urls)
        self.admin("PUT", "/admin/v2/tenants/public", {"allowedClusters": [self.name], "adminRoles": []})
        self.create_namespace("public/default")

    def create_namespace(self, name: str, others: Iterable[str] = ()) -> None:
        """Create a namespace without owned topics, replicated to the clusters `others`; roles other than super-users
        need `allow`.
        """
        self.admin("PUT", f"/admin/v2/namespaces/{name}", {"replication_clusters": [self.name, *others]})

    def allow(self, namespace: str, role: str = CLIENT_ROLE) -> None:
        """Allow the role to produce and consume in the namespace."""
        self.admin("POST", f"/admin/v2/namespaces/{namespace}/permissions/{role}", ["produce", "consume"])

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the admin API of any broker, and follow redirects.

        Returns the JSON of the answer. Raises ChildError if it is not a success.
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        url = f"http://127.0.0.1:{self.brokers[0].web}{path}"
        for _ in range(5):
            parts = urllib.parse.urlsplit(url)
            # A redirect may name a host that only brokers know; all of them are here.
            connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)
            try:
                target = f"{parts.path}?{parts.query}" if parts.query else parts.path
                connection.request(method, target, None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                said = answer.read().decode(errors="replace")
            finally:
                connection.close()
            if answer.status != 307:
                break
            url = answer.headers["Location"]
        if not 200 <= answer.status < 300:
            raise ChildError(f"{method} {url}: {answer.status} {said}")
        try:
            return json.loads(said) if said else None
        except ValueError:
            return said

    def owner(self, topic: str) -> Broker:
        """The broker that owns the topic (`public/default/t`); if none does, one is assigned."""
        answer = self.admin("GET", f"/lookup/v2/topic/persistent/{topic}?listenerName=external")
        name = urllib.parse.urlsplit(answer["brokerUrlTls"]).hostname
        return next(broker for broker in self.brokers if broker.name == name)

    def topic_of_each(self, stem: str) -> dict[str, str]:
        """A topic for each broker, which owns it; the topics begin with `stem` (`public/default/t`).

        A broker that owns none of a hundred gets one, because earlier tests may have moved all bundles.
        """
        topics = [f"{stem}-{i}" for i in range(100)]
        found: dict[str, str] = {}
        for topic in topics:
            found.setdefault(self.owner(topic).name, topic)
            if len(found) == len(self.brokers):
                break
        for broker in self.brokers:
            if broker.name not in found:
                kept = {self._bundle(topic) for topic in found.values()}
                topic = next(topic for topic in topics if self._bundle(topic) not in kept)
                self.move(topic, broker)
                if self.owner(topic) != broker:
                    raise ChildError(f"{topic} was moved to {broker.name}, and is not there")
                found[broker.name] = topic
        return {name: f"persistent://{topic}" for name, topic in found.items()}

    def leader(self) -> Broker:
        """The broker that assigns topics without an owner."""
        web_id = self.admin("GET", "/admin/v2/brokers/leaderBroker")["brokerId"]
        return next(broker for broker in self.brokers if broker.web_id == web_id)

    def move_url(self, topic: str, to: Broker) -> str:
        """A URL: a PUT unloads the topic's bundle, and `to` becomes its owner."""
        return f"http://127.0.0.1:{self.brokers[0].web}{self._move_path(topic, to)}"

    def move(self, topic: str, to: Broker) -> None:
        """Make `to` the owner of the topic's bundle (`public/default/t`)."""
        self.admin("PUT", self._move_path(topic, to))

    def _move_path(self, topic: str, to: Broker) -> str:
        namespace, _, _ = topic.rpartition("/")
        return f"/admin/v2/namespaces/{namespace}/{self._bundle(topic)}/unload?destinationBroker={to.web_id}"

    def _bundle(self, topic: str) -> str:
        return str(self.admin("GET", f"/lookup/v2/topic/persistent/{topic}/bundle"))

    def stop(self) -> None:
        """End the JVMs, the storage last. Can be repeated."""
        for jvm in reversed(self._jvms.values()):
            jvm.stop()


def _hosts_file(file: Path, site: Site) -> Path:
    """Write a hosts file in which all names of the site, and of this machine, are 127.0.0.1."""
    names = [socket.gethostname(), site.service_name, *site.brokers]
    file.write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
    return file


def _ready(lines: list[str]) -> bool:
    for line in lines:
        if line.startswith("CLUSTER FAILED"):
            raise ChildError("\n".join(lines[-60:]))
        if line == "CLUSTER READY":
            return True
    return False
