"""Which routes of a configuration lead to which targets. Pure."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs

from sniproxy.config.model import DEFAULT, NO_SERVER_NAME, PLAINTEXT, Configuration, Route
from sniproxy.config.warnings import keyed_routes, plain_targets
from sniproxy.interfaces import Target
from sniproxy.routing.targetstats import MAX_NAMES, MAX_TARGETS, address

BATCH = 20
"""Routes read in one step."""

NAMELESS = (DEFAULT, NO_SERVER_NAME, PLAINTEXT)
"""Routes without a pattern."""


@attrs.define
class IndexedTarget:
    """A target that the configuration names. @ivar routes: the first routes that lead to it, by name."""

    target: Target
    routes: dict[str, None] = attrs.field(factory=dict)

    @property
    def names(self) -> list[str]:
        """The server names and patterns among its routes."""
        return [name for name in self.routes if name not in NAMELESS]


@attrs.define
class TargetIndex:
    """The targets of a configuration without placeholders, up to L{MAX_TARGETS}.

    @ivar targets: by address. @ivar own: listener and server name of each route that is for one listener.
    @ivar routes: the number of all routes.
    """

    targets: dict[str, IndexedTarget] = attrs.field(factory=dict)
    own: set[tuple[str, str]] = attrs.field(factory=set)
    routes: int = 0

    def keys(self, route: Route, listeners: Sequence[str]) -> list[tuple[str, str]]:
        """Listener and route in the records of a route's connections. @param listeners: the TLS listeners."""
        name = route.server_name
        if route.listener is not None:
            return [(route.listener, name)]
        return [(listener, name) for listener in listeners if (listener, name) not in self.own]


def index_steps(configuration: Configuration) -> Generator[None, None, TargetIndex]:
    """Read all routes in steps."""
    found = TargetIndex()
    for number, (_, route) in enumerate(keyed_routes(configuration), 1):
        found.routes = number
        if route.listener is not None:
            found.own.add((route.listener, route.server_name))
        for target in plain_targets(route):
            key = address(target)
            entry = found.targets.get(key)
            if entry is None:
                if len(found.targets) >= MAX_TARGETS:
                    continue
                entry = found.targets[key] = IndexedTarget(target)
            if len(entry.routes) < MAX_NAMES:
                entry.routes[route.server_name] = None
        if not number % BATCH:
            yield
    return found
