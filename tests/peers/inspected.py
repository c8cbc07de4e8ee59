"""Configurations of the proxy that read Pulsar, and their events."""

from __future__ import annotations

import json
from typing import Any

from tests.peers.cluster import Cluster
from tests.peers.material import Material
from tests.peers.proxy import Program

EVENT_LOG = '[inspect_log]\npath = "events.jsonl"\n'


def taps(cluster: Cluster) -> str:
    """The event log, and a plaintext listener for each broker, at the address that its listener `tap` advertises."""
    lines = [EVENT_LOG]
    for broker in cluster.brokers:
        lines += [
            "[[listener]]",
            f'endpoint = "tcp:{broker.tap}:interface=127.0.0.1"',
            f'name = "{broker.name}"',
            "plaintext = true",
            'inspect = "pulsar"',
            f'target = "127.0.0.1:{broker.behind_tap}"',
        ]
    return "\n".join(lines) + "\n"


def ends(material: Material, port: int) -> str:
    """The event log, and a listener that terminates TLS, with verification on both sides."""
    lines = [
        EVENT_LOG,
        "[[listener]]",
        f'endpoint = "tcp:{port}:interface=127.0.0.1"',
        'name = "ends"',
        'inspect = "pulsar"',
        f'certificates = "{material.folder}"',
        f'upstream_trust = "{material.trust}"',
    ]
    return "\n".join(lines) + "\n"


def admin(port: int) -> str:
    """The table of an admin endpoint."""
    return f'[admin]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n'


def events(program: Program) -> list[dict[str, Any]]:
    """All events of a program, which is stopped."""
    program.stop()
    return [json.loads(line) for line in program.event_log.read_text().splitlines()]
