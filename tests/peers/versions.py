"""The versions of Pulsar that the tests run with. A newer patch release is a new `release` in its line of `ALL`.

A run has one version, `PULSAR` in its environment (4.0, 4.2 or 5.0), else `DEFAULT`; a test may start brokers or
clients of another one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

#: Large, and not needed: the metadata store etcd, and the functions' runtime for Kubernetes.
_LEFT_OUT = ("org.apache.pulsar:jetcd-core-shaded", "io.kubernetes:client-java")
_LOG4J = ("org.apache.logging.log4j:log4j-slf4j2-impl:2.23.1", "org.apache.logging.log4j:log4j-core:2.23.1")


@frozen
class Pulsar:
    """A version of Pulsar, and what its jars need of Maven. All artifacts are `group:name`, or `group:name:version`."""

    #: The feature release: `5.0`.
    name: str
    #: The release that is tested.
    release: str
    #: The least Java that runs its brokers.
    java: int
    #: Artifacts of Pulsar, of this release.
    roots: tuple[str, ...] = ("pulsar-broker",)
    #: Poms whose managed versions are imported.
    boms: tuple[str, ...] = ()
    #: What dependencies would bring, were all their parents on Maven Central.
    added: tuple[str, ...] = ()
    left_out: tuple[str, ...] = _LEFT_OUT

    @property
    def number(self) -> tuple[int, ...]:
        """The name, to compare: (5, 0)."""
        return tuple(int(part) for part in self.name.split("."))

    @property
    def scalable(self) -> bool:
        """Whether it has scalable topics, and the V5 API of the Java client."""
        return self.number >= (5, 0)


ALL = (
    # Exactly this one: of 4.0.8 and 4.0.13 not every artifact is on Maven Central.
    Pulsar("4.0", "4.0.7", java=17, added=_LOG4J),
    Pulsar("4.2", "4.2.4", java=17, boms=("io.opentelemetry:opentelemetry-bom:1.62.0",), added=_LOG4J),
    Pulsar(
        "5.0",
        "5.0.1",
        java=21,
        roots=("pulsar-broker", "pulsar-client-tools", "pulsar-testclient"),
        boms=("io.netty:netty-bom:4.2.19.Final", "com.fasterxml.jackson:jackson-bom:2.21.7"),
        added=(
            "org.apache.bookkeeper:bookkeeper-proto:4.18.2",
            "org.apache.bookkeeper:native-io:4.18.2",
            "org.apache.bookkeeper.http:http-server:4.18.2",
            "org.apache.distributedlog:distributedlog-common:4.18.2",
            "org.apache.distributedlog:distributedlog-core:4.18.2",
            "org.apache.distributedlog:distributedlog-protocol:4.18.2",
            "org.apache.thrift:libthrift:0.14.2",
            "org.apache.zookeeper:zookeeper-jute:3.9.6",
            "org.rocksdb:rocksdbjni:9.9.3",
            "io.netty:netty-codec-http2:4.2.19.Final",
            "io.netty:netty-transport-classes-epoll:4.2.19.Final",
            "com.beust:jcommander:1.82",
            "com.lmax:disruptor:4.0.0",
            "commons-cli:commons-cli:1.10.0",
            # Without the classifier jdk11, which Maven Central does not have.
            "org.jline:jline:4.4.6",
        ),
        left_out=(
            *_LEFT_OUT,
            # Not on Maven Central: native code, without which Pulsar uses NIO, and test jars of BookKeeper's streams.
            "io.netty:netty-transport-native-epoll",
            "io.netty:netty-transport-native-io_uring",
            "io.netty:netty-resolver-dns-native-macos",
            "org.apache.distributedlog:distributedlog-core",
            "org.jline:jline",
        ),
    ),
)
#: The version whose whole suite runs in CI; of the others the core runs.
DEFAULT = "5.0"


def find(name: str) -> Pulsar:
    """The version of that name. Raises ValueError, with the names there are."""
    for pulsar in ALL:
        if pulsar.name == name:
            return pulsar
    raise ValueError(f"no Pulsar {name} here, only {', '.join(one.name for one in ALL)}")


def current(environment: Mapping[str, str] = os.environ) -> Pulsar:
    """The version of this run. Raises ValueError."""
    return find(environment.get("PULSAR") or DEFAULT)
