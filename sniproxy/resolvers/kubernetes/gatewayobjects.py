"""The objects of the Gateway API (C{gateway.networking.k8s.io}), with the fields that the resolver reads. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from sniproxy.resolvers.kubernetes.objects import Fields, Metadata

GROUP = "gateway.networking.k8s.io"


class ParentRef(Fields):
    """What a route attaches to. None: the default."""

    name: str = ""
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    section_name: str | None = None
    port: int | None = None


class BackendRef(Fields):
    """What a rule forwards to."""

    name: str = ""
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    port: int | None = None
    weight: int | None = None


class Rule(Fields):
    """A rule of a TLSRoute. It has no matches."""

    backend_refs: list[BackendRef] | None = None


class RouteSpec(Fields):
    """The specification of a TLSRoute."""

    parent_refs: list[ParentRef] | None = None
    hostnames: list[str] | None = None
    rules: list[Rule] | None = None


class RouteStatus(Fields):
    """The status of a route, as written by all controllers."""

    parents: list[dict[str, Any]] | None = None


class TLSRoute(Fields):
    """A TLSRoute."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: RouteSpec = msgspec.field(default_factory=RouteSpec)
    status: RouteStatus | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


class Expression(Fields):
    """One expression of a label selector."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class Selector(Fields):
    """A label selector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Expression] | None = None

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is selected. An unknown operator selects nothing."""
        if any(labels.get(key) != value for key, value in (self.match_labels or {}).items()):
            return False
        return all(_holds(one, labels) for one in self.match_expressions or ())


class RouteNamespaces(Fields):
    """The namespaces whose routes may attach."""

    from_: str | None = msgspec.field(default=None, name="from")
    selector: Selector | None = None


class RouteKind(Fields):
    """A kind of routes."""

    kind: str = ""
    group: str | None = None


class AllowedRoutes(Fields):
    """The routes that may attach to a listener."""

    namespaces: RouteNamespaces | None = None
    kinds: list[RouteKind] | None = None


class ListenerTLS(Fields):
    """TLS of a listener. @ivar mode: None: C{Terminate}."""

    mode: str | None = None


class GatewayListener(Fields):
    """A listener of a Gateway."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    hostname: str | None = None
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes | None = None


class GatewaySpec(Fields):
    """The specification of a Gateway."""

    listeners: list[GatewayListener] | None = None


class Gateway(Fields):
    """A Gateway."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: GatewaySpec = msgspec.field(default_factory=GatewaySpec)


class GrantFrom(Fields):
    """What may refer."""

    group: str = ""
    kind: str = ""
    namespace: str = ""


class GrantTo(Fields):
    """What may be referred to. @ivar name: None or empty: all of the kind."""

    group: str = ""
    kind: str = ""
    name: str | None = None


class GrantSpec(Fields):
    """The specification of a ReferenceGrant."""

    from_: list[GrantFrom] | None = msgspec.field(default=None, name="from")
    to: list[GrantTo] | None = None


class ReferenceGrant(Fields):
    """A ReferenceGrant."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: GrantSpec = msgspec.field(default_factory=GrantSpec)


def _holds(one: Expression, labels: dict[str, str]) -> bool:
    values = one.values or ()
    match one.operator:
        case "In":
            return labels.get(one.key) in values
        case "NotIn":
            return labels.get(one.key) not in values
        case "Exists":
            return one.key in labels
        case "DoesNotExist":
            return one.key not in labels
    return False
