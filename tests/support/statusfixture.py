"""Documents of an admin endpoint, without a proxy: C{/status} and C{/tunnels}."""

from __future__ import annotations

import json
from typing import Any

from sniproxy.config.dump import dump_configuration
from sniproxy.config.parser import parse
from tests.support.fullconfig import TEXT

NOW = 1_800_000_000.0


def target(number: int, **fields: Any) -> dict[str, Any]:
    """An entry of C{targets}."""
    return {
        "target": f"10.0.0.{number}:6651",
        "state": "up",
        "since": NOW - 7200,
        "checked": NOW - 3,
        "why": "",
        "names": [f"broker-{number}.pulsar.test", "pulsar-vip.test"],
        "routes": [f"broker-{number}.pulsar.test", "pulsar-vip.test"],
        "connections": 100 + number,
        "most": 200 + number,
        "new_per_s": 1.5,
        "connects": {"ok": 1000, "refused": 0, "timeout": 0, "unreachable": 0, "failed": 0},
        "connect_p50_s": 0.0012,
        "connect_p99_s": 0.031,
        "bytes_up": 10_000_000,
        "bytes_down": 90_000_000,
        "up_per_s": 12_345.0,
        "down_per_s": 4_500_000.0,
        **fields,
    }


def route(number: int, **fields: Any) -> dict[str, Any]:
    """An entry of C{routes}."""
    return {
        "server_name": f"broker-{number}.pulsar.test",
        "listener": None,
        "targets": [f"10.0.0.{number}:6651"],
        "connections": 100 + number,
        "new_per_s": 1.5,
        "refused": 0,
        "up_per_s": 12_345.0,
        "down_per_s": 4_500_000.0,
        "error": None,
        **fields,
    }


def tunnel(number: int, **fields: Any) -> dict[str, Any]:
    """An entry of C{tunnels}."""
    return {
        "id": f"abc-{number}",
        "listener": "public",
        "name": f"broker-{number % 3 + 1}.pulsar.test",
        "route": f"broker-{number % 3 + 1}.pulsar.test",
        "target": f"10.0.0.{number % 3 + 1}:6651",
        "client": f"192.0.2.{number % 250}:{40_000 + number % 20_000}",
        "peer": None,
        "authority": None,
        "upstream_local": f"10.0.0.100:{30_000 + number % 30_000}",
        "age_s": float(number),
        "bytes_up": 100 * number,
        "bytes_down": 1000 * number,
        "state": "open",
        **fields,
    }


def refusal(number: int, **fields: Any) -> dict[str, Any]:
    """An entry of C{refusals}."""
    return {
        "listener": "public",
        "server_name": f"nobody-{number}.test",
        "result": "no_route",
        "count": number,
        "time": NOW - 10 * number,
        "client": f"192.0.2.9:{40_000 + number}",
        "reason": "no route matches the server name",
        **fields,
    }


def status(**fields: Any) -> dict[str, Any]:
    """A document of C{/status} with three targets and routes, of which one fails."""
    down = {"state": "down", "why": "connection refused", "connections": 0, "new_per_s": 0.0}
    return {
        "version": "1.0",
        "instance": None,
        "time": NOW,
        "started": NOW - 10_800,
        "state": "ready",
        "configuration": {
            "file": "sniproxy.toml",
            "since": NOW - 600,
            "reloads": {"succeeded": 1, "failed": 0, "error": None, "time": None},
            **json.loads(json.dumps(dump_configuration(parse(TEXT, "sniproxy.toml"), 1000))),
        },
        "listeners": [
            {
                "name": "public", "endpoint": "tcp:4443", "address": "0.0.0.0:4443", "connections": 203,
                "new_per_s": 3.0, "refused": 6,
            }
        ],
        "totals": {
            "ended": 5000, "refused": 6, "bytes_up": 30_000_000, "bytes_down": 270_000_000, "access_log_lost": 0,
            "event_log_lost": 0,
        },
        "targets": [target(1), target(2), target(3, **down)],
        "target_count": 3,
        "routes": [route(1), route(2), route(3, error="all targets are down", refused=4)],
        "route_count": 3,
        "drains": [],
        "live": 203,
        "tunnels": [tunnel(number) for number in range(20)],
        "refusals": [refusal(1), refusal(2), refusal(3)],
        "refusals_by": {"no_route": 6},
        "warning_count": 1,
        "warnings": ["timeouts.idle is below 60"],
        **fields,
    }  # fmt: skip
