"""Checks that every advertised broker has a route that TLS clients can use.

A route is expected on each listener that this cluster's clients use. Which listeners these are depends on where the
proxy saw the broker's name:

* On a listener that terminates TLS: that listener, because PIP-60 clients dial one proxy for all brokers.
* On a bridge: the listener that its C{proxy_service_url} names, if it is one of this proxy.
* On a plaintext listener, which TLS clients do not use: each listener with a route to some broker of the cluster.
  Clients of that listener can be redirected to any other broker, and then ask for it there.

The host is that of the TLS URL. Where there is none:

* The controller of a scalable topic and a transaction coordinator have the plain URL of the broker's internal listener,
  and clients that came by TLS dial its host by TLS (Pulsar 5.0).
* On a plaintext listener, a broker answers with that listener's URL alone (PIP-95). A resolver may know the other names
  of the broker; otherwise nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sniproxy.config.model import Bridge, Configuration
from sniproxy.inspector.advertised import AdvertisedBroker, address_of
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.brokernames import BrokerName
from sniproxy.routing.router import Routing
from sniproxy.util.names import ip_literal

MAX_WARNINGS = 1000
"""Warnings that are kept, so that each is given once. Further ones are dropped."""

BY_NAME = (
    "advertise the broker by a dotted name on its internal listener (advertisedAddress or advertisedListeners), with a "
    "route for this name, and the name in the broker's certificate"
)

NamesOf = Callable[[str, int], Sequence[BrokerName]]
"""All names of the broker that advertises this host and port. Empty: unknown."""


class RouteCheck:
    """The check of one configuration, with the warnings that it has given.

    @param addresses: the listeners' bound addresses, by listener name.
    @param names_of: asks the resolvers.
    """

    def __init__(
        self,
        configuration: Configuration,
        routing: Routing,
        addresses: Mapping[str, tuple[str, int]],
        names_of: NamesOf = lambda host, port: (),
    ) -> None:
        self._routing = routing
        self._names_of = names_of
        self._listeners = [one.name for one in configuration.listeners if one.plaintext is None]
        # The listeners that a cluster's clients use, by the listener or bridge that sees its brokers.
        self._fixed = {name: {name} for name in self._listeners}
        self._fixed.update((one.name, self._listeners_of_bridge(one, addresses)) for one in configuration.bridges)
        self._bridges = {one.name for one in configuration.bridges}
        self._learned: dict[str, set[str]] = {}
        self._warned: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """All warnings, oldest first."""
        return list(self._warned)

    def unrouted(self, broker: AdvertisedBroker, entrance: str) -> str | None:
        """Why TLS clients will be refused for a broker. None if they will not, or if the warning was given before.

        @param entrance: the name of the listener or bridge that saw it.
        """
        why = self.missing_route(broker, entrance)
        if why is None or why in self._warned or len(self._warned) >= MAX_WARNINGS:
            return None
        self._warned[why] = None
        return why

    def missing_route(self, broker: AdvertisedBroker, entrance: str) -> str | None:
        """The same, also if the warning was given before."""
        secure = address_of(broker.url_tls)
        if secure is not None:
            return self._missing(secure[0], entrance)
        plain = address_of(broker.url)
        if plain is None:
            return None
        if entrance not in self._fixed:
            return self._missing_of_names(*plain, entrance)
        if broker.role is None:  # clients that came by TLS ignore it
            return None
        host, role = plain[0], broker.role
        nameless = self._nameless(host, entrance)
        if nameless is None:
            why = self._missing(host, entrance, f" as {role}")
            return None if why is None else f"{why}; its certificate must name it, too"
        if not self._fixed[entrance] or self._serves_nameless():
            return None
        return (
            f"{host} is advertised as {role}, but clients send no server name for {nameless}, "
            f"so no route can lead there: {BY_NAME}"
        )

    def _nameless(self, host: str, entrance: str) -> str | None:
        """Why clients send no server name for a host. None: they send it."""
        if ip_literal(host) is not None:
            return "an address"
        # Only Java clients use scalable topics, and the bridge sends any name.
        return "a name without a dot" if "." not in host and entrance not in self._bridges else None

    def _missing(self, host: str, entrance: str, what: str = "") -> str | None:
        """Why there is no route for a host on each listener that needs one. None: there is.

        @param what: text after C{is advertised}.
        """
        leads = {name for name in self._listeners if self._has_route(host, name)}
        needed = self._fixed.get(entrance)
        if needed is None:
            learned = self._learned.setdefault(entrance, set())
            learned |= leads
            needed = learned or set(self._listeners)
        missing = sorted(needed - leads)
        if not missing:
            return None
        if leads:
            where = f"no route on listener {' or '.join(missing)} has it: TLS clients will be refused there"
        else:
            where = "no route has it: TLS clients will be refused"
        if ip_literal(host) is not None:
            where += "; most clients send no server name for an address, so advertise a name"
        return f"{host} is advertised{what}, but {where}"

    def _missing_of_names(self, host: str, port: int, entrance: str) -> str | None:
        """The same for a broker that a resolver knows by one of its addresses. None also if no resolver knows it."""
        found = None
        for name in self._names_of(host, port):
            if name.tls:
                listener = f" by listener {name.listener}" if name.listener else ""
                why = self._missing(name.host, entrance, listener)
                if why is None:  # the clients of this proxy may use this name alone
                    return None
                found = found or why
        return found

    def _has_route(self, host: str, listener: str) -> bool:
        routing = self._routing
        if routing.default is not None and ip_literal(host) is None:
            return True
        return routing.table.match(host, listener) is not None

    def _serves_nameless(self) -> bool:
        """Whether hellos without a name have a route with one target, which may be the only broker."""
        own = [found for name in self._listeners if (found := self._routing.table.nameless(name)) is not None]
        route = self._routing.no_server_name or (own[0] if own else None)
        answer = None if route is None or route.fixed is None else route.fixed()
        return answer is not None and len(answer.targets) == 1

    def _listeners_of_bridge(self, bridge: Bridge, addresses: Mapping[str, tuple[str, int]]) -> set[str]:
        proxy = bridge.proxy
        if proxy is None:
            return set()
        host = "127.0.0.1" if proxy.host == "localhost" else proxy.host
        if ip_literal(host) is None:  # usually another machine; the bridge itself logs what that refuses
            return set()
        bound = [(name, addresses[name]) for name in self._listeners if name in addresses]
        try:
            return {name for name, address in bound if LoopGuard([address]).denies(host, proxy.port)}
        except OSError:  # no descriptor left: unknown
            return set()
