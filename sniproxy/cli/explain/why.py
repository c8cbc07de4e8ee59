"""Which route a server name takes on a listener, and why not the others; what clients make of a name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from sniproxy.config.model import DEFAULT, Configuration, Listener, Route
from sniproxy.routing.patterns import is_expression, matches
from sniproxy.routing.table import RouteTable
from sniproxy.util.names import ip_literal

MAX_OTHERS = 10
"""Routes of which it is said why they are not taken."""


@attrs.frozen
class RouteChoice:
    """@ivar route: None: there is none. @ivar why: this one, or none.

    @ivar others: titles of routes that come close or match, too, and why each is not taken.
    """

    route: Route | None
    why: str
    others: tuple[tuple[str, str], ...] = ()


class Choices:
    """Chooses as the proxy does."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._table = RouteTable(configuration.routes)

    def choose(self, name: str | None, listener: Listener, others: bool = True) -> RouteChoice:
        """@param name: normalised; None: the hello has none. @param others: whether to say why not the others."""
        configuration = self._configuration
        if listener.plaintext is not None:
            return RouteChoice(
                listener.plaintext, "the listener is plaintext: all its connections lead to its own target"
            )
        if name is None:
            if configuration.no_server_name is None:
                return RouteChoice(None, "there is no [no_server_name], which is for hellos without a server name")
            return RouteChoice(configuration.no_server_name, "the hello has no server name")
        route = self._table.choose(name, listener.name, configuration.default)
        why = self._table.why_none(name, listener.name) if route is None else _why(route)
        found = self._others(name, route, listener) if others else iter(())
        return RouteChoice(route, why, tuple(pair for pair, _ in zip(found, range(MAX_OTHERS), strict=False)))

    def _others(self, name: str, taken: Route | None, listener: Listener) -> Iterator[tuple[str, str]]:
        for route in self._configuration.routes:
            if route is taken:
                continue
            if route.server_name == f"*.{name}":
                yield route.title, f"a wildcard has the names below {name}, not {name} itself"
            elif matches(route.server_name, name):
                yield route.title, self._why_not(name, route, taken, listener)
        if self._configuration.default is not None and taken is not self._configuration.default:
            why = "it is for names that no route has" if taken is not None else "it is never for IP addresses"
            yield f"[{DEFAULT}]", why

    @staticmethod
    def _why_not(name: str, route: Route, taken: Route | None, listener: Listener) -> str:
        if route.listener not in (None, listener.name):
            return f"it is for listener {route.listener} alone"
        if taken is None:  # only an address is matched by what it does not take
            return "an IP address has only a route of exactly this address"
        if route.server_name == taken.server_name:
            return f"shadowed: listener {listener.name} has a route of its own with this name"
        if taken.server_name == name:
            return "a route with exactly this name goes before it"
        if is_expression(taken.server_name):
            return "an expression that stands before it in the file matches, too"
        if is_expression(route.server_name):
            return "wildcards go before expressions"
        return "a longer wildcard goes before it"


def _why(route: Route) -> str:
    if route.server_name == DEFAULT:
        return "no route has this name"
    if is_expression(route.server_name):
        return "no exact name and no wildcard has it, and this is the first expression that matches"
    if route.server_name.startswith("*."):
        return "no exact name is the same, and this is the longest wildcard above it"
    return "it has exactly this name"


def shared_names(led: Mapping[str, frozenset[str]], name: str | None, place: str) -> tuple[str, ...]:
    """Other names that lead to this place, too: its broker's certificate must cover all of them.

    @param led: by name, where it leads.
    """
    return tuple(other for other, places in led.items() if place in places and other != name)


def client_notes(
    configuration: Configuration, name: str, led: Mapping[str, frozenset[str]], own: frozenset[str], certificates: bool
) -> Iterator[str]:
    """What Pulsar's clients make of a name at a TLS listener, as it was measured with real ones (README.md).

    @param led: by name, where it leads. @param own: where this one leads; empty: nowhere.
    @param certificates: those of its targets were looked at, for no names but those that lead there.
    """
    nameless = "refused" if configuration.no_server_name is None else "led where [no_server_name] says"
    if ip_literal(name) is not None:
        yield f"Java and Go send no server name for an IP address: such connections are {nameless}"
    elif "." not in name:
        yield f"Java sends no server name for a name without a dot: its connections are {nameless}"
    if "_" in name:
        yield "the Java client refuses a service URL with '_' in its host"
    if ip_literal(name) is not None:
        return
    several = [other for other, places in led.items() if own < places]
    if len(own) == 1 and several:
        yield (
            f"Go with TLSValidateHostname = true sends the service URL's host (perhaps {several[0]}) on every "
            "connection, and never comes here by this name; leave it false"
        )
    if certificates:
        yield (
            "C++ in proxy mode, with validateHostName, wants the host of the proxy's URL in the certificate: "
            "say it by --also HOST"
        )
