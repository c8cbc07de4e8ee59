"""Reads what brokers advertise, from the admin API and from ZooKeeper: the name and the address of each. Pure.

Sources: Pulsar's admin API (``/admin/v2/brokers``), ``ServiceConfiguration``, PIP-61 and PIP-95 (listeners), and
``LocalBrokerData`` and ``BrokerLookupData``, which both load managers write below ``/loadbalance/brokers``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.pulsar.serviceurl import TLS_PORT, BadServiceURL, host_and_port, parse_service_url
from sniproxy.resolvers.pulsar.brokers import LiveBroker
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import bounded

MAX_BROKERS = 10_000


class BadBrokerData(Exception):
    """Data of a broker is invalid or does not fit the options. The text says why."""


@attrs.frozen
class BrokerListeners:
    """Options that say which name and address a broker has.

    @ivar listener: the advertised listener that clients use (PIP-95). None: the first one with TLS, or the only one if
        the source has no order.
    @ivar port: the port to dial. None: the port that the broker advertises.
    @ivar hosts: the addresses to dial instead of hosts, by normalised host.
    @ivar name: the name of a broker that does not advertise one. C{{host}} is its web host, C{{label}} the first label
        of
        it.
    """

    listener: str | None = None
    port: int | None = None
    hosts: Mapping[str, str] = attrs.field(factory=dict)
    name: str = "{host}"

    def dialled(self, host: str) -> str:
        """The address to dial for a host."""
        return self.hosts.get(host, host)


def web_address(web_id: str) -> tuple[str, int]:
    """Host and port of a broker's id. @raise BadBrokerData: it has another form."""
    try:
        host, port = host_and_port(web_id, "broker")
    except BadServiceURL as error:
        raise BadBrokerData(str(error)) from error
    if port is None:
        raise BadBrokerData(f"broker {bounded(web_id)!r} has no port")
    return host, port


def broker_ids(body: bytes) -> list[str]:
    """The sorted ids in an answer of ``/admin/v2/brokers``. @raise BadBrokerData: it is not a list of ids."""
    data = _json(body)
    if not (isinstance(data, list) and all(isinstance(web_id, str) for web_id in data)):
        raise BadBrokerData("answer is not a list of brokers")
    if len(data) > MAX_BROKERS:
        raise BadBrokerData(f"answer lists more than {MAX_BROKERS} brokers")
    # Brokers before Pulsar 3 may write a scheme.
    ids = [web_id.partition("://")[2] or web_id for web_id in data]
    for web_id in ids:
        web_address(web_id)
    return sorted(set(ids))


def from_configuration(web_id: str, body: bytes, choice: BrokerListeners) -> LiveBroker:
    """Read a broker's runtime configuration: the advertised name and the bound port of its listener.

    @raise BadBrokerData: there is no such listener, or the answer is invalid.
    """
    data = _object(body)
    listeners = [one for one in _listeners(_text(data, "advertisedListeners")) if one.tls]
    bound = [one for one in _listeners(_text(data, "bindAddresses")) if one.tls]
    own = _number(_text(data, "brokerServicePortTls"))
    web, _ = web_address(web_id)
    if not listeners and choice.listener is None:
        name = _text(data, "advertisedAddress") or web
        if own is None and not bound:
            raise BadBrokerData(f"broker {web_id} listens without TLS only")
        port = own if own is not None else bound[0].port
        return _broker(web_id, name, web, port, choice)
    listener = _chosen(web_id, [(one.name, one.host, one.port) for one in listeners], choice)
    ports = [one.port for one in bound if one.name == listener[0]]
    port = ports[0] if ports else own if own is not None else listener[2]
    return _broker(web_id, listener[1], web, port, choice)


def from_template(web_id: str, choice: BrokerListeners) -> LiveBroker:
    """Make a broker from its id alone, if it advertises nothing. @raise BadBrokerData: its name is invalid."""
    web, _ = web_address(web_id)
    name = choice.name.replace("{host}", web).replace("{label}", web.partition(".")[0])
    return _broker(web_id, name, web, TLS_PORT, choice)


