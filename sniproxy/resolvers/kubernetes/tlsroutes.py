"""The TLSRoutes of a Gateway as a table of names, and the status of each route. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import attrs

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.resolvers.kubernetes.backends import Backend, Backends, Cluster
from sniproxy.resolvers.kubernetes.gatewayobjects import Gateway, ParentRef, TLSRoute
from sniproxy.resolvers.kubernetes.hostnames import ANY, hostname, matches, specificity, wildcards
from sniproxy.resolvers.kubernetes.listeners import Condition, Labels, attach, claims_names, is_served, refers_to
from sniproxy.resolvers.kubernetes.pods import REFUSAL_TTL_S, few
from sniproxy.util.text import bounded, counted


@attrs.frozen
class ParentResult:
    """The status of a route for one parentRef."""

    parent: ParentRef
    accepted: Condition
    resolved: Condition


@attrs.frozen
class ServedRoute:
    """A route that at least one listener accepts. @ivar name: as in C{TLSRoute pulsar/broker-0}."""

    name: str
    order: tuple[str, str]
    backends: tuple[Backend, ...]

    def resolution(self, draw: Callable[[], float]) -> Resolution:
        """The targets of one connection.

        Several backends take connections by their weights, also those without endpoints: such a connection is closed.

        @param draw: a random number from 0 to less than 1. @raise Unavailable: the backend has no endpoint.
        """
        if not self.backends:
            raise Unavailable(f"{self.name}: no backend with a weight", authoritative=True)
        if len(self.backends) == 1:
            return _targets(self.backends[0], None)
        turn = draw() * sum(one.weight for one in self.backends)
        for backend in self.backends:
            turn -= backend.weight
            if turn < 0:
                return _targets(backend, 0)
        return _targets(self.backends[-1], 0)

    def __str__(self) -> str:
        """As in C{TLSRoute pulsar/broker-0: Service pulsar/broker, 3 endpoints}."""
        parts = [one.fault or f"{one.name}, {counted(len(one.targets), 'endpoint')}" for one in self.backends]
        return bounded(f"{self.name}: {'; '.join(parts) or 'no backend'}")


class _ListenerNames:
    """The names of one listener. @ivar host: None: any. @ivar served: whether by us; if not, it has no routes."""

    def __init__(self, host: str | None, served: bool) -> None:
        self.host = host
        self.served = served
        self.routes: dict[str, ServedRoute] = {}

    def add(self, host: str, route: ServedRoute) -> None:
        """Of two routes with one hostname the older one counts, then the first by namespace and name."""
        before = self.routes.get(host)
        if before is None or route.order < before.order:
            self.routes[host] = route

    @property
    def rank(self) -> tuple[tuple[bool, int], bool]:
        """For the order of listeners that stand for one name; the greatest has it."""
        return specificity(self.host), self.served

    def stands_for(self, name: str) -> bool:
        return self.host is None or matches(self.host, name)

    def find(self, name: str) -> tuple[str, ServedRoute] | None:
        for host in (name, *wildcards(name), ANY):
            if host in self.routes:
                return host, self.routes[host]
        return None


class RouteTable:
    """The names of a Gateway's TLSRoutes at one time.

    @param gateway: None: the cluster has no such Gateway.
    @param sections: the listeners to serve. Empty: all with TLS passthrough.
    @param labels: of the namespaces. None: unknown. @param draw: as in L{ServedRoute.resolution}.
    @ivar results: the status of each route that refers to the Gateway, by namespace and name.
    @ivar notes: for the log: what is ignored, and why. @ivar problems: those of them that are about the Gateway.
    """

    def __init__(
        self,
        title: str,
        gateway: Gateway | None,
        routes: Iterable[TLSRoute],
        cluster: Cluster,
        sections: Sequence[str] = (),
        labels: Labels | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._title = title
        self._draw = draw
        self._exists = gateway is not None
        self._refused: dict[str, str] = {}
        self._ports: dict[int, dict[str, _ListenerNames]] = {}
        self.results: dict[tuple[str, str], list[ParentResult]] = {}
        notes: dict[str, None] = {} if gateway is not None else {f"{title} does not exist": None}
        if gateway is not None:
            by_name = self._listeners(gateway, sections, notes)
        self.problems = tuple(notes)[:10]
        if gateway is not None:
            for route in routes:
                self._add(gateway, route, cluster, by_name, labels, notes)
        self.notes = tuple(notes)[:10]

    def __eq__(self, other: object) -> bool:
        """Whether the answers are the same."""
        return isinstance(other, RouteTable) and (
            (self._exists, self._contents, self._hosts, self.results, self.notes)
            == (other._exists, other._contents, other._hosts, other.results, other.notes)
        )

    __hash__ = None  # type: ignore[assignment]

    def names(self) -> Iterator[str]:
        """None: a route that was removed is refused at once."""
        return iter(())

    def knows(self, name: str | None) -> bool:
        """Whether a name leads to a route."""
        return name is not None and self._find(name) is not None

    def resolution(self, name: str | None) -> Resolution:
        """The answer for a name. @raise Refused: no route has it. @raise Unavailable: its backend has no endpoint."""
        if not self._exists:
            raise Unavailable(f"{self._title} does not exist", authoritative=True)
        route = None if name is None else self._find(name)
        if route is None:
            known = few(sorted({host for _, _, host, _ in self._contents})) or "none"
            raise Refused(f"no TLSRoute of {self._title} has the name {name}; known: {known}", REFUSAL_TTL_S)
        return route.resolution(self._draw)

    @property
    def summary(self) -> str:
        """As in ``3 TLSRoutes, 1 not accepted, 1 with unresolved backends``."""
        refused = sum(not any(one.accepted.good for one in results) for results in self.results.values())
        unresolved = sum(not results[0].resolved.good for results in self.results.values())
        return (
            counted(len(self.results), "TLSRoute")
            + (f", {refused} not accepted" if refused else "")
            + (f", {unresolved} with unresolved backends" if unresolved else "")
        )

    @cached_property
    def described(self) -> Mapping[str, str]:
        """What each hostname is; also those of routes that are not accepted."""
        served = {host: str(route) for _, _, host, route in self._contents}
        return dict(sorted({**self._refused, **served}.items()))

    def changes(self, before: RouteTable | None) -> str:
        """The differences to an earlier table, each after a semicolon. Empty: there are none."""
        old, new = {} if before is None else before.described, self.described
        both = old.keys() & new.keys()
        found = []
        for what, names in (
            ("added", new.keys() - old.keys()),
            ("removed", old.keys() - new.keys()),
            ("changed", {name for name in both if old[name] != new[name]}),
        ):
            if names:
                found.append(f"; {few(sorted(names))} {what}")
        return "".join(found)

    @cached_property
    def _contents(self) -> list[tuple[int, str | None, str, ServedRoute]]:
        """Port, hostname of the listener, hostname and route of all names."""
        return [
            (port, listener.host, host, route)
            for port, listeners in self._ports.items()
            for listener in listeners.values()
            for host, route in listener.routes.items()
        ]

    @property
    def _hosts(self) -> set[tuple[int, str | None, bool]]:
        """Port and hostname of all listeners, and whether they are served."""
        return {(port, one.host, one.served) for port, some in self._ports.items() for one in some.values()}

    def _listeners(
        self, gateway: Gateway, sections: Sequence[str], notes: dict[str, None]
    ) -> Mapping[str, _ListenerNames]:
        """The listeners to serve, by name."""
        by_name: dict[str, _ListenerNames] = {}
        for one in gateway.spec.listeners or ():
            host = hostname(one.hostname) if one.hostname else None
            if one.hostname and host is None:
                continue
            chosen = not sections or one.name in sections
            served = chosen and is_served(one)
            if claims_names(one):
                # A listener that is not served keeps its names from the others of its port, too.
                names = self._ports.setdefault(one.port, {}).setdefault(one.name, _ListenerNames(host, served))
                if served:
                    by_name[one.name] = names
            if chosen and not served:
                notes[f"{self._title}: listener {one.name} is not TLS with mode Passthrough, and is not served"] = None
        for section in sections:
            if section not in {one.name for one in gateway.spec.listeners or ()}:
                notes[f"{self._title} has no listener {section}"] = None
        return by_name

    def _add(
        self,
        gateway: Gateway,
        route: TLSRoute,
        cluster: Cluster,
        by_name: Mapping[str, _ListenerNames],
        labels: Labels | None,
        notes: dict[str, None],
    ) -> None:
        parents = [one for one in route.spec.parent_refs or () if refers_to(one, route, gateway)]
        if not parents:
            return
        title = f"TLSRoute {route.metadata.namespace}/{route.metadata.name}"
        backends: Backends = cluster.backends(route)
        age = route.metadata.creation_timestamp or "9"
        served = ServedRoute(title, (age, f"{route.metadata.namespace}/{route.metadata.name}"), backends.backends)
        results = self.results[route.key] = []
        for parent in parents:
            attached = attach(gateway, route, parent, labels)
            results.append(ParentResult(parent, attached.accepted, backends.resolved))
            if not attached.accepted.good:
                why = f"{title}: {attached.accepted.reason}: {attached.accepted.message}"
                notes[why] = None
                self._refused.update(dict.fromkeys(filter(None, map(hostname, route.spec.hostnames or ())), why))
            for section, host in attached.names:
                if section in by_name:
                    by_name[section].add(host, served)
        if not backends.resolved.good:
            notes[f"{title}: {backends.resolved.reason}: {backends.resolved.message}"] = None
        notes.update(dict.fromkeys(f"{title}: {note}" for note in backends.notes))

    def _find(self, name: str) -> ServedRoute | None:
        """The route of a name. On each port only the most specific listener counts, as the Gateway API has it."""
        found = []
        for listeners in self._ports.values():
            fitting = [one for one in listeners.values() if one.stands_for(name)]
            if fitting:
                hit = max(fitting, key=lambda one: one.rank).find(name)
                if hit is not None:
                    found.append(hit)
        if not found:
            return None
        best = max(specificity(host) for host, _ in found)
        return min((route for host, route in found if specificity(host) == best), key=lambda one: one.order)


def _targets(backend: Backend, ttl: float | None) -> Resolution:
    if not backend.targets:
        raise Unavailable(backend.fault, authoritative=True)
    return Resolution(backend.targets, ttl)
