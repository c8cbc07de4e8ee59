"""Queries the resolvers of a configuration as the proxy does."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from sniproxy.cli.explain.report import WatchReport
from sniproxy.config.model import Listener, ResolverTable, Route
from sniproxy.interfaces import Refused, Request, Resolution, ask
from sniproxy.resolvers.cache.fallback import FallbackAnswer, FallbackResolver
from sniproxy.routing.patterns import capture_count, captured
from sniproxy.server.build import Built
from sniproxy.util.text import bounded

CLIENT_ADDRESS = "192.0.2.1:0"
"""The client address in requests to resolvers (for documentation, RFC 5737)."""

PROBE_LABEL = "sniproxy-explain"
"""The first label of probe names, which no broker has."""


class NoAnswer(Exception):
    """A resolver refused the name, failed or did not answer.

    @ivar refused: whether the resolver refused the name, so that it is known to lead nowhere.
    """

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


@attrs.frozen
class ResolverQueries:
    """Queries the resolvers that were built from a configuration."""

    built: Built
    reactor: IReactorTime

    async def query(
        self,
        name: str | None,
        listener: Listener,
        route: Route,
        client: str | None = None,
        tlvs: Mapping[str, str] | None = None,
        proxy_port: int | None = None,
    ) -> FallbackAnswer:
        """Query the resolver of a route for the targets of a name, for at most C{timeouts.connect} seconds.

        @param client: its address and port. None: L{CLIENT_ADDRESS}. @param tlvs: of its PROXY protocol header.
        @param proxy_port: the destination port of that header. None: the listener's, if it reads headers.

        @raise NoAnswer: the resolver has no target for the name.
        """
        configuration = self.built.configuration
        seconds = configuration.timeouts.connect
        captures, port = _captures(route, name), listener.endpoint.port or None
        header_port = (proxy_port or port) if listener.proxy_protocol is not None else None
        request = Request(name, (), client or CLIENT_ADDRESS, listener.name, captures, port, tlvs or {}, header_port)
        resolver = self.built.resolvers.resolver(route.resolver, configuration.filename)
        query = resolver.first_answer(request) if isinstance(resolver, FallbackResolver) else ask(resolver, request)
        try:
            pending: Deferred[object] = Deferred.fromCoroutine(query)
            answer = await pending.addTimeout(seconds, self.reactor)
        except Refused as refused:
            raise NoAnswer(f"the resolver refused the name: {refused.reason}", refused=True) from refused
        except DeferredTimeout as error:
            raise NoAnswer(f"no answer from the resolver within {seconds:g} s") from error
        except Exception as error:  # whatever a plugin raises
            raise NoAnswer(f"the resolver failed: {type(error).__name__}: {bounded(str(error))}") from error
        if isinstance(answer, FallbackAnswer):
            (table,) = (each for each in route.resolver.inner if each.name == answer.by)
            return attrs.evolve(answer, by=table.title)
        if not isinstance(answer, Resolution) or not answer.targets:
            raise NoAnswer("the resolver returned no target")
        return FallbackAnswer(answer, route.resolver.title)

    async def probe(self, listener: Listener, route: Route) -> None:
        """Query the resolver of a route for a name that does not exist, to test the resolver. A refusal is a success.

        @raise NoAnswer: the resolver failed or did not answer; the text has the name.
        """
        pattern = route.server_name
        name = f"{PROBE_LABEL}{pattern[1:]}" if pattern.startswith("*.") else f"{PROBE_LABEL}.invalid"  # RFC 2606
        try:
            await self.query(name, listener, route)
        except NoAnswer as no:
            if not no.refused:
                raise NoAnswer(f"probe with {name}: {no}") from no

    def known_as(self, table: ResolverTable, name: str | None) -> str:
        """What the name is, as the first resolver of a route says that watches its source and has read the name."""
        for each in table.members:
            _, resolver = self.built.resolvers.cached.get(each.key, (None, None))
            state = None if resolver is None else resolver.watch_state()
            if state is not None and name is not None and name in state.names:
                return bounded(str(state.names[name]))
        return ""

    def watch_states(self, table: ResolverTable) -> tuple[WatchReport, ...]:
        """The states of those resolvers of a route that watch their source."""
        found = []
        for each in table.members:
            _, resolver = self.built.resolvers.cached.get(each.key, (None, None))
            state = None if resolver is None else resolver.watch_state()
            if state is not None:
                found.append(WatchReport(each.title, state.summary, state.error))
        return tuple(found)


def _captures(route: Route, name: str | None) -> tuple[str, ...]:
    """The parts of a name that the route captures; for a name that does not match, L{PROBE_LABEL} in their place."""
    found = captured(route.server_name, name)
    missing = 0 if name is None else capture_count(route.server_name) - len(found)
    return found + (PROBE_LABEL,) * missing
