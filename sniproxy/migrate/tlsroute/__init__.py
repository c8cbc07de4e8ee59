"""Reads Gateway API's manifests: Gateways and TLSRoutes. Pure.

A connection belongs to the listener of its port whose hostname is the most specific for the server name, and to the
most specific hostname among the routes of that listener; of equal ones the oldest route wins, then the first by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.model import ANY, NAMELESS, Imported, Notes, Rule, SourceFile
from sniproxy.migrate.tlsroute.attachment import Attached, Section, attach, covers
from sniproxy.migrate.tlsroute.backends import targets
from sniproxy.migrate.tlsroute.manifests import Manifest, items, load, string
from sniproxy.util.text import counted

CLUSTER_DOMAIN = "cluster.local"
DEFAULT_ENDPOINT = "tcp:4443"


def read(files: Sequence[SourceFile], cluster_domain: str = CLUSTER_DOMAIN) -> Imported:
    """Read manifests. @param cluster_domain: of the cluster's DNS, the end of the names of Services.

    @raise MigrateError: a file is no YAML, or no file has a TLSRoute.
    """
    report = Notes()
    manifests = load(files, report)
    listeners, attached = attach(manifests, report)
    used = [one for one in attached if one.section is not None]
    destinations = {id(one.route): one.route for one in attached}
    found = {key: targets(route, manifests, cluster_domain, report) for key, route in destinations.items()}
    result = Imported(report=report)
    for name, endpoint, sections in _fronts(listeners, report):
        result.listeners.append((sections[0].place, ListenerTable(endpoint, name)))
        own = [one for one in used if one.section in sections]
        result.rules += _rules(name, sections, own, found, report)
        report.taken(sections[0].place, f"listener {name}: {counted(len(own), 'TLSRoute')} attached")
    routes = manifests.all("TLSRoute")
    if routes and not result.listeners:
        place = routes[0].place
        result.listeners.append((place, ListenerTable(DEFAULT_ENDPOINT, "gateway")))
        report.different(place, f"no Gateway in the files has a TLS listener: listening on {DEFAULT_ENDPOINT}")
    result.rules += _winners(None, [one for one in attached if one.section is None], found, report)
    result.rules.sort(key=lambda rule: _precedence(rule.pattern))
    result.report = report.without_repeats()
    return result


def _fronts(listeners: Sequence[Section], report: Notes) -> list[tuple[str, str, list[Section]]]:
    """Our listeners: the name, the endpoint, and the sections of each. A port is one listener here."""
    places: dict[str, list[Section]] = {}
    for section in listeners:
        for host in _addresses(section.gateway):
            places.setdefault(_endpoint(host, section.port), []).append(section)
    found: list[tuple[str, str, list[Section]]] = []
    for endpoint, own in places.items():
        if not any(one.passthrough for one in own):
            for section in own:
                why = "no listener for TLS in the mode Passthrough on this port: it has no counterpart"
                report.left_out(section.place, why, decides=section.protocol == "TLS")
            continue
        gateways = list(dict.fromkeys(f"{one.gateway.namespace}/{one.gateway.name}" for one in own))
        if len(gateways) > 1:
            why = f"{' and '.join(gateways)} have addresses of their own, and share a port here; give them interfaces"
            report.different(own[0].place, why, decides=True)
        taken = [name for name, _, _ in found]
        name = f"{own[0].gateway.name}-{own[0].port}"
        found.append((name if name not in taken else f"{name}-{len(found) + 1}", endpoint, own))
    return found


def _addresses(gateway: Manifest) -> list[str]:
    """The IP addresses that a Gateway asks for; an empty text: any."""
    written = [
        string(one, "value")
        for one in items(gateway.node, "spec", "addresses")
        if string(one, "type") in ("", "IPAddress")
    ]
    return list(dict.fromkeys(one for one in written if _is_ip(one))) or [""]


def _is_ip(text: str) -> bool:
    try:
        return not ip_address(text).is_unspecified
    except ValueError:
        return False


def _endpoint(host: str, port: int) -> str:
    if not host:
        return f"tcp:{port}"
    escaped = host.replace(":", "\\:")
    return f"{'tcp6' if ':' in host else 'tcp'}:{port}:interface={escaped}"


def _rules(
    name: str,
    sections: Sequence[Section],
    attached: Sequence[Attached],
    found: dict[int, Sequence[str]],
    report: Notes,
) -> list[Rule]:
    """The rules of one of our listeners. Names of a section go to its routes only."""
    rules: list[Rule] = []
    for hostname in dict.fromkeys(one.hostname for one in sections):
        inner = [one.hostname for one in sections if one.hostname != hostname and covers(hostname, one.hostname)]
        outer = [one for one in sections if one.hostname != hostname and covers(one.hostname, hostname)]
        own = [one for one in attached if one.section is not None and one.section.hostname == hostname]
        made = _winners(name, own, found, report)
        for rule in made:
            hidden = next((one for one in inner if covers(one, rule.pattern)), None)
            if hidden is None:
                rules.append(rule)
            else:
                report.different(rule.place, f"no route for {rule.pattern}: it belongs to the listener for {hidden}")
        if outer and all(rule.pattern != hostname for rule in made):
            place = next(one.place for one in sections if one.hostname == hostname)
            rules.append(Rule(hostname, place, listener=name))
    return rules


def _winners(
    listener: str | None, attached: Sequence[Attached], found: dict[int, Sequence[str]], report: Notes
) -> list[Rule]:
    """A rule for each pattern, of the oldest route that has it."""
    winners: dict[str, Manifest] = {}
    for one in sorted(attached, key=lambda one: one.route.age):
        for pattern in one.patterns:
            first = winners.setdefault(pattern, one.route)
            if first is not one.route:
                why = f"{pattern} belongs to {first.place.key}, which is older or comes first by its name"
                report.different(one.route.place, f"no route: {why}")
    rules = []
    for pattern, route in winners.items():
        for own in (ANY, NAMELESS) if pattern == ANY else (pattern,):
            rules.append(Rule(own, route.place, tuple(found[id(route)]), listener))
    return rules


def _precedence(pattern: str) -> tuple[int, int]:
    """Exact names, the longest wildcard, all names, no name."""
    if pattern in (ANY, NAMELESS):
        return (2, pattern == NAMELESS)
    return (1, -len(pattern)) if pattern.startswith("*.") else (0, 0)
