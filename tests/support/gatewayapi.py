"""Objects of the Gateway API, as the API server has them, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

Object = dict[str, Any]
T = TypeVar("T")

GROUP = "gateway.networking.k8s.io"


def listener(name: str = "tls", hostname: str | None = None, mode: str | None = "Passthrough", **fields: Any) -> Object:
    """A listener for TLS on port 443, open to routes of the same namespace."""
    found: Object = {"name": name, "port": 443, "protocol": "TLS", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    if hostname is not None:
        found["hostname"] = hostname
    if mode is not None:
        found["tls"] = {"mode": mode}
    return {**found, **fields}


def gateway(*listeners: Object, name: str = "gw", namespace: str = "pulsar") -> Object:
    """A Gateway; without listeners it has one for all names."""
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"listeners": list(listeners) or [listener()]}}


def route(
    name: str = "route",
    *hostnames: str,
    backends: Any = ({"name": "broker", "port": 443},),
    parents: Any = ({"name": "gw"},),
    namespace: str = "pulsar",
    **metadata: Any,
) -> Object:
    """A TLSRoute of the Gateway C{gw}."""
    return {
        "metadata": {"name": name, "namespace": namespace, "generation": 1, **metadata},
        "spec": {
            "parentRefs": list(parents),
            "hostnames": list(hostnames) or ["abc.example.com"],
            "rules": [{"backendRefs": list(backends)}],
        },
    }


def service(name: str = "broker", namespace: str = "pulsar", port: int = 443, **spec: Any) -> Object:
    """A Service whose port is named tls."""
    ports = [{"name": "tls", "port": port, "protocol": "TCP"}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports, **spec}}


def grant(
    namespace: str = "apps",
    group: str = GROUP,
    kind: str = "TLSRoute",
    source: str = "pulsar",
    to_group: str = "",
    to_kind: str = "Service",
    to_name: str | None = "broker",
) -> Object:
    """A ReferenceGrant of a namespace: routes of the namespace C{source} may refer to the Service C{broker}."""
    to: Object = {"group": to_group, "kind": to_kind, **({} if to_name is None else {"name": to_name})}
    spec = {"from": [{"group": group, "kind": kind, "namespace": source}], "to": [to]}
    return {"metadata": {"name": "grant", "namespace": namespace}, "spec": spec}


def typed(document: Object, kind: type[T]) -> T:
    """An object as the resolver reads it."""
    return msgspec.json.decode(msgspec.json.encode(document), type=kind)
