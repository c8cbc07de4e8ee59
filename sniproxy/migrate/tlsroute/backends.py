"""The backends of TLSRoutes: Services become targets. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sniproxy.migrate.model import Notes
from sniproxy.migrate.tlsroute.manifests import GATEWAY_GROUP, Manifest, Manifests, items, string, whole
from sniproxy.migrate.weights import host_port, share, weighted
from sniproxy.migrate.yamlnodes import YamlNode
from sniproxy.routing.targets import MAX_PORT, BadTarget, parse_target

MULTICLUSTER_GROUP = "multicluster.x-k8s.io"
MAX_WEIGHT = 1_000_000
"""Largest weight of Gateway API."""


def targets(route: Manifest, manifests: Manifests, cluster_domain: str, report: Notes) -> Sequence[str]:
    """The targets of a route. Empty: its connections are refused."""
    rules = items(route.node, "spec", "rules")
    for rule in rules[1:]:
        report.left_out(rule.place, "a TLSRoute has one rule; the first is used", decides=True)
    groups: list[tuple[int, list[tuple[str, int]]]] = []
    lost = 0
    for reference in items(rules[0], "backendRefs") if rules else ():
        written = whole(reference, "weight")
        weight = 1 if written is None else min(written, MAX_WEIGHT)
        if not weight:
            report.taken(reference.place, f"{string(reference, 'name')}: weight 0, so it gets no connections")
            continue
        found = _backend(reference, route, manifests, cluster_domain, report)
        lost += not found
        groups.append((weight, [(target, 1) for target in found]))
    result = [weighted(target, weight) for target, weight in share(groups)]
    if lost and result:
        report.different(route.place, "connections for backends that are left out go to the others, not refused")
    return result


def _backend(
    reference: YamlNode, route: Manifest, manifests: Manifests, cluster_domain: str, report: Notes
) -> Sequence[str]:
    """The targets of one reference; empty: it is reported."""
    kind, group = string(reference, "kind") or "Service", string(reference, "group")
    name, port = string(reference, "name"), whole(reference, "port")
    namespace = string(reference, "namespace") or route.namespace
    shown = f"{kind} {namespace}/{name}"
    if (kind, group) not in (("Service", ""), ("ServiceImport", MULTICLUSTER_GROUP)):
        report.left_out(reference.place, f"{shown} of {group or 'core'}: only Services are targets", decides=True)
        return ()
    if namespace != route.namespace and not _granted(route, kind, group, namespace, name, manifests):
        why = f"no ReferenceGrant in namespace {namespace} allows TLSRoutes of {route.namespace}; the API refuses it"
        report.left_out(reference.place, f"{shown}: {why}, and so does the import", decides=True)
        return ()
    if port is None or not 1 <= port <= MAX_PORT:
        report.left_out(reference.place, f"{shown}: no port from 1 to {MAX_PORT}", decides=True)
        return ()
    if kind == "ServiceImport":
        found = [host_port(f"{name}.{namespace}.svc.clusterset.local", port)]
    else:
        service = manifests.one("Service", namespace, name)
        found = _service(service, name, namespace, port, manifests, cluster_domain, report)
    return [target for target in found if _valid(target, reference, report)]


def _valid(target: str, reference: YamlNode, report: Notes) -> bool:
    try:
        parse_target(target)
    except BadTarget as error:
        report.left_out(reference.place, f"{target}: {error}", decides=True)
        return False
    return True


def _granted(route: Manifest, kind: str, group: str, namespace: str, name: str, manifests: Manifests) -> bool:
    """Whether a ReferenceGrant in the backend's namespace allows the reference."""
    for grant in manifests.all("ReferenceGrant"):
        froms, tos = items(grant.node, "spec", "from"), items(grant.node, "spec", "to")
        allows_from = any(
            (string(one, "group"), string(one, "kind"), string(one, "namespace"))
            == (GATEWAY_GROUP, "TLSRoute", route.namespace)
            for one in froms
        )
        allows_to = any(
            (string(one, "group"), string(one, "kind")) == (group, kind) and string(one, "name") in ("", name)
            for one in tos
        )
        if grant.namespace == namespace and allows_from and allows_to:
            return True
    return False


def _service(
    service: Manifest | None,
    name: str,
    namespace: str,
    port: int,
    manifests: Manifests,
    cluster_domain: str,
    report: Notes,
) -> list[str]:
    """The targets of a Service: its name in the cluster's DNS, or what its manifest says."""
    spec = None if service is None else service.node.get("spec")
    if service is not None and string(spec, "type") == "ExternalName":
        return [host_port(string(spec, "externalName"), port)]
    ports = items(spec, "ports")
    written = next((one for one in ports if whole(one, "port") == port), None)
    if service is not None and ports and written is None:
        report.left_out(service.place, f"it has no port {port}, so the API refuses connections to it", decides=True)
        return []
    if service is not None and spec is not None and spec.get("selector") is None:
        addresses = _addresses(name, namespace, string(written, "name"), manifests)
        if addresses:
            return addresses
    if service is not None and string(spec, "clusterIP") == "None":
        # The DNS name of a headless Service has the addresses of pods, which listen on the target port.
        own = string(written, "targetPort")
        if own.isdigit():
            port = int(own)
        elif own:
            why = f"the target port is named {own}: write its number if it is not {port}"
            report.different(service.place, why, decides=True)
    return [host_port(f"{name}.{namespace}.svc.{cluster_domain}", port)]


def _addresses(name: str, namespace: str, port_name: str, manifests: Manifests) -> list[str]:
    """The endpoints of a Service without a selector, from its EndpointSlices."""
    found: list[str] = []
    for one in manifests.all("EndpointSlice"):
        if one.namespace != namespace or string(one.node, "metadata", "labels", "kubernetes.io/service-name") != name:
            continue
        numbers = [whole(port, "port") for port in items(one.node, "ports") if string(port, "name") == port_name]
        for endpoint in items(one.node, "endpoints"):
            if string(endpoint, "conditions", "ready") == "false":
                continue
            for address in items(endpoint, "addresses"):
                found += [host_port(address.text(), number) for number in numbers if number]
    return list(dict.fromkeys(found))
