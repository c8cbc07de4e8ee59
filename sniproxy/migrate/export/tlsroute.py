"""Writes a configuration as manifests of Gateway API: a Gateway, TLSRoutes, and Services for the targets. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import attrs

from sniproxy.config.schema import File, HealthTable, LimitsTable, ListenerTable, Timeouts
from sniproxy.migrate.export.fronts import FILE, Front, Leading, fixed_targets, fronts, shown
from sniproxy.migrate.export.plainyaml import to_yaml
from sniproxy.migrate.model import ANY, NAMELESS, Exported, Notes, Place
from sniproxy.routing.patterns import is_expression

NAMESPACE = "default"
GATEWAY = "sniproxy"
MAX_BACKENDS = 16
"""Of a rule, by the API."""

MAX_HOSTNAMES = 1024
"""Of a route, by the API; older versions of it had 16."""

MAX_NAME = 50
_HEADER = "# Written by sniproxyctl export. Write your gatewayClassName, then apply it: kubectl apply -f FILE\n"
_API = "gateway.networking.k8s.io"
_HOSTNAME = re.compile(r"(?:\*\.)?[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"([a-z](?:[-a-z0-9]*[a-z0-9])?)\.([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\.svc\.(.+)")

Targets = tuple[tuple[str, int, int], ...]


def write(file: File, namespace: str = NAMESPACE, cluster_domain: str = "cluster.local") -> Exported:
    """Write manifests. @param file: checked. @param namespace: of all objects.

    @param cluster_domain: the end of the names of Services in the cluster's DNS.
    """
    report = Notes()
    writer = _Writer(namespace, cluster_domain, report)
    sections = [(front, name) for front in fronts(file, report) if (name := writer.section(front)) is not None]
    writer.routes(sections)
    _left_out(file, report)
    objects = writer.objects() if sections else []
    return Exported(_HEADER + to_yaml(objects), report.without_repeats())


@attrs.define
class _Writer:
    """Collects the objects. @ivar listeners: of the Gateway. @ivar made: TLSRoutes. @ivar services: by name."""

    namespace: str
    cluster_domain: str
    report: Notes
    listeners: list[dict[str, Any]] = attrs.field(factory=list)
    made: list[dict[str, Any]] = attrs.field(factory=list)
    services: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)
    grants: dict[tuple[str, str], dict[str, Any]] = attrs.field(factory=dict)
    _names: set[str] = attrs.field(factory=set)

    def section(self, front: Front) -> str | None:
        """Write a listener of the Gateway. @return: its name; None: it is left out."""
        table, port = front.table, front.endpoint.port
        why = None
        if table.plaintext:
            why = "connections without TLS have no server name; write a TCPRoute"
        elif table.certificates is not None:
            why = "a Gateway has certificates in Secrets: write a listener in the mode Terminate"
        elif not port:
            why = "a Gateway listens on a TCP port"
        elif any(one["port"] == port for one in self.listeners):
            why = f"another listener has port {port}; write a Gateway of its own, with its addresses"
        if why is not None:
            self.report.left_out(front.place, f"listener {front.name}: {why}", decides=True)
            return None
        if front.endpoint.host not in ("0.0.0.0", "::"):
            self.report.different(front.place, f"listener {front.name}: on the Gateway's addresses")
        if table.proxy_protocol is not None:
            self.report.left_out(front.place, "proxy_protocol: configure it in the Gateway's implementation")
        name = self._name(table.name or f"tls-{port}")
        kinds = [{"group": _API, "kind": "TLSRoute"}]
        self.listeners.append(
            {
                "name": name,
                "port": port,
                "protocol": "TLS",
                "tls": {"mode": "Passthrough"},
                "allowedRoutes": {"namespaces": {"from": "Same"}, "kinds": kinds},
            }
        )
        self.report.taken(front.place, f"listener {front.name}: listener {name} of the Gateway")
        return name

    def routes(self, sections: Sequence[tuple[Front, str]]) -> None:
        """Write a TLSRoute for the names that lead to the same targets at the same listeners."""
        patterns: dict[tuple[str, Targets], list[str]] = {}
        for front, section in sections:
            for one in front.leading:
                if self._expressible(one):
                    targets = self._targets(one, front.endpoint.port)
                    patterns.setdefault((one.pattern, targets), []).append(section)
        groups: dict[tuple[Targets, tuple[str, ...]], list[str]] = {}
        for (pattern, targets), at in patterns.items():
            groups.setdefault((targets, tuple(at)), []).append(pattern)
        every = tuple(name for _, name in sections)
        for (targets, sections_of), names in groups.items():
            for start in range(0, len(names), MAX_HOSTNAMES):
                self._route(names[start : start + MAX_HOSTNAMES], targets, () if sections_of == every else sections_of)

    def _expressible(self, one: Leading) -> bool:
        why = None
        if one.pattern in (ANY, NAMELESS):
            why = "a TLSRoute has hostnames; a TCPRoute at the listener can take all of its connections"
        elif is_expression(one.pattern):
            why = "a TLSRoute has names and wildcards only"
        elif not _HOSTNAME.fullmatch(one.pattern) or _is_ip(one.pattern):
            why = "a hostname of a TLSRoute has letters, digits and hyphens, and is no IP address"
        if why is not None:
            self.report.left_out(one.place, f"{shown(one.pattern)}: {why}", decides=True)
        return why is None

    def _targets(self, one: Leading, port: int | None) -> Targets:
        """The targets of some names, without spares. Reports what a TLSRoute lacks."""
        targets = fixed_targets(one, port, self.report)
        weighted = tuple(target for target in targets if target[2])
        if targets and not weighted:
            weighted = tuple((host, number, 1) for host, number, _ in targets)
        elif len(weighted) < len(targets):
            why = "a TLSRoute has no spares: targets of weight=0 get no connections there"
            self.report.left_out(one.place, f"{shown(one.pattern)}: {why}", decides=True)
        table = one.table
        for key in ("only_from", "send_proxy", "max_connections", "balance", "target_source"):
            if not isinstance(table, ListenerTable) and getattr(table, key) is not None:
                why = f"{key}: write it as a policy of the Gateway's implementation"
                self.report.left_out(one.place, f"{shown(one.pattern)}: {why}", decides=key == "only_from")
        return weighted

    def _route(self, names: Sequence[str], targets: Targets, at: Sequence[str]) -> None:
        parents = [{"name": GATEWAY, "sectionName": name} for name in at] or [{"name": GATEWAY}]
        references = self._references(names[0], targets)
        metadata = {"name": self._name(names[0]), "namespace": self.namespace}
        spec = {"parentRefs": parents, "hostnames": list(names), "rules": [{"backendRefs": references}]}
        self.made.append({"apiVersion": f"{_API}/v1", "kind": "TLSRoute", "metadata": metadata, "spec": spec})

    def _references(self, pattern: str, targets: Targets) -> list[dict[str, Any]]:
        """The C{backendRefs}. Without targets: one that gets no connections, so that they are refused."""
        if not targets:
            return [{"name": "refused", "port": 1, "weight": 0}]
        groups: list[tuple[list[tuple[str, int]], int]] = [([(host, port)], weight) for host, port, weight in targets]
        if len(groups) > MAX_BACKENDS:
            groups = self._merged(targets)
        if len(groups) > MAX_BACKENDS:
            why = f"a TLSRoute has at most {MAX_BACKENDS} backends; {len(groups) - MAX_BACKENDS} are left out"
            self.report.left_out(Place(FILE), f"{shown(pattern)}: {why}", decides=True)
        return [self._reference(places, weight) for places, weight in groups[:MAX_BACKENDS]]

    @staticmethod
    def _merged(targets: Targets) -> list[tuple[list[tuple[str, int]], int]]:
        """Addresses of the same weight, port and family as one Service, which has the weight of all of them."""
        found: dict[object, tuple[list[tuple[str, int]], int]] = {}
        for host, port, weight in targets:
            key = (weight, port, ":" in host) if _is_ip(host) else (host, port)
            places, sum_ = found.get(key, ([], 0))
            found[key] = ([*places, (host, port)], sum_ + weight)
        return list(found.values())

    def _reference(self, places: list[tuple[str, int]], weight: int) -> dict[str, Any]:
        host, port = places[0]
        service = _SERVICE.fullmatch(host)
        found: dict[str, Any]
        if service is not None and service[3] == self.cluster_domain:
            found = {"name": service[1], "port": port}
            if service[2] != self.namespace:
                found["namespace"] = service[2]
                self._grant(service[2], service[1])
        else:
            found = {"name": self._service(places), "port": port}
        return found if weight == 1 else {**found, "weight": weight}

    def _grant(self, namespace: str, service: str) -> None:
        """A ReferenceGrant, which a Service of another namespace needs."""
        name = f"{GATEWAY}-{service}"[:MAX_NAME].rstrip("-")
        self.grants[namespace, service] = {
            "apiVersion": f"{_API}/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "from": [{"group": _API, "kind": "TLSRoute", "namespace": self.namespace}],
                "to": [{"group": "", "kind": "Service", "name": service}],
            },
        }

    def _service(self, places: list[tuple[str, int]]) -> str:
        """Write a Service for addresses or a host name. @return: its name."""
        host, port = places[0]
        key = _label("-".join(["to", host, str(port), *(["and", str(len(places) - 1)] if len(places) > 1 else [])]))
        name, number = key, 1
        while name in self.services and self.services[name] != self._objects(name, places):
            number += 1
            name = f"{key}-{number}"
        if name not in self.services:
            self.services[name] = self._objects(name, places)
            if not _is_ip(host):
                why = "written as an ExternalName Service, which implementations of Gateway API may refuse"
                self.report.different(Place(FILE), f"{host}: {why}; name a Service instead", decides=True)
        return name

    def _objects(self, name: str, places: list[tuple[str, int]]) -> list[dict[str, Any]]:
        host, port = places[0]
        ports = [{"name": "tls", "port": port, "protocol": "TCP"}]
        metadata = {"name": name, "namespace": self.namespace}
        service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
        if not _is_ip(host):
            return [{**service, "spec": {"type": "ExternalName", "externalName": host, "ports": ports}}]
        labels = {"kubernetes.io/service-name": name}
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv6" if ":" in host else "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address, _ in places],
        }
        return [{**service, "spec": {"clusterIP": "None", "ports": ports}}, slice_]

    def _name(self, text: str) -> str:
        """A name of an object or a listener, not used before."""
        base = _label(text.replace("*.", "any-"))
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}-{number}"
        self._names.add(name)
        return name

    def objects(self) -> list[dict[str, Any]]:
        """All manifests."""
        gateway = {
            "apiVersion": f"{_API}/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": self.namespace},
            "spec": {"gatewayClassName": "example", "listeners": self.listeners},
        }
        services = [one for objects in self.services.values() for one in objects]
        return [gateway, *self.made, *services, *self.grants.values()]


def _label(text: str) -> str:
    """A DNS label of a text, which begins with a letter."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    label = label if label[:1].isalpha() else f"n-{label}"
    return label[:MAX_NAME].strip("-")


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _left_out(file: File, report: Notes) -> None:
    """Report tables without a counterpart."""
    for number in range(len(file.bridge)):
        report.left_out(Place(FILE, 0, f"bridge[{number}]"), "a Gateway has no bridge for clients without TLS")
    for key, written in (
        ("timeouts", file.timeouts != Timeouts()),
        ("health", file.health != HealthTable()),
        ("limits", file.limits != LimitsTable()),
        ("admin", file.admin is not None),
        ("access_log", file.access_log is not None),
        ("fault", bool(file.fault)),
    ):
        if written:
            report.left_out(Place(FILE, 0, key), "configure it in the Gateway's implementation")
