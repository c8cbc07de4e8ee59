"""Names that lead to the same broker. The certificate of a broker must cover all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from twisted.internet.defer import Deferred, gatherResults

from sniproxy.cli.explain.resolvers import NoAnswer, ResolverQueries
from sniproxy.cli.explain.routes import RouteChooser
from sniproxy.config.model import Listener, Route
from sniproxy.config.warnings import plain_targets
from sniproxy.interfaces import Target
from sniproxy.routing.patterns import is_expression
from sniproxy.util.names import BadName, host_port, server_name

MAX_NAMES = 100
"""Maximum of names to query, in addition to the name being explained."""

PlacesByName = Mapping[str, frozenset[str]]
"""The brokers that each name leads to, as L{place} identifies them."""


def place(target: Target) -> str:
    """The broker behind a target: its host, before resolution, and port."""
    return host_port(target.name or target.host, target.port)


@attrs.define
class BrokerNames:
    """Finds the names of each broker, once for each listener."""

    queries: ResolverQueries
    chooser: RouteChooser
    _known: dict[str, PlacesByName] = attrs.field(factory=dict, init=False)

    async def places(self, listener: Listener) -> PlacesByName:
        """The brokers of each exact route of a listener, and of each C{service_name} of its resolvers.

        A name whose resolver does not answer has no broker here: explaining that name reports the error.
        """
        if listener.name not in self._known:
            self._known[listener.name] = await self._find(listener)
        return self._known[listener.name]

    async def _find(self, listener: Listener) -> PlacesByName:
        if listener.plaintext is not None:
            return {}
        routes = self._routes(listener)
        found: dict[str, frozenset[str]] = {}
        queried: dict[str, Route] = {}
        for name, route in routes.items():
            if route.resolver.kind == "static":
                found[name] = frozenset(map(place, plain_targets(route)))
            elif len(queried) < MAX_NAMES:
                queried[name] = route
        answers = [Deferred.fromCoroutine(self._query(name, listener, route)) for name, route in queried.items()]
        found.update(zip(queried, await gatherResults(answers, consumeErrors=True), strict=True))
        return found

    def _routes(self, listener: Listener) -> dict[str, Route]:
        """The routes to query, by name. Service names come first: they are few, and all certificates need them."""
        configuration = self.queries.built.configuration
        here = [route for route in configuration.routes if route.listener in (None, listener.name)]
        found = {}
        for name in _service_names([*here, *filter(None, [configuration.default])]):
            route = self.chooser.choose(name, listener, others=False).route
            if route is not None:
                found[name] = route
        for route in sorted(
            here, key=lambda route: route.listener is not None
        ):  # the route of this listener shadows the general one
            if route.server_name and not is_expression(route.server_name) and "*" not in route.server_name:
                found[route.server_name] = route
        return found

    async def _query(self, name: str, listener: Listener, route: Route) -> frozenset[str]:
        try:
            answer = await self.queries.query(name, listener, route)
        except NoAnswer:
            return frozenset()
        return frozenset(map(place, answer.resolution.targets))


def _service_names(routes: Iterable[Route]) -> Iterator[str]:
    """The C{service_name} options of resolvers: each leads to all brokers of a cluster."""
    for route in routes:
        for table in route.resolver.members:
            names = table.options.get("service_name", ())
            for name in [names] if isinstance(names, str) else names if isinstance(names, list) else ():
                try:
                    yield server_name(str(name))
                except BadName:  # the option of a plugin may have another meaning
                    continue
