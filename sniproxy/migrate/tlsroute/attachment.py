"""Which TLSRoutes are attached to which listeners of Gateways, and for which names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.model import ANY, Notes, Place
from sniproxy.migrate.tlsroute.manifests import GATEWAY_GROUP, Manifest, Manifests, items, string, whole
from sniproxy.migrate.yamlnodes import YamlNode

LISTENER_SETS = ("ListenerSet", "XListenerSet")
GROUPS = (GATEWAY_GROUP, "gateway.networking.x-k8s.io")


@attrs.frozen
class Section:
    """A listener of a Gateway, or of a ListenerSet of it.

    @ivar owner: the object that has the listener.
    @ivar hostname: L{ANY} without one. @ivar protocol: C{TLS} or C{HTTPS}. @ivar mode: C{Passthrough} or other.
    """

    gateway: Manifest
    owner: Manifest
    name: str
    port: int
    hostname: str
    protocol: str
    mode: str
    node: YamlNode

    @property
    def passthrough(self) -> bool:
        """Whether TLS passes through."""
        return self.protocol == "TLS" and self.mode == "Passthrough"

    @property
    def place(self) -> Place:
        return attrs.evolve(self.node.place, key=f"listener {self.name} of {self.owner.place.key}")


@attrs.frozen
class Attached:
    """A route at a listener. @ivar section: None: all listeners. @ivar patterns: the names, in our form."""

    route: Manifest
    section: Section | None
    patterns: Sequence[str]


def covers(general: str, special: str) -> bool:
    """Whether one pattern has all names of the other."""
    if general in (ANY, special):
        return True
    return general.startswith("*.") and special != ANY and special.removeprefix("*").endswith(general[1:])


def intersection(one: str, other: str) -> str | None:
    """The pattern of the names that two patterns share. None: there are none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def sections(owner: Manifest, gateway: Manifest, report: Notes) -> list[Section]:
    """The listeners of an object for TLS, and those of HTTPS, whose names TLSRoutes do not get."""
    found = []
    for node in items(owner.node, "spec", "listeners"):
        protocol, port = string(node, "protocol").upper(), whole(node, "port")
        mode = string(node, "tls", "mode") or "Terminate"
        if port is None or not 1 <= port <= 65535:
            report.left_out(node.place, "a listener without a port from 1 to 65535", decides=True)
            continue
        if protocol not in ("TLS", "HTTPS"):
            report.left_out(node.place, f"a listener for {protocol}; only TLS is routed by its server name")
            continue
        hostname = string(node, "hostname").lower() or ANY
        found.append(Section(gateway, owner, string(node, "name"), port, hostname, protocol, mode, node))
    return found


def _listener_set(one: Manifest, manifests: Manifests, report: Notes) -> list[Section]:
    """The listeners of a ListenerSet, if its Gateway allows it."""
    parent = one.node.at("spec", "parentRef")
    namespace = string(parent, "namespace") or one.namespace
    gateway = manifests.one("Gateway", namespace, string(parent, "name"))
    if gateway is None:
        report.different(one.place, "its Gateway is in no file: its listeners are taken")
        return sections(one, one, report)
    allowed = gateway.node.at("spec", "allowedListeners")
    source = string(allowed, "namespaces", "from") or "None"
    same = source == "All" or (source == "Same" and one.namespace == gateway.namespace)
    if same or (source == "Selector" and _selected(one.place, allowed, one, manifests, report)):
        return sections(one, gateway, report)
    report.left_out(one.place, f"allowedListeners of {gateway.place.key} does not include it")
    return []


def attach(manifests: Manifests, report: Notes) -> tuple[list[Section], list[Attached]]:
    """All listeners, and the routes that are attached to them. A route of no Gateway of the files is for all."""
    listeners = {
        (gateway.kind, gateway.namespace, gateway.name): sections(gateway, gateway, report)
        for gateway in manifests.all("Gateway")
        if gateway.group == GATEWAY_GROUP
    }
    for kind in LISTENER_SETS:
        for one in manifests.all(kind):
            listeners[kind, one.namespace, one.name] = _listener_set(one, manifests, report)
    found: list[Attached] = []
    for route in manifests.all("TLSRoute"):
        parents = items(route.node, "spec", "parentRefs")
        before = len(found)
        for parent in parents:
            found += _parent(route, parent, listeners, manifests, report)
        if not parents:
            report.different(route.place, "it has no parentRefs: taken for all listeners")
            found.append(Attached(route, None, hostnames(route)))
        elif len(found) == before:
            report.left_out(route.place, "attached to no listener here")
    return [one for each in listeners.values() for one in each], found


