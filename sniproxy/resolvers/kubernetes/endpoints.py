"""Endpoints of EndpointSlices, and their state. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from enum import IntEnum

import attrs

from sniproxy.interfaces import Target
from sniproxy.resolvers.kubernetes.objects import Conditions, EndpointSlice, SliceEndpoint
from sniproxy.util.names import ip_literal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_ENDPOINTS = 10_000
"""Endpoints of one Service. Kubernetes has been tested with 5,000 nodes; further endpoints are ignored."""


class State(IntEnum):
    """The state of an endpoint, best first."""

    READY = 0
    """It gets new connections."""
    PUBLISHED = 1
    """Not ready, but its Service has publishNotReadyAddresses."""
    TERMINATING = 2
    """It is being stopped and still answers: a spare, as for kube-proxy (KEP-1669)."""
    DOWN = 3
    """It gets no connections."""


@attrs.frozen
class Endpoint:
    """One pod or other endpoint.

    @ivar name: the pod's hostname, else its name. Empty: it has neither.
    @ivar uid: of the pod. Empty: unknown.
    @ivar addresses: IP addresses, at least one. @ivar port: the port to dial.
    """

    name: str
    uid: str
    addresses: tuple[str, ...]
    port: int
    state: State

    def target(self, weight: int = 1) -> Target:
        """The target of this endpoint."""
        return Target(self.addresses[0], self.port, weight, addresses=self.addresses if self.addresses[1:] else ())


@attrs.frozen
class Slices:
    """The endpoints of a Service. @ivar notes: what was ignored, and why; it is bounded."""

    endpoints: tuple[Endpoint, ...] = ()
    notes: tuple[str, ...] = ()


def state_of(conditions: Conditions | None) -> State:
    """The state by the conditions of an EndpointSlice. An unknown C{ready} means ready; unknown others follow it."""
    conditions = conditions or Conditions()
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    if conditions.terminating:
        return State.TERMINATING if serving else State.DOWN
    if ready:
        return State.READY if serving else State.PUBLISHED
    return State.DOWN


def collect(slices: Iterable[EndpointSlice], port: str | None, networks: Sequence[Network] = ()) -> Slices:
    """The endpoints of a Service's slices, by name. Addresses of both families of one pod form one endpoint.

    @param port: the name or number of the port. Empty: the port without a name. None: the only port.
    @param networks: the allowed addresses. Empty: all that Kubernetes accepts.
    """
    found: dict[object, Endpoint] = {}
    notes: dict[str, None] = {}
    for one in sorted(slices, key=lambda one: (one.address_type, one.metadata.name)):
        place = f"EndpointSlice {one.metadata.name}"
        if one.address_type not in ("IPv4", "IPv6"):
            notes[f"{place}: addressType {one.address_type or 'is missing'}; only IPv4 and IPv6 are supported"] = None
            continue
        number, note = _port_of(one, port)
        if number is None:
            notes[f"{place}: {note}"] = None
            continue
        for endpoint in one.endpoints or ():
            address = (endpoint.addresses or [""])[0]
            fault = address_fault(address, networks)
            if fault is not None:
                notes[f"{place}: {fault}"] = None
            elif len(found) < MAX_ENDPOINTS:
                _add(found, endpoint, str(ip_literal(address)), number)
    ordered = sorted(found.values(), key=lambda each: (each.name, each.addresses, each.port))
    return Slices(tuple(ordered), tuple(notes)[:10])


def balanced(endpoints: Iterable[Endpoint], weight: int = 1) -> list[Target]:
    """The targets for any endpoint: those that are ready, and the others that answer as spares, of weight 0."""
    answering = sorted((one for one in endpoints if one.state is not State.DOWN), key=lambda one: one.state)
    return [one.target(weight if one.state is State.READY else 0) for one in answering]


def address_fault(address: str, networks: Sequence[Network] = ()) -> str | None:
    """Why an address of the API must not be dialled. None: it may.

    Kubernetes accepts no loopback, link-local, multicast or unspecified address of an endpoint, and neither do we:
    who may write EndpointSlices must not reach the proxy's own host.
    """
    if ip_literal(address) is None:
        return f"{address[:60]!a} is not an IP address"
    ip = ipaddress.ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if networks:
        if any(ip in network for network in networks if network.version == ip.version):
            return None
        return f"address {ip} is not in the option networks"
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return f"address {ip} is not allowed: loopback, link-local, multicast or unspecified"
    return None


def _add(found: dict[object, Endpoint], endpoint: SliceEndpoint, address: str, port: int) -> None:
    reference = endpoint.target_ref
    pod = reference if reference is not None and reference.kind == "Pod" else None
    name = endpoint.hostname or ("" if pod is None else pod.name)
    uid = "" if pod is None else pod.uid
    state = state_of(endpoint.conditions)
    key: object = (uid, name, port) if uid else (address, port)
    before = found.get(key)
    if before is None:
        found[key] = Endpoint(name, uid, (address,), port, state)
        return
    # The same pod in another slice: of the other family, or while the controller moves it between slices.
    addresses = tuple(dict.fromkeys((*before.addresses, address)))
    found[key] = Endpoint(name, uid, addresses, port, min(before.state, state))


def _port_of(one: EndpointSlice, port: str | None) -> tuple[int | None, str]:
    """The number of a slice's port. @return: the number, or None and why."""
    tcp = [each for each in one.ports or () if (each.protocol or "TCP") == "TCP" and each.port is not None]
    named = ", ".join(f"{each.name or 'unnamed'} ({each.port})" for each in tcp[:10]) or "none"
    if port is None:
        if len(tcp) == 1:
            return _checked(tcp[0].port), f"invalid port {tcp[0].port}"
        return None, f"name the port by the option port; TCP ports: {named}"
    for each in tcp:
        if (each.name or "") == port or str(each.port) == port:
            return _checked(each.port), f"invalid port {each.port}"
    return None, f"no TCP port {port or 'without a name'}; TCP ports: {named}"


def _checked(port: int | None) -> int | None:
    return port if port is not None and 0 < port < 65536 else None
