"""Reads what brokers advertise, from the admin API and from ZooKeeper: the name and the address of each. Pure.

Sources: Pulsar's admin API (``/admin/v2/brokers``), ``ServiceConfiguration``, PIP-61 and PIP-95 (listeners), and
``LocalBrokerData`` and ``BrokerLookupData``, which both load managers write below ``/loadbalance/brokers``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sniproxy.interfaces import Target
from sniproxy.pulsar.serviceurl import TLS_PORT, BadServiceURL, host_and_port
from sniproxy.resolvers.pulsar.brokers import AdvertisedName, LiveBroker, Rank
from sniproxy.resolvers.pulsar.listeners import ListenerURL, parse_listeners, read_urls
from sniproxy.routing.brokernames import BrokerName
from sniproxy.util.names import BadName, ip_literal, server_name
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
    host, colon, port = web_id.rpartition(":")
    # An id is advertisedAddress and port, so that an IPv6 address may have no brackets.
    bracketed = f"[{host}]:{port}" if colon and ":" in host and ip_literal(host) is not None else web_id
    try:
        host, number = host_and_port(bracketed, "broker")
    except BadServiceURL as error:
        raise BadBrokerData(str(error)) from error
    if number is None:
        raise BadBrokerData(f"broker {bounded(web_id)!r} has no port")
    return host, number


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
    """Read a broker's runtime configuration: its names and the bound port of each listener.

    @raise BadBrokerData: there is no such listener, or the answer is invalid.
    """
    data = _object(body)
    web, _ = web_address(web_id)
    advertised = parse_listeners(_text(data, "advertisedListeners"))
    bound = parse_listeners(_text(data, "bindAddresses"))
    bound_tls = [(one.listener, one.port) for one in bound.urls if one.tls and one.port is not None]
    own_tls, own_plain = (_number(_text(data, key)) for key in ("brokerServicePortTls", "brokerServicePort"))
    clients = [one for one in advertised.urls if one.tls]
    address = _text(data, "advertisedAddress").strip().strip("[]") or web
    if clients and not _is_name(address):
        address = web
    # Pulsar 5 derives the internal listener from the broker's own address if advertisedListeners lacks it.
    internal = _text(data, "internalListenerName").strip()
    has_internal = any(one.listener == internal for one in advertised.urls)
    own = ListenerURL("" if has_internal else internal, _host(web_id, address), None, False)
    derived = [] if has_internal else [attrs.evolve(own, port=own_plain)]
    if own_tls is not None and not has_internal:
        derived.append(attrs.evolve(own, port=own_tls, tls=True))
    report = _Report(
        web_id,
        (*advertised.urls, *derived, attrs.evolve(own, listener="")),
        # The first address of a listener counts.
        bound=dict(reversed(bound_tls)),
        own=own_tls,
        notes=(*advertised.notes, *bound.notes),
    )
    if not clients and choice.listener is None:
        if advertised.invalid:
            raise BadBrokerData(f"broker {web_id}: {advertised.notes[0]}")
        port = own_tls or next((port for _, port in bound_tls), None)
        if port is None:
            raise BadBrokerData(f"broker {web_id} listens without TLS only")
        return report.broker(attrs.evolve(own, port=port, tls=True), choice)
    return report.broker(_chosen(web_id, [one for one in report.urls if one.tls], choice), choice)


def from_template(web_id: str, choice: BrokerListeners) -> LiveBroker:
    """Make a broker from its id alone, if it advertises nothing. @raise BadBrokerData: its name is invalid."""
    web, _ = web_address(web_id)
    name = _host(web_id, choice.name.replace("{host}", web).replace("{label}", web.partition(".")[0]))
    own = ListenerURL("", web, None, False)
    return _Report(web_id, (own,)).broker(ListenerURL("", name, TLS_PORT, True), choice)


def from_node(web_id: str, body: bytes, choice: BrokerListeners) -> LiveBroker:
    """Read a broker's node below ``/loadbalance/brokers``: its names and advertised ports. It has no bound port.

    @raise BadBrokerData: there is no such listener, or the node is invalid.
    """
    data = _object(body)
    web, _ = web_address(web_id)
    advertised = data.get("advertisedListeners") or {}
    if not isinstance(advertised, dict):
        raise BadBrokerData(f"broker {web_id}: advertisedListeners is not a JSON object")
    # The keys of the object have no order: Pulsar writes them from a hash map.
    named = [(str(name).strip(), urls) for name, urls in sorted(advertised.items()) if isinstance(urls, dict)]
    keys = ("brokerServiceUrlTls", "brokerServiceUrl")
    listeners = read_urls([(name, _text(urls, key).strip()) for name, urls in named for key in keys if urls.get(key)])
    classic = [("", _text(data, key).strip()) for key in ("pulsarServiceUrlTls", "pulsarServiceUrl") if data.get(key)]
    own = read_urls(classic)
    report = _Report(
        web_id,
        (*listeners.urls, *own.urls, ListenerURL("", web, None, False)),
        started=_started(data),
        notes=(*listeners.notes, *own.notes),
    )
    found = [one for one in listeners.urls if one.tls]
    if not found and choice.listener is None:
        found = [one for one in own.urls if one.tls]
        if not found:
            note = f": {report.notes[0]}" if listeners.invalid or own.invalid else " listens without TLS only"
            raise BadBrokerData(f"broker {web_id}{note}")
    places = {(one.host, one.port if choice.port is None else choice.port) for one in found}
    if choice.listener is None and len(places) > 1:
        names = bounded(", ".join(sorted({one.listener for one in found})))
        raise BadBrokerData(
            f"broker {web_id} has several TLS listeners: {names}; set listener to the one that clients use"
        )
    return report.broker(_chosen(web_id, found, choice), choice)


@attrs.frozen
class _Report:
    """What a source says about a broker.

    @ivar urls: all its URLs, and its own address. @ivar bound: the TLS ports to which listeners are bound.
    @ivar own: C{brokerServicePortTls}. @ivar started: as in L{LiveBroker}. @ivar notes: what was skipped.
    """

    web_id: str
    urls: Sequence[ListenerURL]
    bound: Mapping[str, int] = attrs.field(factory=dict)
    own: int | None = None
    started: int = 0
    notes: tuple[str, ...] = ()

    def broker(self, chosen: ListenerURL, choice: BrokerListeners) -> LiveBroker:
        """The broker. @param chosen: the URL that clients use. @param choice: the options."""
        web, _ = web_address(self.web_id)
        # C{hosts} may map the broker's advertised name or its web host.
        host = choice.hosts.get(chosen.host) or choice.dialled(web)
        main = Target(host, self._port(chosen, TLS_PORT, choice))
        urls: dict[tuple[str, str], ListenerURL] = {}
        for one in (chosen, *self.urls):
            known = urls.setdefault((one.host, one.listener), one)
            if one.tls and not known.tls:
                urls[one.host, one.listener] = one
        names = [self._name(one, one is chosen, main, choice) for one in urls.values()]
        return LiveBroker(
            self.web_id,
            chosen.host,
            main.host,
            main.port,
            names=_without_repeats(names),
            places=frozenset((one.host, one.port) for one in (chosen, *self.urls) if one.port is not None),
            started=self.started,
            notes=tuple(f"broker {self.web_id}: {note}" for note in self.notes),
        )

    def _name(self, url: ListenerURL, chosen: bool, main: Target, choice: BrokerListeners) -> AdvertisedName:
        rank = Rank.CLIENTS if chosen else Rank.TLS if url.tls else Rank.PLAIN if url.listener else Rank.OWN
        # TLS clients dial the name of a plaintext URL, too: Pulsar 5 gives them the internal URL of a scalable topic's
        # controller. They need a TLS port.
        target = Target(choice.hosts.get(url.host) or main.host, self._port(url, main.port, choice))
        return AdvertisedName(BrokerName(url.host, url.listener, url.tls), rank, main if chosen else target)

    def _port(self, url: ListenerURL, main: int, choice: BrokerListeners) -> int:
        """The TLS port of a listener. @param main: the port of a listener that has none."""
        if choice.port is not None:
            return choice.port
        advertised = (self.own or url.port) if url.tls else None
        return self.bound.get(url.listener) or advertised or main


def _without_repeats(names: Sequence[AdvertisedName]) -> tuple[AdvertisedName, ...]:
    """Sort names by rank. An address without a listener is left out if a listener has the host, with TLS if it has."""
    best: dict[str, int] = {}
    for each in names:
        if each.name.listener or each.rank is Rank.CLIENTS:
            best[each.name.host] = min(each.rank, best.get(each.name.host, each.rank))
    useful = [
        one
        for one in names
        if one.name.listener or one.rank is Rank.CLIENTS or one.rank < best.get(one.name.host, Rank.OWN + 1)
    ]
    return tuple(sorted(useful, key=lambda one: one.rank))


def _chosen(web_id: str, found: Sequence[ListenerURL], choice: BrokerListeners) -> ListenerURL:
    for one in found:
        if choice.listener is None or one.listener == choice.listener:
            return one
    names = ", ".join(dict.fromkeys(one.listener for one in found if one.listener)) or "none"
    raise BadBrokerData(f"broker {web_id} has no TLS listener {choice.listener!r}; its TLS listeners: {bounded(names)}")


def _is_name(text: str) -> bool:
    """Whether a text is a server name or an IP address."""
    try:
        server_name(text)
    except BadName:
        return False
    return True


def _host(web_id: str, name: str) -> str:
    try:
        return server_name(name)
    except BadName as error:
        raise BadBrokerData(f"broker {web_id}: invalid name {bounded(name)!r}: {error}") from error


def _started(data: Mapping[str, Any]) -> int:
    value = data.get("startTimestamp")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


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
