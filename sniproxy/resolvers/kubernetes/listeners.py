"""Which listeners of a Gateway accept a TLSRoute, and for which names. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from sniproxy.resolvers.kubernetes.gatewayobjects import GROUP, Gateway, GatewayListener, ParentRef, TLSRoute
from sniproxy.resolvers.kubernetes.hostnames import ANY, hostname, intersection
from sniproxy.util.text import bounded

Labels = Mapping[str, dict[str, str]]
"""The labels of namespaces, by name."""


@attrs.frozen
class Condition:
    """The value of a condition of a route. @ivar reason: of the Gateway API. @ivar message: for people; bounded."""

    good: bool
    reason: str
    message: str


@attrs.frozen
class Attachment:
    """How a route is attached by one parentRef.

    @ivar names: listener and normalised hostname of each name, or L{ANY}.
    """

    accepted: Condition
    names: tuple[tuple[str, str], ...] = ()


def refers_to(parent: ParentRef, route: TLSRoute, gateway: Gateway) -> bool:
    """Whether a parentRef names a Gateway."""
    namespace = route.metadata.namespace if parent.namespace is None else parent.namespace
    return (
        (GROUP if parent.group is None else parent.group, parent.kind or "Gateway") == (GROUP, "Gateway")
        and parent.name == gateway.metadata.name
        and namespace == gateway.metadata.namespace
    )


def attach(gateway: Gateway, route: TLSRoute, parent: ParentRef, labels: Labels | None) -> Attachment:
    """Attach a route to the listeners that a parentRef names.

    @param labels: of the namespaces. None: unknown, so that no selector allows one.
    """
    chosen = [one for one in gateway.spec.listeners or () if _is_named(one, parent)]
    if not chosen:
        return _refused("NoMatchingParent", f"the Gateway has no listener {_wanted(parent)}")
    faults = {one.name: _fault(one, gateway, route, labels) for one in chosen}
    allowed = [one for one in chosen if faults[one.name] is None]
    if not allowed:
        why = "; ".join(f"listener {name}: {fault}" for name, fault in faults.items())
        return _refused("NotAllowedByListeners", why)
    names = []
    for listener in allowed:
        own = hostname(listener.hostname) if listener.hostname else None
        if listener.hostname and own is None:
            continue
        if not route.spec.hostnames:
            names.append((listener.name, own or ANY))
        for text in route.spec.hostnames or ():
            wanted = hostname(text)
            both = None if wanted is None else intersection(own, wanted)
            if both is not None:
                names.append((listener.name, both))
    if not names:
        hosts = ", ".join(one.hostname or "any" for one in allowed)
        return _refused("NoMatchingListenerHostname", f"no hostname of the route is one of the listeners': {hosts}")
    return Attachment(Condition(True, "Accepted", "the route is served"), tuple(dict.fromkeys(names)))


def selects_namespaces(gateway: Gateway) -> bool:
    """Whether a listener selects namespaces by their labels."""
    return any(_from(one) == "Selector" for one in gateway.spec.listeners or ())


def is_served(listener: GatewayListener) -> bool:
    """Whether we serve a listener: TLS passthrough."""
    return listener.protocol == "TLS" and listener.tls is not None and listener.tls.mode == "Passthrough"


def claims_names(listener: GatewayListener) -> bool:
    """Whether a listener takes TLS connections by name, served by us or not."""
    return listener.protocol in ("TLS", "HTTPS")


def _is_named(listener: GatewayListener, parent: ParentRef) -> bool:
    # An empty sectionName means the whole Gateway.
    return (not parent.section_name or parent.section_name == listener.name) and parent.port in (None, listener.port)


def _wanted(parent: ParentRef) -> str:
    section = f"named {bounded(parent.section_name, 80)}" if parent.section_name else ""
    port = f"of port {parent.port}" if parent.port is not None else ""
    return f"{section} {port}".strip() or "at all"


def _fault(listener: GatewayListener, gateway: Gateway, route: TLSRoute, labels: Labels | None) -> str | None:
    """Why a listener does not allow a route. None: it does."""
    if not is_served(listener):
        mode = "" if listener.tls is None else f", mode {listener.tls.mode or 'Terminate'}"
        return f"its protocol is {listener.protocol}{mode}; only TLS with mode Passthrough is supported"
    kinds = (listener.allowed_routes and listener.allowed_routes.kinds) or ()
    if kinds and not any((GROUP if one.group is None else one.group, one.kind) == (GROUP, "TLSRoute") for one in kinds):
        return "it does not allow the kind TLSRoute"
    if not _allows_namespace(listener, gateway, route.metadata.namespace, labels):
        return f"it does not allow routes of namespace {route.metadata.namespace}"
    return None


def _allows_namespace(listener: GatewayListener, gateway: Gateway, namespace: str, labels: Labels | None) -> bool:
    match _from(listener):
        case "All":
            return True
        case "Same":
            return namespace == gateway.metadata.namespace
        case "Selector":
            namespaces = None if listener.allowed_routes is None else listener.allowed_routes.namespaces
            selector = None if namespaces is None else namespaces.selector
            found = None if labels is None else labels.get(namespace)
            return selector is not None and found is not None and selector.matches(found)
    return False


def _from(listener: GatewayListener) -> str:
    namespaces = listener.allowed_routes and listener.allowed_routes.namespaces
    return (namespaces and namespaces.from_) or "Same"


def _refused(reason: str, message: str) -> Attachment:
    return Attachment(Condition(False, reason, bounded(message, 1000)))
