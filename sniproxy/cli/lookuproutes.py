"""Compares the brokers that answers name with the routes of a configuration, for ``sniproxyctl lookup --config``."""

from __future__ import annotations

from sniproxy.client.lookups import Hop
from sniproxy.config.file import read_text
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.inspector.advertised import CONTROLLER, AdvertisedBroker
from sniproxy.pulsar.serviceurl import SniProxy
from sniproxy.server.build import build_routing
from sniproxy.server.routecheck import RouteCheck
from sniproxy.util.reactor import IReactor


class RouteComparison:
    """The routes of a configuration file.

    @param proxy: the proxy that the client dials. A route is expected on the listener with its port; without a proxy or
        such a listener, on any.
    """

    def __init__(self, path: str, proxy: SniProxy | None, reactor: IReactor) -> None:
        """@raise ConfigError: the configuration is invalid, or has no listener for TLS clients."""
        configuration = parse(read_text(path), path)
        listeners = [one for one in configuration.listeners if one.plaintext is None]
        if not listeners:
            raise ConfigError(f"{path}: no listener for TLS clients")
        there = [one for one in listeners if proxy is not None and one.endpoint.port == proxy.port]
        self._listeners = [one.name for one in there or listeners]
        self._check = RouteCheck(configuration, build_routing(configuration, reactor), {})

    def problems(self, hop: Hop) -> list[str]:
        """Why TLS clients will be refused for the brokers that the answer names."""
        whys = [self._problem(broker) for broker in named_brokers(hop)]
        return list(dict.fromkeys(why for why in whys if why is not None))

    def _problem(self, broker: AdvertisedBroker) -> str | None:
        whys = [self._check.missing_route(broker, listener) for listener in self._listeners]
        return None if None in whys else whys[0]


def named_brokers(hop: Hop) -> list[AdvertisedBroker]:
    """The brokers that the answer of a TLS broker names."""
    if hop.layout is None:
        return [] if hop.url is None else [AdvertisedBroker(None, hop.url)]
    layout = hop.layout
    controller = AdvertisedBroker(layout.controller, layout.controller_tls, CONTROLLER)
    return [controller, *(AdvertisedBroker(one.url, one.url_tls) for one in layout.segments)]
