"""The route that a server name takes on a listener, why the others do not match, and notes on clients. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from sniproxy.config.model import DEFAULT, Configuration, Listener, Route
from sniproxy.routing.patterns import is_expression, matches
from sniproxy.routing.table import RouteTable
from sniproxy.util.names import ip_literal

MAX_OTHERS = 10
"""Maximum of other routes in the answer."""

INTERNAL_LISTENER = (
    "Pulsar 5 leads Java clients of scalable topics to brokers' internal listeners: advertise them by dotted names "
    "(advertisedAddress)"
)


@attrs.frozen
class RouteChoice:
    """The route that was chosen, and why.

    @ivar route: None if no route matches. @ivar why: the reason for the choice, or why no route matches.
    @ivar others: the titles of other routes that match or nearly match, each with the reason why it was not chosen.
    """

    route: Route | None
    why: str
    others: tuple[tuple[str, str], ...] = ()


class RouteChooser:
    """Chooses a route as the proxy does."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._table = RouteTable(configuration.routes)

    def choose(self, name: str | None, listener: Listener, others: bool = True) -> RouteChoice:
        """Choose the route for a server name.

        @param name: normalised; None if the ClientHello has no server name.
        @param others: whether to report the other routes, too.
        """
        configuration = self._configuration
        if listener.plaintext is not None:
            return RouteChoice(listener.plaintext, "plaintext listener: all connections go to its target")
        if name is None:
            nameless = self._table.nameless(listener.name) or configuration.no_server_name
            if nameless is None:
                return RouteChoice(None, "the ClientHello has no server name, and there is no [no_server_name]")
            return RouteChoice(nameless, "the ClientHello has no server name")
        route = self._table.choose(name, listener.name, configuration.default)
        why = self._table.why_none(name, listener.name) if route is None else _why(route)
        found = self._others(name, route, listener) if others else iter(())
        return RouteChoice(route, why, tuple(pair for pair, _ in zip(found, range(MAX_OTHERS), strict=False)))

    def _others(self, name: str, taken: Route | None, listener: Listener) -> Iterator[tuple[str, str]]:
        for route in self._configuration.routes:
            if route is taken:
                continue
            if route.server_name == f"*.{name}":
                yield route.title, f"a wildcard matches names below {name}, not {name} itself"
            elif route.server_name and matches(route.server_name, name):
                yield route.title, self._why_not(name, route, taken, listener)
        if self._configuration.default is not None and taken is not self._configuration.default:
            why = "used only if no route matches" if taken is not None else "never used for IP addresses"
            yield f"[{DEFAULT}]", why

    @staticmethod
    def _why_not(name: str, route: Route, taken: Route | None, listener: Listener) -> str:
        if route.listener not in (None, listener.name):
            return f"only for listener {route.listener}"
        if taken is None:  # only an IP address can match a route that it does not take
            return "an IP address matches only a route with exactly this address"
        if route.server_name == taken.server_name:
            return f"shadowed by the route of listener {listener.name} with the same name"
        if taken.server_name == name:
            return "an exact match takes precedence"
        if is_expression(taken.server_name):
            return "an earlier expression in the file matches"
        if is_expression(route.server_name):
            return "wildcards take precedence over expressions"
        return "a longer wildcard takes precedence"


def _why(route: Route) -> str:
    if route.server_name == DEFAULT:
        return "no route matches this name"
    if is_expression(route.server_name):
        return "no exact or wildcard match; this is the first matching expression"
    if route.server_name.startswith("*."):
        return "no exact match; this is the longest matching wildcard"
    return "exact match"


def shared_names(places_by_name: Mapping[str, frozenset[str]], name: str | None, place: str) -> tuple[str, ...]:
    """Other names that lead to the same broker: its certificate must cover all of them.

    @param places_by_name: the brokers of each name. @param place: the broker, as C{host:port}.
    """
    return tuple(other for other, places in places_by_name.items() if place in places and other != name)


def client_notes(
    configuration: Configuration,
    name: str | None,
    places_by_name: Mapping[str, frozenset[str]],
    own: frozenset[str],
    certificates: bool,
) -> Iterator[str]:
    """What Pulsar's clients do with this name on a TLS listener, as measured (docs/reference/clients.md).

    @param name: None: a ClientHello without a server name.
    @param places_by_name: the brokers of each name. @param own: the brokers of this name.
    @param certificates: whether certificates were checked without C{--also}.
    """
    served = configuration.no_server_name is not None or any(not route.server_name for route in configuration.routes)
    nameless = "use [no_server_name]" if served else "are refused"
    if name is None:
        yield "Java sends no server name for IP addresses and names without a dot"
    elif ip_literal(name) is not None:
        yield f"Java and Go send no server name for an IP address: these connections {nameless}"
    elif "." not in name:
        yield f"Java sends no server name for a name without a dot: these connections {nameless}"
    if name is None or ip_literal(name) is not None or "." not in name:
        yield INTERNAL_LISTENER
    if name is None:
        return
    if "_" in name:
        yield "the Java client refuses a service URL with '_' in its host"
    if ip_literal(name) is not None:
        return
    several = [other for other, places in places_by_name.items() if own < places]
    if len(own) == 1 and several:
        yield (
            f"Go with TLSValidateHostname = true sends the host of the service URL (such as {several[0]}) on every "
            "connection, never this name; leave it false"
        )
    if certificates:
        yield (
            "C++ in proxy mode with validateHostName checks the certificate for the host of the proxy URL: "
            "check it too, with --also HOST"
        )
