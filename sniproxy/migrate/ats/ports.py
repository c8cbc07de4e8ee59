"""The ports of ``proxy.config.http.server_ports`` to listeners. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs
from msgspec.structs import replace

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.ats.addresses import BadAddresses, networks, split_list
from sniproxy.migrate.ats.entries import ALL_PORTS, Entry
from sniproxy.migrate.ats.records import Record, Records
from sniproxy.migrate.model import Notes, Place
from sniproxy.net.endpoints import parse_endpoint
from sniproxy.util.names import ip_literal

DEFAULT_PORT = 4443
"""The listener's port if no records are given: the one of PIP-60's example."""

MAX_LISTENERS = 64
"""Most listeners that are made from the ranges of ``inbound_port_ranges``, if no records are given."""

_EVERYWHERE = ["0.0.0.0/0", "::/0"]
_QUIET = ("proto", "ip-resolve", "compressed", "ipv4")
_LEFT_OUT = {
    "blind": "a port for CONNECT only",
    "tr-in": 'transparent; see target_source = "client" for the way to the target',
    "tr-out": 'write target_source = "client" in the routes',
    "tr-full": 'write target_source = "client" in the routes; the way in has no counterpart',
    "tr-pass": "there is no HTTP here",
    "allow-plain": "this listener accepts only TLS",
    "mptcp": "this listener accepts TCP only",
    "ip-out": "the system chooses the proxy's own address",
    "pp-clnt": "the address of a believed header is always the client's",
    "uds-perm": "write it in the endpoint, as in unix:/path:mode=660",
    "uds-user": "the proxy owns the socket",
    "uds-group": "the proxy owns the socket",
}


@attrs.frozen
class Port:
    """A listener. @ivar number: None: a unix socket."""

    place: Place
    number: int | None
    table: ListenerTable

    @property
    def name(self) -> str:
        """The listener's name; empty: it has none."""
        return self.table.name or ""


def read_ports(records: Records, has_records: bool, entries: Sequence[Entry], notes: Notes) -> list[Port]:
    """The listeners: the ports with ``ssl``.

    @param has_records: whether records were given. If not, the listeners have the ports that entries name.
    """
    record = records.get("http.server_ports")
    if record is None:
        return _without_records(has_records, entries, notes)
    found: list[Port] = []
    for text in re.split(r"[ ,]+", record.value):
        port = _port(text, record.place, notes)
        if port is not None:
            found.append(port)
    if not found:
        notes.left_out(record.place, "no port has ssl, and TLS is what is routed here", decides=True)
    allowed = records.get("http.proxy_protocol_allowlist", "http.proxy_protocol_whitelist")
    for number, port in enumerate(found):
        if port.table.proxy_protocol is not None:
            senders = _senders(port.place, allowed, notes)
            found[number] = attrs.evolve(port, table=replace(port.table, proxy_protocol_from=senders))
    return _named(found)


def _senders(place: Place, allowed: Record | None, notes: Notes) -> list[str]:
    """The peers whose headers are believed."""
    if allowed is not None:
        try:
            return networks(split_list(allowed.value))
        except BadAddresses as error:
            notes.left_out(allowed.place, f"{error}; no header is believed", decides=True)
            return ["127.0.0.1/32"]
    notes.different(
        place,
        "pp without proxy_protocol_allowlist believes everyone: list your load balancers in proxy_protocol_from",
    )
    return _EVERYWHERE


def _without_records(has_records: bool, entries: Iterable[Entry], notes: Notes) -> list[Port]:
    ranges = [one for entry in entries for one in (() if entry.ports == ALL_PORTS else entry.ports)]
    numbers = sorted(
        {number for first, last in ranges for number in range(first, min(last, first + MAX_LISTENERS) + 1)}
    )
    is_much = len(numbers) > MAX_LISTENERS
    if is_much:
        numbers = []
    place = Place("records.yaml", key="proxy.config.http.server_ports")
    why = "is not set" if has_records else "is not given"
    shown = ", ".join(map(str, numbers or [DEFAULT_PORT]))
    notes.different(
        place, f"{why}: listens on port {shown}; give records.yaml too, or write the endpoint", decides=is_much
    )
    tables = [(number, ListenerTable(endpoint=f"tcp:{number}")) for number in numbers or [DEFAULT_PORT]]
    return _named([Port(Place(""), number, table) for number, table in tables])


def _port(text: str, place: Place, notes: Notes) -> Port | None:
    """A port descriptor (``4443:ssl:ip-in=192.0.2.1``). None: it is no TLS port, which is noted."""
    number, path, address, is_v6 = 0, "", "", False
    flags: set[str] = set()
    for item in _items(text):
        word, _, value = item.partition("=")
        word = word.lower()
        if item.startswith("/"):
            path = item
        elif item[0].isdigit():
            number = int(item) if item.isascii() and item.isdigit() and len(item) <= 5 else 0
        elif word.startswith("ip-in"):
            address = _address(value or item[len("ip-in") :])
            if not address:
                notes.left_out(place, f"{text}: {item}: no IP address", decides=True)
                return None
        elif word == "ipv6":
            is_v6 = True
        else:
            flags.add(word)
    if "ssl" not in flags:
        what = "QUIC is not routed here" if "quic" in flags else "a port for HTTP without TLS"
        notes.left_out(place, f"{text}: {what}")
        return None
    if not path and not 1 <= number <= 65535:
        notes.left_out(place, f"{text}: no port from 1 to 65535", decides=True)
        return None
    for flag in sorted(flags - {"ssl", "pp"}):
        _note_flag(text, flag, place, notes)
    endpoint = f"unix:{path}" if path else _endpoint(number, address, is_v6)
    table = ListenerTable(endpoint=endpoint, proxy_protocol="optional" if "pp" in flags else None)
    notes.taken(place, f"{text}: a listener on {endpoint}")
    return Port(place, None if path else number, table)


def _note_flag(text: str, flag: str, place: Place, notes: Notes) -> None:
    if flag.startswith(_QUIET):
        return
    why = next((why for word, why in _LEFT_OUT.items() if flag == word), None)
    why = why or next((why for word, why in _LEFT_OUT.items() if flag.startswith(f"{word}=")), "unknown option")
    notes.left_out(place, f"{text}: {flag}: {why}")


def _items(text: str) -> Iterator[str]:
    """The parts of a descriptor; colons in brackets belong to an address."""
    yield from (item for item in re.findall(r"(?:\[[^\]]*\]?|[^:\[])+", text) if item)


def _address(text: str) -> str:
    return ip_literal(text.strip("=[]")) or ""


def _endpoint(number: int, address: str, is_v6: bool) -> str:
    kind = "tcp6" if ":" in address or is_v6 else "tcp"
    escaped = address.replace(":", r"\:")
    return f"{kind}:{number}:interface={escaped}" if address else f"{kind}:{number}"


def _named(ports: Sequence[Port]) -> list[Port]:
    """Each endpoint once; with a name if there are several."""
    by_address = {(one.table.endpoint, parse_endpoint(one.table.endpoint).host): one for one in reversed(ports)}
    found = list(reversed(by_address.values()))
    if len(found) < 2:
        return found
    names: set[str] = set()
    for at, port in enumerate(found):
        first = f"port-{port.number}" if port.number is not None else "unix"
        name, count = first, 1
        while name in names:
            count += 1
            name = f"{first}-{count}"
        names.add(name)
        found[at] = attrs.evolve(port, table=replace(port.table, name=name))
    return found
