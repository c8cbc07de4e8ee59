"""Which names lead to the same broker: those written down, and those that resolvers answer with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from twisted.internet.defer import Deferred, gatherResults

from sniproxy.cli.explain.asking import Asking, NoAnswer
from sniproxy.cli.explain.why import Choices
from sniproxy.config.model import Listener, Route
from sniproxy.config.warnings import plain_targets
from sniproxy.interfaces import Target
from sniproxy.routing.patterns import is_expression
from sniproxy.util.names import BadName, host_port, server_name

MAX_NAMES = 100
"""Names that resolvers are asked for, beside the one that is explained."""

Led = Mapping[str, frozenset[str]]
"""By name, where it leads: places as L{place} has them."""


def place(target: Target) -> str:
    """What tells brokers apart: host and port, whatever address the host was resolved to."""
    return host_port(target.name or target.host, target.port)


@attrs.define
class Leading:
    """Knows it for each listener, and asks once. @param choices: which route a name takes."""

    asking: Asking
    choices: Choices
    _known: dict[str, Led] = attrs.field(factory=dict, init=False)

    async def led(self, listener: Listener) -> Led:
        """Where the exact names of a listener's routes lead, and the service names of resolvers that have such.

        Who does not answer leads nowhere here: that is told where this name is explained.
        """
        if listener.name not in self._known:
            self._known[listener.name] = await self._look(listener)
        return self._known[listener.name]

    async def _look(self, listener: Listener) -> Led:
        if listener.plaintext is not None:
            return {}
        routes = self._routes(listener)
        found: dict[str, frozenset[str]] = {}
        asked: dict[str, Route] = {}
        for name, route in routes.items():
            if route.resolver.kind == "static":
                found[name] = frozenset(map(place, plain_targets(route)))
            elif len(asked) < MAX_NAMES:
                asked[name] = route
        coming = [Deferred.fromCoroutine(self._ask(name, listener, route)) for name, route in asked.items()]
        found.update(zip(asked, await gatherResults(coming, consumeErrors=True), strict=True))
        return found

    def _routes(self, listener: Listener) -> dict[str, Route]:
        """By name; service names come first, for they are few, and what certificates must have beside their own."""
        configuration = self.asking.built.configuration
        here = [route for route in configuration.routes if route.listener in (None, listener.name)]
        found = {}
        for name in _service_names([*here, *filter(None, [configuration.default])]):
            route = self.choices.choose(name, listener, others=False).route
            if route is not None:
                found[name] = route
        for route in sorted(here, key=lambda route: route.listener is not None):  # its own shadows the general one
            if not is_expression(route.server_name) and "*" not in route.server_name:
                found[route.server_name] = route
        return found

    async def _ask(self, name: str, listener: Listener, route: Route) -> frozenset[str]:
        try:
            answer = await self.asking.ask(name, listener, route)
        except NoAnswer:
            return frozenset()
        return frozenset(map(place, answer.resolution.targets))


def _service_names(routes: Iterable[Route]) -> Iterator[str]:
    """C{service_name} in the tables of resolvers: what leads to all brokers of a cluster."""
    for route in routes:
        for table in route.resolver.members:
            names = table.options.get("service_name", ())
            for name in [names] if isinstance(names, str) else names if isinstance(names, list) else ():
                try:
                    yield server_name(str(name))
                except BadName:  # a plugin may mean something else by it
                    continue
