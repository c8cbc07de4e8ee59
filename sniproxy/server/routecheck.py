"""Holds the brokers that are advertised against the routes in force: what a TLS client would ask for must have a route.

By which listeners the clients of a cluster come depends on where its brokers were heard of:

* a listener that ends TLS: by itself, for PIP-60's clients dial one proxy for all brokers;
* a bridge: by the listener that its C{proxy_service_url} names, when that is one of this proxy;
* a plaintext listener, which TLS clients do not use: by each listener that leads to some broker of the cluster. Clients
  of that one may be told of any other broker, and then ask for it there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sniproxy.config.model import Bridge, Configuration
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.router import Routing
from sniproxy.util.names import ip_literal

MAX_WARNINGS = 1000
"""Warnings that are remembered, so that each is told once; more are not told."""


class CrossCheck:
    """That of one configuration; what it has told is forgotten with it.

    @param addresses: where the listeners are bound, by their names.
    """

    def __init__(
        self, configuration: Configuration, routing: Routing, addresses: Mapping[str, tuple[str, int]]
    ) -> None:
        self._routing = routing
        self._listeners = [one.name for one in configuration.listeners if one.plaintext is None]
        # By which listeners a cluster's clients come, by where it is heard of; where that is not fixed, it is learned.
        self._fixed = {name: {name} for name in self._listeners}
        self._fixed.update((one.name, self._of_bridge(one, addresses)) for one in configuration.bridges)
        self._learned: dict[str, set[str]] = {}
        self._told: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """All that was told, the oldest first."""
        return list(self._told)

    def unrouted(self, host: str, entrance: str) -> str | None:
        """Why TLS clients that are sent to a broker will be refused. None: they will not, or it was told before.

        @param host: that was advertised. @param entrance: the name of the listener or bridge that heard it.
        """
        leads = {name for name in self._listeners if self._leads(host, name)}
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
        if why in self._told or len(self._told) >= MAX_WARNINGS:
            return None
        self._told[why] = None
        return why

    def _leads(self, host: str, listener: str) -> bool:
        routing = self._routing
        if routing.default is not None and ip_literal(host) is None:
            return True
        return routing.table.match(host, listener) is not None

    def _of_bridge(self, bridge: Bridge, addresses: Mapping[str, tuple[str, int]]) -> set[str]:
        proxy = bridge.proxy
        if proxy is None:
            return set()
        host = "127.0.0.1" if proxy.host == "localhost" else proxy.host
        if ip_literal(host) is None:  # mostly another machine's, and the bridge itself tells what it is refused
            return set()
        bound = [(name, addresses[name]) for name in self._listeners if name in addresses]
        try:
            return {name for name, address in bound if LoopGuard([address]).denies(host, proxy.port)}
        except OSError:  # out of descriptors: not known
            return set()
