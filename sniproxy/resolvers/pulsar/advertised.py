"""What Pulsar says of its brokers, over HTTP and in ZooKeeper, and what of it names and places of brokers are. Pure.

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
    """The cluster says something that this release does not understand, or that fits no option; the text says what."""


@attrs.frozen
class BrokerListeners:
    """What the operator says of brokers' places.

    @ivar listener: the advertised listener that clients use (PIP-95). None: the first one with TLS, and where they
        come in no order, the only one.
    @ivar port: where brokers are dialled. None: what they say.
    @ivar hosts: hosts that are dialled by another address, by their normalised names.
    @ivar name: what a broker is called that does not say it; ``{host}`` is its web host, ``{label}`` the first label.
    """

    listener: str | None = None
    port: int | None = None
    hosts: Mapping[str, str] = attrs.field(factory=dict)
    name: str = "{host}"

    def dialled(self, host: str) -> str:
        """By which address a host is reached."""
        return self.hosts.get(host, host)


def web_address(web_id: str) -> tuple[str, int]:
    """Host and port of a broker's id. @raise BadAnswer: it has no such form."""
    try:
        host, port = host_and_port(web_id, "broker")
    except BadServiceURL as error:
        raise BadBrokerData(str(error)) from error
    if port is None:
        raise BadBrokerData(f"broker {bounded(web_id)!r} has no port")
    return host, port


def broker_ids(body: bytes) -> list[str]:
    """The answer of ``/admin/v2/brokers``, sorted, each once. @raise BadAnswer: it is something else."""
    said = _json(body)
    if not (isinstance(said, list) and all(isinstance(web_id, str) for web_id in said)):
        raise BadBrokerData("it is no list of brokers")
    if len(said) > MAX_BROKERS:
        raise BadBrokerData(f"it lists more than {MAX_BROKERS} brokers")
    # Brokers before Pulsar 3 may write a scheme.
    ids = [web_id.partition("://")[2] or web_id for web_id in said]
    for web_id in ids:
        web_address(web_id)
    return sorted(set(ids))


def from_configuration(web_id: str, body: bytes, choice: BrokerListeners) -> LiveBroker:
    """Of a broker's runtime configuration: the listener's name, and the port where it is bound.

    @raise BadAnswer: there is no such listener, or the text is something else.
    """
    said = _object(body)
    listeners = [one for one in _listeners(_text(said, "advertisedListeners")) if one.tls]
    bound = [one for one in _listeners(_text(said, "bindAddresses")) if one.tls]
    own = _number(_text(said, "brokerServicePortTls"))
    web, _ = web_address(web_id)
    if not listeners and choice.listener is None:
        name = _text(said, "advertisedAddress") or web
        if own is None and not bound:
            raise BadBrokerData(f"broker {web_id} listens without TLS only")
        port = own if own is not None else bound[0].port
        return _broker(web_id, name, web, port, choice)
    listener = _chosen(web_id, [(one.name, one.host, one.port) for one in listeners], choice)
    ports = [one.port for one in bound if one.name == listener[0]]
    port = ports[0] if ports else own if own is not None else listener[2]
    return _broker(web_id, listener[1], web, port, choice)


def from_template(web_id: str, choice: BrokerListeners) -> LiveBroker:
    """Of the id alone, for a broker that does not say more. @raise BadAnswer: no name comes of it."""
    web, _ = web_address(web_id)
    name = choice.name.replace("{host}", web).replace("{label}", web.partition(".")[0])
    return _broker(web_id, name, web, TLS_PORT, choice)


def from_node(web_id: str, body: bytes, choice: BrokerListeners) -> LiveBroker:
    """Of a broker's node below ``/loadbalance/brokers``; where it is bound is not in it, but what it advertises is.

    @raise BadAnswer: there is no such listener, or the text is something else.
    """
    said = _object(body)
    web, _ = web_address(web_id)
    advertised = said.get("advertisedListeners") or {}
    if not isinstance(advertised, dict):
        raise BadBrokerData(f"broker {web_id}: its advertisedListeners are no JSON object")
    found = []
    for name, urls in advertised.items():
        url = urls.get("brokerServiceUrlTls") if isinstance(urls, dict) else None
        if url:
            found.append((str(name), *_url(str(url))[:2]))
    if not found and choice.listener is None:
        url = _text(said, "pulsarServiceUrlTls")
        if not url:
            raise BadBrokerData(f"broker {web_id} listens without TLS only")
        found.append(("", *_url(url)[:2]))
    places = {(name, port if choice.port is None else choice.port) for _, name, port in found}
    if choice.listener is None and len(places) > 1:
        # The order of an object's keys means nothing, and Pulsar's are those of a hash map.
        there = bounded(", ".join(sorted(one[0] for one in found)))
        raise BadBrokerData(
            f"broker {web_id} has several TLS listeners, {there}: say by listener which one clients use"
        )
    _, name, port = _chosen(web_id, found, choice)
    return _broker(web_id, name, web, port, choice)


@attrs.frozen
class _Listener:
    name: str
    host: str
    port: int
    tls: bool


def _listeners(text: str) -> Iterator[_Listener]:
    """``external:pulsar+ssl://broker-1.example.com:6651,...``, of advertisedListeners and bindAddresses."""
    for part in filter(None, map(str.strip, text.split(","))):
        name, colon, url = part.partition(":")
        if not colon:
            raise BadBrokerData(f"{bounded(part)!r} is no listener")
        if url.startswith("pulsar"):  # others are of protocol handlers, such as Kafka's
            yield _Listener(name.strip(), *_url(url))


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
    there = ", ".join(dict.fromkeys(one[0] for one in found)) or "none"
    raise BadBrokerData(f"broker {web_id} has no TLS listener {choice.listener!r}; those with TLS: {bounded(there)}")


def _broker(web_id: str, name: str, web: str, port: int, choice: BrokerListeners) -> LiveBroker:
    try:
        name = server_name(name)
    except BadName as error:
        raise BadBrokerData(f"broker {web_id}: its name {bounded(name)!r}: {error}") from error
    # A broker's own name may be mapped, or the host that it is known by inside.
    host = choice.hosts.get(name) or choice.dialled(web)
    return LiveBroker(web_id, name, host, port if choice.port is None else choice.port)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadBrokerData("it is no JSON") from error


def _object(body: bytes) -> dict[str, Any]:
    said = _json(body)
    if not isinstance(said, dict):
        raise BadBrokerData("it is no JSON object")
    return said


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise BadBrokerData(f"its {key} is no text")
    return str(value)


def _number(text: str) -> int | None:
    """``6651``, ``Optional[6651]``; None: ``Optional.empty`` or nothing. Port 0 was any that was free."""
    match = re.fullmatch(r"(?:Optional\[)?([0-9]{1,5})\]?", text)
    return int(match[1]) if match and 0 < int(match[1]) < 65536 else None


def parse_host_map(pairs: Sequence[str]) -> dict[str, str]:
    """``host=address`` pairs. @raise ValueError: one is none; the text says which, and how it is written."""
    found = {}
    for pair in pairs:
        host, equals, address = pair.partition("=")
        try:
            if not equals:
                raise BadName("there is no =")
            found[server_name(host.strip())] = server_name(address.strip())
        except BadName as error:
            raise ValueError(f"{bounded(pair)!r}: {error}; write it as in broker-1.internal=10.0.0.1") from error
    return found
