"""Objects that the tests of one run share.

Each is made at its first use, and ends with the run. A lock allows one lab at a time on a machine: a second run waits
until the first has ended.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.peers import material, provide, versions
from tests.peers.cluster import LAB, Cluster, Site
from tests.peers.proxy import Proxy
from tests.peers.versions import Pulsar


class Lab:
    """Certificates, brokers and proxies, in a folder that is removed on close."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._locked = False
        self._failures: dict[Pulsar, Exception] = {}
        self._clusters: dict[Pulsar, Cluster] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="sniproxy-lab-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """Create an empty folder in the lab's folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @functools.cached_property
    def material(self) -> material.Material:
        """Certificates and tokens."""
        return material.make(self.new_folder())

    @property
    def cluster(self) -> Cluster:
        """Brokers of this run's version, without authentication."""
        return self.cluster_of(versions.current())

    def cluster_of(self, pulsar: Pulsar) -> Cluster:
        """Brokers of a version, without authentication."""
        if pulsar not in self._clusters:
            (self._clusters[pulsar],) = self.start([Site(pulsar=pulsar)], {})
        return self._clusters[pulsar]

    @functools.cached_property
    def secured(self) -> Cluster:
        """Brokers that require a client certificate, and take the role from a token, or else from the certificate."""
        (cluster,) = self.start([LAB], secured_settings(self.material), self.material.tokens["admin"])
        return cluster

    def start(
        self, sites: Sequence[Site], settings: Mapping[str, str], admin_token: Path | None = None
    ) -> list[Cluster]:
        """Start clusters that end with the lab.

        Raises the errors of `Cluster`, and the same error at later calls for that version.
        """
        for site in sites:
            if site.pulsar in self._failures:
                raise self._failures[site.pulsar]
        if not self._locked:
            self._stack.enter_context(provide.locked(Path("/tmp/sniproxy-lab.lock")))
            self._locked = True
        clusters = []
        try:
            for site in sites:
                cluster = Cluster(self.new_folder(), self.material, settings, admin_token, site)
                self._stack.callback(cluster.stop)
                clusters.append(cluster)
            for cluster in clusters:
                cluster.serve()
        except Exception as failure:
            # No test tries it again, because a failure can take minutes.
            self._failures.update((site.pulsar, failure) for site in sites)
            raise
        return clusters

    def proxy(self, routes: dict[str, list[str]], port: int = 0, more: str = "") -> Proxy:
        """Start a proxy that the caller stops."""
        return Proxy(self.new_folder(), routes, port, more)

    def close(self) -> None:
        """Stop everything, in reverse order."""
        self._stack.close()


@functools.cache
def shared() -> Lab:
    """The lab of this run."""
    lab = Lab()
    atexit.register(lab.close)
    return lab


def routes(cluster: Cluster, dns: bool = False) -> dict[str, list[str]]:
    """The configuration of a proxy in front of a cluster. `dns`: for clients without a proxy option."""
    ports = {broker.name: broker.dns if dns else broker.tls for broker in cluster.brokers}
    targets = {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    return {cluster.service_name: [target for own in targets.values() for target in own], **targets}


def secured_settings(material: material.Material) -> dict[str, str]:
    """The lines of broker.conf of a secured cluster."""
    package = "org.apache.pulsar.broker.authentication.AuthenticationProvider"
    return {
        "tlsRequireTrustedClientCertOnConnect": "true",
        "authenticationEnabled": "true",
        "authenticationProviders": f"{package}Token,{package}Tls",
        "authorizationEnabled": "true",
        "superUserRoles": "admin",
        "tokenSecretKey": f"file://{material.token_secret}",
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": f"file://{material.tokens['admin']}",
    }
