"""Brokers with transactions, of each version once in a run."""

from __future__ import annotations

import functools

from tests.peers import lab
from tests.peers.cluster import Cluster, Site
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
    """The brokers of a version, which end with the run; coordinators are spread over them. Raises the errors of
    `Lab.start`.
    """
    (cluster,) = lab.shared().start([Site(pulsar=pulsar)], SETTINGS)
    # What `pulsar initialize-transaction-coordinator-metadata` does: without it there is no coordinator.
    cluster.admin("PUT", "/admin/v2/tenants/pulsar", {"allowedClusters": [cluster.name], "adminRoles": []})
    cluster.create_namespace("pulsar/system")
    path = "/admin/v2/persistent/pulsar/system/transaction_coordinator_assign/partitions"
    cluster.admin("PUT", path, COORDINATORS)
    return cluster
