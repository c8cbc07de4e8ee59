"""Brokers with transactions, of each version once in a run."""

from __future__ import annotations

import functools
import subprocess

from tests.peers import lab
from tests.peers.cluster import Cluster, Site, java_command
from tests.peers.versions import Pulsar

#: Transaction coordinators of a cluster.
COORDINATORS = 4
SETTINGS = {
    "transactionCoordinatorEnabled": "true",
    "systemTopicEnabled": "true",
    "topicLevelPoliciesEnabled": "true",
    "transactionCoordinatorScalableTopicsParallelism": str(COORDINATORS),
}


@functools.cache
def brokers(pulsar: Pulsar) -> Cluster:
    """The brokers of a version, which end with the run. Raises the errors of `Lab.start`, and CalledProcessError."""
    (cluster,) = lab.shared().start([Site(pulsar=pulsar)], SETTINGS)
    program = java_command("org.apache.pulsar.PulsarTransactionCoordinatorMetadataSetup", "160m", "warn", pulsar)
    options = ["--cluster", cluster.name, "--configuration-store", f"zk:127.0.0.1:{cluster.zookeeper}"]
    count = ["--initial-num-transaction-coordinators", str(COORDINATORS)]
    subprocess.run([*program, *options, *count], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    return cluster