def from_node(web_id: str, body: bytes, choice: BrokerListeners) -> LiveBroker:
    """Read a broker's node below ``/loadbalance/brokers``: its advertised name and port. It has no bound port.

    @raise BadBrokerData: there is no such listener, or the node is invalid.
    """
    data = _object(body)
    web, _ = web_address(web_id)
    advertised = data.get("advertisedListeners") or {}
    if not isinstance(advertised, dict):
        raise BadBrokerData(f"broker {web_id}: advertisedListeners is not a JSON object")
    found = []
    for name, urls in advertised.items():
        url = urls.get("brokerServiceUrlTls") if isinstance(urls, dict) else None
        if url:
            found.append((str(name), *_url(str(url))[:2]))
    if not found and choice.listener is None:
        url = _text(data, "pulsarServiceUrlTls")
        if not url:
            raise BadBrokerData(f"broker {web_id} listens without TLS only")
        found.append(("", *_url(url)[:2]))
    places = {(name, port if choice.port is None else choice.port) for _, name, port in found}
    if choice.listener is None and len(places) > 1:
        # The keys of the object have no order: Pulsar writes them from a hash map.
        names = bounded(", ".join(sorted(one[0] for one in found)))
        raise BadBrokerData(
            f"broker {web_id} has several TLS listeners: {names}; set listener to the one that clients use"
        )
    _, name, port = _chosen(web_id, found, choice)
    return _broker(web_id, name, web, port, choice)


@attrs.frozen
class _AdvertisedListener:
    name: str
    host: str
    port: int
    tls: bool


def _listeners(text: str) -> Iterator[_AdvertisedListener]:
    """``external:pulsar+ssl://broker-1.example.com:6651,...``, of advertisedListeners and bindAddresses."""
    for part in filter(None, map(str.strip, text.split(","))):
        name, colon, url = part.partition(":")
        if not colon:
            raise BadBrokerData(f"invalid listener {bounded(part)!r}")
        if url.startswith("pulsar"):  # others belong to protocol handlers, such as Kafka's
            yield _AdvertisedListener(name.strip(), *_url(url))


def _url(text: str) -> tuple[str, int, bool]:
    try:
        url = parse_service_url(text, "listener")
    except BadServiceURL as error:
        raise BadBrokerData(str(error)) from error
    return (*url.hosts[0], url.tls)


def _chosen(web_id: str, found: Sequence[tuple[str, str, int]], choice: BrokerListeners) -> tuple[str, str, int]:
    for one in found:
        if choice.listener is None or one[0] == choice.listener:
            return one
    names = ", ".join(dict.fromkeys(one[0] for one in found)) or "none"
    raise BadBrokerData(f"broker {web_id} has no TLS listener {choice.listener!r}; its TLS listeners: {bounded(names)}")


def _broker(web_id: str, name: str, web: str, port: int, choice: BrokerListeners) -> LiveBroker:
    try:
        name = server_name(name)
    except BadName as error:
        raise BadBrokerData(f"broker {web_id}: invalid name {bounded(name)!r}: {error}") from error
    # C{hosts} may map the broker's advertised name or its web host.
    host = choice.hosts.get(name) or choice.dialled(web)
    return LiveBroker(web_id, name, host, port if choice.port is None else choice.port)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadBrokerData("not JSON") from error


def _object(body: bytes) -> dict[str, Any]:
    data = _json(body)
    if not isinstance(data, dict):
        raise BadBrokerData("not a JSON object")
    return data


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise BadBrokerData(f"{key} is not a text")
    return str(value)


def _number(text: str) -> int | None:
    """Parse ``6651`` or ``Optional[6651]``. None: ``Optional.empty``, empty, or 0, which means any free port."""
    match = re.fullmatch(r"(?:Optional\[)?([0-9]{1,5})\]?", text)
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def parse_host_map(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``host=address`` pairs. @raise ValueError: a pair is invalid; the text has the pair and the cure."""
    found = {}
    for pair in pairs:
        host, equals, address = pair.partition("=")
        try:
            if not equals:
                raise BadName("no '='")
            found[server_name(host.strip())] = server_name(address.strip())
        except BadName as error:
            raise ValueError(
                f"{bounded(pair)!r}: {error}; write host=address, as in broker-1.internal=10.0.0.1"
            ) from error
    return found
