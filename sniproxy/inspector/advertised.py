"""The brokers that an event names, for the check against the routes. Pure.

A scalable topic's controller and, from some brokers, transaction coordinators have a plain URL only. Clients that came
by TLS dial its host by TLS, too (Pulsar 5.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from sniproxy.pulsar.events import Event, Value
from sniproxy.pulsar.serviceurl import PLAIN_PORT, TLS_PORT
from sniproxy.util.names import BadName, server_name

CONTROLLER = "the controller of a scalable topic"
COORDINATOR = "a transaction coordinator"

_KEYS = (("broker_url", "broker_url_tls", None), ("controller_broker_url", "controller_broker_url_tls", CONTROLLER))
"""The fields with the two URLs of a broker, and its role. None: that of the event."""


@attrs.frozen
class AdvertisedBroker:
    """A broker that an answer names.

    @ivar url: the plain URL, as on the wire; None: there is none. @ivar url_tls: the same of the TLS URL.
    @ivar role: L{CONTROLLER} or L{COORDINATOR}. None: the owner of a topic or a segment, or a broker to ask.
    """

    url: str | None
    url_tls: str | None
    role: str | None = None


def advertised_brokers(event: Event) -> list[AdvertisedBroker]:
    """The brokers that an event names, each once, also those of segments and assignments."""
    role = COORDINATOR if event.name == "coordinators" else None
    return list(dict.fromkeys(_brokers(event.fields, role)))


def address_of(url: str | None) -> tuple[str, int] | None:
    """Host and port of a URL; the host is normalised if it is a server name. None: no URL, or an invalid one."""
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname or "", parts.port
        host = server_name(host)
    except BadName:
        pass  # a peer may advertise any text; it has no route
    except ValueError:
        return None
    return (host, port or (TLS_PORT if parts.scheme == "pulsar+ssl" else PLAIN_PORT)) if host else None


def _brokers(value: Value, role: str | None) -> Iterator[AdvertisedBroker]:
    if isinstance(value, list):
        for inner in value:
            yield from _brokers(inner, role)
    elif isinstance(value, dict):
        for plain, secure, own_role in _KEYS:
            url, tls = value.get(plain), value.get(secure)
            if url or tls:
                yield AdvertisedBroker(_text(url), _text(tls), own_role or role)
        for inner in value.values():
            if isinstance(inner, list | dict):
                yield from _brokers(inner, role)


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) and value else None
