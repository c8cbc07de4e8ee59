"""The brokers that a bridge may connect clients to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.interfaces import BadValue
from sniproxy.pulsar.serviceurl import TLS_PORT, BadServiceURL, host_and_port
from sniproxy.routing.patterns import matches
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.names import BadName, pattern

MAX_NAMED = 10_000
"""Brokers from answers that a bridge remembers."""

Broker = tuple[str, int]
"""A broker's normalised host, and its port."""


@attrs.frozen
class Allowed:
    """One entry of C{allow}: hosts and a port. @ivar pattern: a name, ``*.`` and a name, or an address, normalised."""

    pattern: str
    port: int

    def __contains__(self, broker: Broker) -> bool:
        host, port = broker
        if port != self.port:
            return False
        return matches(self.pattern, host)


def parse_allowed(text: str) -> Allowed:
    """Parse ``*.pulsar.example.com:6651``: a host as in a route, and a port. The default port is 6651.

    @raise BadValue: the text is none of this.
    """
    star = text.startswith("*.")
    try:
        host, port = host_and_port(text[2:] if star else text, "broker")
        return Allowed(pattern(f"*.{host}" if star else host), TLS_PORT if port is None else port)
    except (BadServiceURL, BadName) as error:
        raise BadValue("allow", text, f"{error}; write a host and a port, as in *.pulsar.example.com:6651") from error


class Allowing:
    """The brokers that one bridge allows.

    @param allowed: the bridge's C{allow}. None: it allows the brokers that answers through it have named.
    """

    def __init__(self, allowed: Sequence[Allowed] | None) -> None:
        self._allowed = allowed
        self._named: BoundedMap[Broker, bool] = BoundedMap(MAX_NAMED)

    def record_named(self, broker: Broker) -> None:
        """Record a broker that another broker's answer has named. The other's certificate was verified."""
        if self._allowed is None:
            self._named.put(broker, True, 0.0)

    def denies(self, broker: Broker) -> str | None:
        """Why the bridge denies a broker. None: it is allowed."""
        if self._allowed is not None:
            if any(broker in allowed for allowed in self._allowed):
                return None
            return "it is not in the bridge's allow list; add it, or correct the address that the broker advertises"
        if self._named.get(broker):
            return None
        return "no answer through this bridge has named it; look the topic up first, or write allow"
