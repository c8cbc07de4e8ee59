"""Tables of the pulsar resolver for real brokers."""

from __future__ import annotations

import json

from tests.peers.cluster import Cluster
from tests.peers.material import SERVICE_NAME

ROUTES = f"""
[[route]]
server_name = "{SERVICE_NAME}"
resolver = "brokers"
[[route]]
server_name = "*.pulsar.test"
resolver = "brokers"
"""


def table(cluster: Cluster, **options: object) -> str:
    """The two routes, and the resolver."""
    known = {
        "type": "pulsar",
        "url": [f"http://127.0.0.1:{broker.web}" for broker in cluster.brokers],
        "service_name": SERVICE_NAME,
        "every": 1,
        **options,
    }
    return ROUTES + "[resolver.brokers]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in known.items())