def hostnames(route: Manifest) -> list[str]:
    """The patterns of a route. Without hostnames, which old versions allow, it is for all names."""
    return [one.text().lower() for one in items(route.node, "spec", "hostnames")] or [ANY]


def _parent(
    route: Manifest,
    parent: YamlNode,
    listeners: Mapping[tuple[str, str, str], Sequence[Section]],
    manifests: Manifests,
    report: Notes,
) -> list[Attached]:
    """The route at the listeners of one C{parentRef}."""
    kind, name = string(parent, "kind") or "Gateway", string(parent, "name")
    namespace = string(parent, "namespace") or route.namespace
    if kind not in ("Gateway", *LISTENER_SETS) or string(parent, "group") not in ("", *GROUPS):
        report.left_out(parent.place, f"attached to {kind} {namespace}/{name}; only Gateways are read", decides=True)
        return []
    known = listeners.get((kind, namespace, name))
    if known is None:
        why = f"{kind} {namespace}/{name} is in no file: taken for all listeners"
        report.different(parent.place, f"{route.place.key}: {why}")
        return [Attached(route, None, hostnames(route))]
    section, port = string(parent, "sectionName"), whole(parent, "port")
    named = [one for one in known if section in ("", one.name) and port in (None, one.port)]
    if not named:
        report.left_out(parent.place, f"{route.place.key}: no TLS listener of {kind} {namespace}/{name} fits it")
    found = []
    reasons: list[tuple[Place, str, bool]] = []
    for one in named:
        patterns = [shared for host in hostnames(route) if (shared := intersection(one.hostname, host)) is not None]
        if not _allowed(one, route, manifests, report):
            reasons.append((one.place, f"allowedRoutes does not include {route.place.key}", False))
        elif not patterns:
            reasons.append((one.place, f"its hostname and those of {route.place.key} have no name in common", False))
        elif one.protocol != "TLS":
            reasons.append((one.place, f"{route.place.key}: a TLSRoute needs a listener of the protocol TLS", False))
        elif not one.passthrough:
            why = "the listener terminates TLS; write a listener with certificates for its names"
            reasons.append((one.place, f"{route.place.key}: {why}", True))
        else:
            found.append(Attached(route, one, list(dict.fromkeys(patterns))))
    for place, why, decides in reasons:
        if decides or not found:
            report.left_out(place, why, decides=decides)
    return found


def _allowed(section: Section, route: Manifest, manifests: Manifests, report: Notes) -> bool:
    """Whether a listener allows a route, by its kind and namespace."""
    allowed = section.node.get("allowedRoutes")
    kinds = items(allowed, "kinds")
    if kinds and not any(
        string(one, "kind") == "TLSRoute" and string(one, "group") in ("", GATEWAY_GROUP) for one in kinds
    ):
        return False
    source = string(allowed, "namespaces", "from") or "Same"
    if source == "Selector":
        return _selected(section.place, allowed, route, manifests, report)
    return source == "All" or (source == "Same" and section.owner.namespace == route.namespace)


def _selected(place: Place, allowed: YamlNode | None, of: Manifest, manifests: Manifests, report: Notes) -> bool:
    """Whether a selector of namespaces allows a route or a ListenerSet."""
    selector = None if allowed is None else allowed.at("namespaces", "selector")
    namespace = next((one for one in manifests.all("Namespace") if one.name == of.namespace), None)
    expressions = items(selector, "matchExpressions")
    if namespace is None or expressions:
        missing = "its matchExpressions are not read" if expressions else f"Namespace {of.namespace} is in no file"
        report.different(place, f"{of.place.key}: a selector allows namespaces, and {missing}: allowed", decides=True)
        return True
    labels = None if selector is None else selector.get("matchLabels")
    wanted = {} if labels is None else {key: value.text() for key, value in labels.items()}
    has = namespace.node.at("metadata", "labels")
    return all(string(has, key) == value for key, value in wanted.items())
