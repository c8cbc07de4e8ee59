"""Builds manifests of Gateway API."""

from __future__ import annotations

from typing import Any

import yaml

GROUP = "gateway.networking.k8s.io"


def as_yaml(*objects: object) -> str:
    """The text of objects, one document each."""
    return yaml.safe_dump_all(objects, sort_keys=False)


def manifest(kind: str, name: str, spec: object = None, **metadata: Any) -> dict[str, Any]:
    """An object of Gateway API. @param metadata: more of its metadata; C{namespace} is C{default} without it."""
    found = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name, **found}, "spec": spec or {}}


def core(kind: str, name: str, spec: object = None, **metadata: Any) -> dict[str, Any]:
    """An object of Kubernetes itself."""
    return {**manifest(kind, name, spec, **metadata), "apiVersion": "v1"}


def section(name: str, hostname: str | None = None, port: int = 443, **more: Any) -> dict[str, Any]:
    """A listener of a Gateway, through which TLS passes unless C{tls} says otherwise."""
    found = {"name": name, "port": port, "protocol": "TLS", "tls": {"mode": "Passthrough"}, **more}
    return found if hostname is None else {**found, "hostname": hostname}


def gateway(*sections: dict[str, Any], name: str = "gw", namespace: str = "", **more: Any) -> dict[str, Any]:
    """A Gateway named C{gw}. @param more: of its C{spec}."""
    spec = {"gatewayClassName": "x", "listeners": list(sections), **more}
    return manifest("Gateway", name, spec, namespace=namespace)


def tls_route(
    name: str,
    service: str,
    *hostnames: str,
    parentRefs: list[dict[str, Any]] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A TLSRoute to the port 6651 of a Service, attached to C{gw} unless C{parentRefs} says otherwise."""
    spec: dict[str, Any] = {
        "parentRefs": [{"name": "gw"}] if parentRefs is None else parentRefs,
        "rules": [{"backendRefs": [{"name": service, "port": 6651}]}],
    }
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return manifest("TLSRoute", name, spec, **metadata)
