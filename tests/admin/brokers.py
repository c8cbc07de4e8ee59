"""Brokers and routes of the fake proxy."""

from __future__ import annotations

from sniproxy.admin.sources import RouteStatus, TargetStatus
from sniproxy.interfaces import Target
from tests.admin.sample import NOW, SampleSite


def add_brokers(sample: SampleSite, count: int) -> None:
    """Add brokers and a route to each of them. The third broker is down, the fourth ejected, and all others are up."""
    proxy = sample.proxy
    for number in range(1, count + 1):
        host, name = f"10.0.0.{10 + number}", f"broker-{number}.pulsar.test"
        target = f"{host}:6651"
        proxy.target_stats.enter_configured(Target(host, 6651))
        stats = proxy.target_stats.find(Target(host, 6651))
        for _ in range(number):
            stats.record_connect(0.002 * number, 1.0)
        state = {3: "down", 4: "ejected"}.get(number, "up")
        why = f"{target}: Connection refused" if state != "up" else ""
        if why:
            stats.record_failure("refused", why, 1.0)
        names = [name, "*.pulsar.test"]
        proxy.targets.append(TargetStatus(target, state, 7 * number, why, NOW - 90, NOW - 2, names, [name], stats))
        error = f"{target} is {state}" if why else None
        proxy.routes.append(RouteStatus(name, None, [target], error, [("public", name)]))
