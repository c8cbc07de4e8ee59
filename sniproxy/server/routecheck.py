"""Checks that every advertised broker has a route that TLS clients can use.

A route is expected on each listener that this cluster's clients use. Which listeners these are depends on where the
proxy saw the broker's name:

* On a listener that terminates TLS: that listener, because PIP-60 clients dial one proxy for all brokers.
* On a bridge: the listener that its C{proxy_service_url} names, if it is one of this proxy.
* On a plaintext listener, which TLS clients do not use: each listener with a route to some broker of the cluster.
  Clients of that listener can be redirected to any other broker, and then ask for it there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sniproxy.config.model import Bridge, Configuration
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.router import Routing
from sniproxy.util.names import ip_literal

MAX_WARNINGS = 1000
"""Warnings that are kept, so that each is given once. Further ones are dropped."""


class RouteCheck:
    """The check of one configuration, with the warnings that it has given.

    @param addresses: the listeners' bound addresses, by listener name.
    """

    def __init__(
        self, configuration: Configuration, routing: Routing, addresses: Mapping[str, tuple[str, int]]
    ) -> None:
        self._routing = routing
        self._listeners = [one.name for one in configuration.listeners if one.plaintext is None]
        # The listeners that a cluster's clients use, by the listener or bridge that sees its brokers.
        self._fixed = {name: {name} for name in self._listeners}
        self._fixed.update((one.name, self._listeners_of_bridge(one, addresses)) for one in configuration.bridges)
        self._learned: dict[str, set[str]] = {}
        self._warned: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """All warnings, oldest first."""
        return list(self._warned)

    def unrouted(self, host: str, entrance: str) -> str | None:
        """Why TLS clients will be refused for a broker. None if they will not, or if the warning was given before.

        @param host: the advertised host. @param entrance: the name of the listener or bridge that saw it.
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
        why = f"{host} is advertised, but {where}"
        if why in self._warned or len(self._warned) >= MAX_WARNINGS:
            return None
        self._warned[why] = None
        return why

    def _has_route(self, host: str, listener: str) -> bool:
        routing = self._routing
        if routing.default is not None and ip_literal(host) is None:
            return True
        return routing.table.match(host, listener) is not None

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
