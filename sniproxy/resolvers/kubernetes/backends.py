"""The backends of a TLSRoute: Services, whether they may be referred to, and their endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from sniproxy.interfaces import Target
from sniproxy.resolvers.kubernetes.endpoints import Network, balanced, collect
from sniproxy.resolvers.kubernetes.gatewayobjects import GROUP, BackendRef, ReferenceGrant, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import Condition
from sniproxy.resolvers.kubernetes.objects import EndpointSlice, Service
from sniproxy.util.text import bounded

SERVICE_LABEL = "kubernetes.io/service-name"
"""The label of an EndpointSlice with the name of its Service."""

Key = tuple[str, str]
"""Namespace and name."""


@attrs.frozen
class Backend:
    """One backend with a weight of 1 or more.

    @ivar name: as in C{Service pulsar/broker}. @ivar weight: its share of the route's connections.
    @ivar targets: its endpoints. Empty: its share of connections is closed. @ivar fault: why it has none.
    """

    name: str
    weight: int
    targets: tuple[Target, ...]
    fault: str = ""


@attrs.frozen
class Backends:
    """The backends of a route. @ivar resolved: the condition ResolvedRefs. @ivar notes: what was ignored."""

    backends: tuple[Backend, ...]
    resolved: Condition
    notes: tuple[str, ...] = ()


@attrs.frozen
class _Read:
    """What was made of the slices of a Service."""

    slices: Sequence[EndpointSlice]
    targets: tuple[Target, ...]
    notes: tuple[str, ...]


class Cluster:
    """Services, their EndpointSlices, and ReferenceGrants.

    @param before: the same at an earlier time; what was made of slices that are still the same objects is used again,
        because a change is usually one of a single Service.
    """

    def __init__(
        self,
        services: Mapping[Key, Service],
        slices: Iterable[EndpointSlice],
        grants: Iterable[ReferenceGrant],
        networks: Sequence[Network] = (),
        before: Cluster | None = None,
    ) -> None:
        self._services = services
        self._networks = networks
        self._read: dict[tuple[Key, str], _Read] = {}
        self._read_before = {} if before is None else before._read
        self._slices: dict[Key, list[EndpointSlice]] = {}
        for one in slices:
            service = (one.metadata.labels or {}).get(SERVICE_LABEL)
            if service is not None:
                self._slices.setdefault((one.metadata.namespace, service), []).append(one)
        self._grants: dict[str, list[ReferenceGrant]] = {}
        for grant in grants:
            self._grants.setdefault(grant.metadata.namespace, []).append(grant)

    def backends(self, route: TLSRoute) -> Backends:
        """Resolve the backends of a route."""
        found: list[Backend] = []
        faults: list[Condition] = []
        notes: dict[str, None] = {}
        for rule in route.spec.rules or ():
            for reference in rule.backend_refs or ():
                backend, fault, more = self._backend(reference, route)
                notes.update(dict.fromkeys(more))
                if fault is not None:
                    faults.append(fault)
                if backend.weight > 0:
                    found.append(backend)
        first = min(faults, key=lambda one: _ORDER.index(one.reason), default=None)
        if first is None:
            return Backends(tuple(found), Condition(True, "ResolvedRefs", "all backends are found"), tuple(notes))
        message = bounded("; ".join(dict.fromkeys(one.message for one in faults)), 1000)
        return Backends(tuple(found), Condition(False, first.reason, message), tuple(notes))

    def _backend(self, reference: BackendRef, route: TLSRoute) -> tuple[Backend, Condition | None, Sequence[str]]:
        namespace = route.metadata.namespace if reference.namespace is None else reference.namespace
        kind = reference.kind or "Service"
        weight = 1 if reference.weight is None else reference.weight
        name = f"{kind} {bounded(namespace, 80)}/{bounded(reference.name, 260)}"

        def bad(reason: str, message: str) -> tuple[Backend, Condition, Sequence[str]]:
            return Backend(name, weight, (), message), Condition(False, reason, message), ()

        if (reference.group or "", kind) != ("", "Service"):
            return bad("InvalidKind", f"{name}: only Services are supported")
        if namespace != route.metadata.namespace and not self._permits(namespace, reference.name, route):
            return bad("RefNotPermitted", f"{name}: no ReferenceGrant of namespace {namespace} permits it")
        service = self._services.get((namespace, reference.name))
        if service is None:
            return bad("BackendNotFound", f"{name}: not found")
        if service.spec.type == "ExternalName":
            return bad("BackendNotFound", f"{name}: Services of type ExternalName are not supported")
        ports = [one for one in service.spec.ports or () if (one.protocol or "TCP") == "TCP"]
        port = next((one for one in ports if one.port == reference.port), None)
        if port is None:
            return bad("BackendNotFound", f"{name}: no TCP port {reference.port or '(the port is missing)'}")
        read = self._endpoints((namespace, reference.name), port.name or "")
        fault = "" if read.targets else f"{name}: no ready endpoint"
        return Backend(name, weight, read.targets, fault), None, [f"{name}: {note}" for note in read.notes]

    def _endpoints(self, service: Key, port: str) -> _Read:
        """The endpoints of a Service."""
        read = self._read.get((service, port))
        if read is None:
            slices = self._slices.get(service, [])
            read = self._read_before.get((service, port))
            if read is None or not _same(read.slices, slices):
                found = collect(slices, port, self._networks)
                read = _Read(slices, tuple(balanced(found.endpoints)), found.notes)
            self._read[service, port] = read
        return read

    def _permits(self, namespace: str, service: str, route: TLSRoute) -> bool:
        """Whether a ReferenceGrant of a namespace permits a route of another one to refer to a Service."""
        for grant in self._grants.get(namespace, ()):
            comes = any(
                (one.group, one.kind, one.namespace) == (GROUP, "TLSRoute", route.metadata.namespace)
                for one in grant.spec.from_ or ()
            )
            if comes and any(
                (one.group, one.kind) == ("", "Service") and one.name in (None, "", service)
                for one in grant.spec.to or ()
            ):
                return True
        return False


def _same(one: Sequence[EndpointSlice], other: Sequence[EndpointSlice]) -> bool:
    """Whether they are the same objects."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


_ORDER = ("InvalidKind", "RefNotPermitted", "BackendNotFound")
"""The reason that counts if several backends are invalid, first one first."""
