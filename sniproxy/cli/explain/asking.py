"""Asks the resolvers of a configuration as the proxy does, and says who answered, and what those that watch know."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from sniproxy.cli.explain.report import WatchState
from sniproxy.config.model import Listener, ResolverTable, Route
from sniproxy.interfaces import Refused, Request, Resolution, ask
from sniproxy.resolvers.cache.fallback import FallbackAnswer, FallbackResolver
from sniproxy.routing.patterns import capture_count, captured
from sniproxy.server.build import Built
from sniproxy.util.text import bounded

PEER = "192.0.2.1:0"
"""Whom resolvers are told that the client is (an address for documentation, RFC 5737)."""


MADE_UP = "sniproxy-explain"
"""A label that no broker has: of names that are asked for to see whether a resolver says anything at all."""


class NoAnswer(Exception):
    """A resolver's answer is no, or none. @ivar refused: it knows that the name goes nowhere."""

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


@attrs.frozen
class Asking:
    """@param built: what a configuration has been built to."""

    built: Built
    reactor: Any

    async def ask(self, name: str | None, listener: Listener, route: Route) -> FallbackAnswer:
        """Where a route's resolver says that a name lives. @raise NoAnswer: it does not."""
        configuration = self.built.configuration
        seconds = configuration.timeouts.connect
        request = Request(name, (), PEER, listener.name, _captures(route, name), listener.endpoint.port or None)
        resolver = self.built.resolvers.resolver(route.resolver, configuration.filename)
        coming = resolver.first_answer(request) if isinstance(resolver, FallbackResolver) else ask(resolver, request)
        try:
            asking: Deferred[object] = Deferred.fromCoroutine(coming)
            answer = await asking.addTimeout(seconds, self.reactor)
        except Refused as refused:
            raise NoAnswer(f"the resolver refuses it: {refused.reason}", refused=True) from refused
        except DeferredTimeout as error:
            raise NoAnswer(f"the resolver gave no answer within {seconds:g} s") from error
        except Exception as error:  # whatever a plugin raises
            raise NoAnswer(f"the resolver failed: {type(error).__name__}: {bounded(str(error))}") from error
        if isinstance(answer, FallbackAnswer):
            (table,) = (each for each in route.resolver.inner if each.name == answer.by)
            return attrs.evolve(answer, by=table.title)
        if not isinstance(answer, Resolution) or not answer.targets:
            raise NoAnswer("the resolver gave no target")
        return FallbackAnswer(answer, route.resolver.title)

    async def probe(self, listener: Listener, route: Route) -> None:
        """Ask a route's resolver for a name that nobody has: a refusal is as good as an answer.

        @raise NoAnswer: it says neither; the text has the name.
        """
        pattern = route.server_name
        name = f"{MADE_UP}{pattern[1:]}" if pattern.startswith("*.") else f"{MADE_UP}.invalid"  # RFC 2606
        try:
            await self.ask(name, listener, route)
        except NoAnswer as no:
            if not no.refused:
                raise NoAnswer(f"asked for {name}, to see whether it answers: {no}") from no

    def watches(self, table: ResolverTable) -> tuple[WatchState, ...]:
        """What those of a route's resolvers say of themselves that watch."""
        found = []
        for each in table.members:
            _, asked = self.built.resolvers.cached.get(each.key, (None, None))
            state = None if asked is None else asked.watch_state()
            if state is not None:
                found.append(WatchState(each.title, state.summary, state.error))
        return tuple(found)


def _captures(route: Route, name: str | None) -> tuple[str, ...]:
    """What the route takes out of a name; of one that its expression does not match, what might have been."""
    found = captured(route.server_name, name)
    missing = 0 if name is None else capture_count(route.server_name) - len(found)
    return found + (MADE_UP,) * missing
