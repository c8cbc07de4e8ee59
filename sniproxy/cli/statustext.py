"""The text of ``sniproxyctl status``. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sniproxy.admin.aggregation import merged_status
from sniproxy.cli.forms import compact
from sniproxy.cli.rates import Rates
from sniproxy.cli.targettable import has_table, target_lines
from sniproxy.util.text import amount, bounded, counted, duration, printable

MAX_ROUTES = 10
"""Maximum of routes in the text of C{status}."""


def lines(documents: Mapping[str, dict[str, Any]], now: Rates | None = None, *, brief: bool = False) -> Iterator[str]:
    """The text of ``status``.

    @param documents: the JSON of ``/status`` of each instance, by URL. @param now: rates; None: they are not known.
    @param brief: leave out listeners, routes and settings, which only a reload changes.
    @raise KeyError, TypeError, AttributeError, ValueError: a document has another form.
    """
    for url, one in documents.items():
        age = duration(one["time"] - one["started"])
        which = f"{printable(url)}: " if len(documents) > 1 else ""
        worker = "" if one["instance"] is None else f", worker {one['instance']}"
        yield f"{which}sniproxy {printable(one['version'])}{worker}, {one['state']}, started {age} ago"
        configuration = one["configuration"]
        reloads = configuration["reloads"]
        yield (
            f"{which}configuration {printable(configuration['file'])}, loaded "
            f"{duration(one['time'] - configuration['since'])} ago; reloads: {reloads['succeeded']} succeeded, "
            f"{reloads['failed']} failed"
        )
        if "relay" in one:  # older instances have none
            yield f"{which}{_relay(one['relay'])}"
        for resolver in one.get("resolvers", ()):  # older instances have none
            yield f"{which}{_resolver(resolver)}"
    document = merged_status(list(documents.values()))
    totals = document["totals"]
    if not brief:
        yield from _configuration_lines(document)
    yield (
        f"{counted(document['live'], 'open connection')}; since start: {totals['ended']} ended, "
        f"{totals['refused']} refused, {amount(totals['bytes_up'])} up, {amount(totals['bytes_down'])} down"
    )
    if now is not None:
        yield (
            f"per second: {compact(now.new)} new, {compact(now.refused)} refused, {compact(now.up)}B up, "
            f"{compact(now.down)}B down"
        )
    table = has_table(document)
    listed = {one["target"] for one in document["targets"]} if table else set()
    by_target = Counter(tunnel["target"] for tunnel in document["tunnels"] if tunnel["target"] is not None)
    shown = len(document["tunnels"])
    newest = "" if shown == document["live"] else f" of the newest {shown}"
    for target, count in by_target.most_common():
        if target not in listed:
            yield f"  {count:>6}{newest}  {printable(target)}"
    if table:
        yield from target_lines(document)
    else:
        for one in document["targets"]:
            why = f": {bounded(one['why'])}" if one["why"] else ""
            yield f"target {printable(one['target'])}: {one['state']}, {counted(one['connections'], 'connection')}{why}"
    for one in document["drains"]:
        yield f"draining {drain_title(one)} at {one['rate']:g}/s: {one['closed']} closed, {one['left']} left"
    for one in document.get("faults", ()):  # older instances have none
        yield fault_line(one)
    for one in document["old_processes"]:
        yield _old_process(one, document["time"])
    for warning in document["warnings"]:
        yield f"warning: {bounded(warning)}"
    omitted = document["warning_count"] - len(document["warnings"])
    if omitted:
        yield f"{counted(omitted, 'more warning')} in the log of the proxy"


def _old_process(old: dict[str, Any], now: float) -> str:
    """A process that an upgrade has replaced, and how long it keeps its tunnels."""
    tunnels, ends = old["tunnels"], old["ends"]
    until = f"until {'it ends' if tunnels == 1 else 'they end'}"
    most = "" if ends is None else f", at most {duration(max(0.0, ends - now))}"
    return f"old process {old['pid']}: {counted(tunnels, 'tunnel')}, {until}{most}"


def _relay(relay: dict[str, Any]) -> str:
    if relay["relay"] == "engine":
        return f"relay: engine, {counted(relay['threads'], 'thread')}"
    return f"relay: python: {bounded(relay['why'])}" if relay["why"] else "relay: python"


def _resolver(resolver: dict[str, Any]) -> str:
    """What a resolver knows, and what is wrong with it."""
    counts = resolver["counts"]
    known = bounded(resolver["watch"] or f"queries: {counts['questions']}")
    failed = f", {counts['failures']} failed" if counts["failures"] else ""
    held = "; the circuit breaker is open" if resolver["breaker"] == "open" else ""
    error = f"; error: {bounded(resolver['error'])}" if resolver["error"] else ""
    return f"resolver {printable(resolver['name'])} ({printable(resolver['kind'])}): {known}{failed}{held}{error}"


def _configuration_lines(document: dict[str, Any]) -> Iterator[str]:
    """A summary of the configuration, with at most L{MAX_ROUTES} routes."""
    configuration = document["configuration"]
    modes = {one["name"]: _mode(one) for one in configuration["listeners"]}
    for one in document["listeners"]:
        where = one["address"] or printable(one["endpoint"])
        yield f"listener {printable(one['name'])}: {where}{modes.get(one['name'], '')}"
    routes = configuration["routes"][:MAX_ROUTES]
    for route in routes:
        listener = "" if route["listener"] is None else f" (on {printable(route['listener'])})"
        name = printable(route["server_name"]) or "(no server name)"
        yield f"route {name}{listener}: {_destination(route)}"
    if configuration["route_count"] > len(routes):
        yield f"{counted(configuration['route_count'] - len(routes), 'more route')}"
    for name, what in (("default", "other names"), ("no_server_name", "no server name")):
        if configuration[name] is not None:
            yield f"{what}: {_destination(configuration[name])}"
    health, limits = configuration["health"], configuration["limits"]
    yield f"timeouts: {_values(configuration['timeouts'])}"
    if limits["rate_per_client"] is None:
        limits = {**limits, "burst_per_client": None}
    if text := _values(limits):
        yield f"limits: {text}"
    if health["check"] or health["eject"]:
        yield f"health: {_values(health)}"
    yield f"policy: {_values(configuration['policy'])}"


def _mode(one: dict[str, Any]) -> str:
    inspected = ", inspected" if one["inspect"] else ""
    if one["mode"] == "plaintext":
        return f", plaintext to {_destination(one)}{inspected}"
    if one["mode"] == "bridge":
        proxy = f" through proxy {printable(one['proxy'])}" if one["proxy"] else ""
        return f", bridge to {printable(one['service_url'])}{proxy}{inspected}"
    return f", terminates TLS{inspected}" if one["mode"] == "ends_tls" else ""


def _destination(route: dict[str, Any]) -> str:
    targets = ", ".join(map(printable, route["targets"]))
    resolvers = ", then ".join(f"resolver {printable(name)}" for name in route["resolvers"])
    least = route["balance"] == "least_connections"
    balance = " (least connections)" if least else " (round robin)" if len(route["targets"]) > 1 else ""
    return f"{resolvers or targets}{balance}"


def _values(table: dict[str, Any]) -> str:
    """The settings that have a value, in one line."""
    texts = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in table.items()}
    return ", ".join(f"{key} {printable(f'{value}')}" for key, value in texts.items() if value not in (None, ""))


def fault_line(one: dict[str, Any]) -> str:
    """A fault on purpose: what it does, and how often it was applied."""
    counts = f"applied {counted(one['applied'], 'time')}, {one['matched']} matched"
    added = ", added by a command" if one["added"] else ""
    return f"fault {printable(one['name'])}: {one['action']} at {printable(one['trigger'])}: {counts}{added}"


def drain_title(found: dict[str, Any]) -> str:
    """What is drained: a target or a route."""
    return f"{found['kind']} {printable(found['name'])}"
