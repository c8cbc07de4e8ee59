"""Timeouts, health checks and limits of clusters, which are settings of the whole proxy here. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import attrs
import msgspec

from sniproxy.config.schema import HealthTable, Timeouts
from sniproxy.migrate.envoy.chains import ChainRule
from sniproxy.migrate.envoy.clusters import Cluster
from sniproxy.migrate.envoy.messages import entries, number, seconds
from sniproxy.migrate.model import Notes, Rule
from sniproxy.migrate.yamlnodes import YamlNode

_HEALTH_DEFAULTS = HealthTable()
_ENVOY_EJECTION_S = 30.0
_ENVOY_FAILURES = 5

T = TypeVar("T", int, float)


def one_for_all(found: Sequence[tuple[YamlNode, T]], what: str, choose: Callable[[Iterable[T]], T], report: Notes) -> T:
    """One value of several. @param found: each with its place, at least one. @param choose: max or min."""
    chosen = choose(value for _, value in found)
    for node, value in found:
        if value != chosen:
            report.different(node.place, f"{value:g}: {what} is {chosen:g}, one value for the whole proxy")
    return chosen


def timeouts(
    hello: Sequence[YamlNode], used: Sequence[Cluster], proxies: Sequence[YamlNode], report: Notes
) -> Timeouts:
    """C{[timeouts]}. @param hello: C{listener_filters_timeout}s. @param proxies: configurations of C{tcp_proxy}."""
    values: dict[str, float] = {}
    waits = [(node, value) for node in hello if (value := seconds(node)) is not None]
    positive = [(node, value) for node, value in waits if value > 0]
    for node, _ in (pair for pair in waits if not pair[1]):
        report.different(node.place, "0s: Envoy waits for a hello without limit; timeouts.hello keeps its default")
    if positive:
        values["hello"] = one_for_all(positive, "timeouts.hello", max, report)
    connects = [(one.node, value) for one in used if (value := seconds(one.node, "connect_timeout"))]
    if connects:
        values["connect"] = one_for_all(connects, "timeouts.connect, for all attempts together,", max, report)
    idles = [(proxy, value) for proxy in proxies if (value := seconds(proxy, "idle_timeout")) is not None]
    if idles:
        endless = [pair for pair in idles if not pair[1]]
        values["idle"] = 0.0 if endless else one_for_all(idles, "timeouts.idle", max, report)
    if proxies and len(idles) < len(proxies):
        written = f"{values['idle']:g} s, of others" if idles else f"{Timeouts().idle:g} s"
        place = next(proxy.place for proxy in proxies if proxy.get("idle_timeout") is None)
        report.different(place, f"idle_timeout is not written, so it is 1 h in Envoy; timeouts.idle is {written}")
    return msgspec.structs.replace(Timeouts(), **values)


def health(used: Sequence[Cluster], report: Notes) -> HealthTable:
    """C{[health]} from health checks and outlier detection of the clusters."""
    values: dict[str, float | int | str] = {}
    checks = [(cluster, check) for cluster in used for check in entries(cluster.node, "health_checks")]
    if checks:
        values["check"] = "tcp"
        without = [cluster.name for cluster in used if not entries(cluster.node, "health_checks") and cluster.targets]
        if without:
            report.different(checks[0][1].place, f"the targets of {', '.join(without)} are checked, too")
        for _, check in checks:
            if check.get("tcp_health_check") is None or check.at("tcp_health_check", "send") is not None:
                report.different(check.place, 'checked by a connect only, check = "tcp"')
        numbers: tuple[tuple[str, str], ...] = (("rise", "healthy_threshold"), ("fall", "unhealthy_threshold"))
        for key, name in numbers:
            counts = [(check, value) for _, check in checks if (value := number(check, name))]
            if counts:
                values[key] = one_for_all(counts, f"health.{key}", max, report)
        intervals = [(check, each) for _, check in checks if (each := seconds(check, "interval"))]
        if intervals:
            values["interval"] = one_for_all(intervals, "health.interval", min, report)
    detections = [node for cluster in used if (node := cluster.node.get("outlier_detection")) is not None]
    if detections:
        times = [(node, seconds(node, "base_ejection_time") or _ENVOY_EJECTION_S) for node in detections]
        values["eject"] = one_for_all(times, "health.eject", max, report)
        _failures(detections, values, report)
    return msgspec.convert(values, HealthTable) if values else _HEALTH_DEFAULTS


def _failures(detections: Sequence[YamlNode], values: dict[str, float | int | str], report: Notes) -> None:
    """The failed connects before a target is ejected: C{fall}, if health checks do not set it."""
    counts = []
    for node in detections:
        keys = ("consecutive_local_origin_failure", "consecutive_5xx", "consecutive_gateway_failure")
        written = [value for key in keys if (value := number(node, key))]
        counts.append((node, min(written, default=_ENVOY_FAILURES)))
    if "fall" in values:
        for node, count in counts:
            if count != values["fall"]:
                report.different(node.place, f"{count} failures: health.fall is {values['fall']}, as of health checks")
    else:
        values["fall"] = one_for_all(counts, "health.fall", max, report)


def with_limits(made: Sequence[ChainRule], report: Notes) -> list[Rule]:
    """The rules, with the limits of connections of clusters. A cluster of several rules has no counterpart."""
    users = Counter(cluster.name for _, destination in made for cluster in destination.clusters)
    reported: set[str] = set()
    rules = []
    for rule, destination in made:
        limited = [one for one in destination.clusters if one.max_connections is not None]
        alone = len(destination.clusters) == 1 and all(users[one.name] == 1 for one in limited)
        if limited and alone and limited[0].max_connections:
            rule = attrs.evolve(rule, max_connections=limited[0].max_connections)
        else:
            for cluster in limited:
                if cluster.name not in reported:
                    reported.add(cluster.name)
                    why = "a limit here is for one route, in each worker; write it in the routes, or in [limits]"
                    report.left_out(cluster.place, f"max_connections = {cluster.max_connections}: {why}")
        rules.append(rule)
    return rules
