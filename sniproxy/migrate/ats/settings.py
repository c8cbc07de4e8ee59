"""Timeouts, limits and the destination policy, and what is not read. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from sniproxy.config.schema import LimitsTable, PolicyTable, Timeouts
from sniproxy.migrate.ats.addresses import BadAddresses, networks
from sniproxy.migrate.ats.destinations import Destination
from sniproxy.migrate.ats.files import Files
from sniproxy.migrate.ats.ports import Port
from sniproxy.migrate.ats.records import Records
from sniproxy.migrate.ats.rules import Routed
from sniproxy.migrate.formed import formed_policy
from sniproxy.migrate.model import Imported, Notes, Place
from sniproxy.migrate.yamlnodes import YamlNode

"""Where brokers usually are (RFC 1918, RFC 4193)."""

MAX_PORTS = 256
"""Most ports of a range in C{connect_ports} that C{allow_ports} gets."""

MAX_NAMES = 4
"""Names of settings in one line of the report."""

_CONNECT_PORTS = "http.connect_ports"
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NO_COUNTERPART = {
    "http.transaction_active_timeout_in": "a tunnel has no maximum age here; Traffic Server ends it, busy or not",
    "net.default_inactivity_timeout": "[timeouts] idle ends silent tunnels",
    "net.connections_throttle": "it counts connections to targets, too; here the limit of open files does",
    "http.per_server.connection.max": "write max_connections in the routes",
    "http.connect_attempts_max_retries": "each target of a route is tried once",
    "hostdb.host_file.path": "names are looked up by the system: add these to /etc/hosts",
    "dns.nameservers": "names are looked up by the system; the resolver dns has servers",
    "ssl.servername.filename": "the file is read under the name that is given",
    "tunnel.prewarm.enabled": "targets are dialled when clients come",
    "dns.resolv_conf": "names are looked up by the system; the resolver dns has servers",
}
_ROUTING = re.compile(r"proxy\.config\.(?:ssl|dns|hostdb|net|tunnel|socks)\.")


def set_tables(found: Imported, records: Records) -> None:
    """Set C{timeouts} and C{limits}."""
    notes, timeouts = found.report, Timeouts()
    idle = [
        one
        for way in ("in", "out")
        if (one := records.number(f"http.transaction_no_activity_timeout_{way}", notes)) is not None and one[0] > 0
    ]
    if idle:
        seconds, record = min(idle, key=lambda one: one[0])
        timeouts = replace(timeouts, idle=float(seconds))
        notes.taken(record.place, f"[timeouts] idle = {seconds}")
    else:
        place = Place("records.yaml", key="proxy.config.http.transaction_no_activity_timeout_in")
        why = (
            f"not set: Traffic Server ends silent tunnels after 30 s, this after {timeouts.idle:g} s ([timeouts] idle)"
        )
        notes.different(place, why)
    for name, key in (("http.connect_attempts_timeout", "connect"), ("ssl.handshake_timeout_in", "hello")):
        one = records.number(name, notes)
        if one is not None and one[0] > 0:
            timeouts = replace(timeouts, **{key: float(one[0])})
            notes.taken(one[1].place, f"[timeouts] {key} = {one[0]}")
    found.timeouts = timeouts
    limits = LimitsTable()
    for name, key in (
        ("net.max_connections_in", "max_connections"),
        ("net.per_client.max_connections_in", "max_connections_per_client"),
    ):
        one = records.number(name, notes)
        if one is not None and one[0] > 0:
            limits = replace(limits, **{key: one[0]})
            notes.taken(one[1].place, f"[limits] {key} = {one[0]}")
    found.limits = limits


def set_policy(
    found: Imported, routed: Sequence[Routed], ports: Sequence[Port], records: Records, files: Files
) -> None:
    """Set C{policy} if the name or the header becomes part of a target."""
    notes, record = found.report, records.get(_CONNECT_PORTS)
    destinations = [one.destination for one in routed if one.destination is not None]
    connect = None if record is None else _port_list(record.value)
    place = record.place if record else Place("records.yaml", key=f"proxy.config.{_CONNECT_PORTS}")
    if record is not None and connect is not None:
        own = {port.number for port in ports if port.number is not None}
        used = [own if one.target.endswith(":{port}") else {one.port} for one in destinations]
        unlisted = sorted(set().union(*used) - connect - {0})
        if unlisted:
            shown = ", ".join(map(str, unlisted[:MAX_NAMES])) + (" ..." if len(unlisted) > MAX_NAMES else "")
            why = f"does not list {shown}, which targets have: Traffic Server 9 refuses them, this does not"
            notes.different(place, why)
    formed = [one for one in destinations if one.formed or one.header]
    out = _out_networks(files.ip_allow, notes)
    if not formed:
        if record is not None:
            notes.left_out(place, "not needed: no target is formed by a name")
        return
    allowed = _allowed_ports(formed, ports, connect, record is not None and connect is None, place, notes)
    if out is None:
        found.policy = formed_policy(allowed, formed_place(routed), notes)
    else:
        found.policy = PolicyTable(allow_cidrs=out, allow_ports=sorted(allowed) or None)


def formed_place(routed: Sequence[Routed]) -> Place:
    """The place of the first entry whose names form targets."""
    made = (one for one in routed if one.destination is not None and (one.destination.formed or one.destination.header))
    return next(made).entry.place


def _allowed_ports(
    formed: Sequence[Destination],
    ports: Sequence[Port],
    connect: set[int] | None,
    is_any: bool,
    place: Place,
    notes: Notes,
) -> set[int]:
    """The ports of targets that names form: those written, and the listed ones where a connection gives the port."""
    found = {one.port for one in formed if one.port}
    dynamic = [one for one in formed if one.dynamic]
    if not dynamic:
        return found
    if connect is not None:
        notes.taken(place, "[policy] allow_ports")
        return found | connect
    own = {port.number for port in ports if port.number is not None}
    if any(not one.target.endswith(":{port}") for one in dynamic):
        why = "any port" if is_any else "port 443 only, if it is not set"
        notes.left_out(place, f"{why}: list the brokers' ports in [policy] allow_ports", decides=True)
        return found | {443} if not is_any else found | own
    return found | own


def _port_list(text: str) -> set[int] | None:
    """The ports of C{connect_ports}. None: any, or too many."""
    found: set[int] = set()
    for item in re.split(r"[ ,]+", text):
        match = _RANGE.fullmatch(item)
        if match is None:
            if item == "*":
                return None
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MAX_PORTS:
            return None
        found |= {port for port in range(first, last + 1) if 1 <= port <= 65535}
    return found


def _out_networks(rules: Iterable[YamlNode], notes: Notes) -> list[str] | None:
    """The networks that C{ip_allow.yaml} allows as destinations. None: it does not say.

    Rules for clients that close the port to some are reported.
    """
    allowed: list[str] | None = None
    for items in rules:
        open_to: set[int] = set()
        for item in items.list():
            keys = dict(item.items())
            where, action = _text(keys, "apply"), _text(keys, "action").removeprefix("set_")
            methods = {one.text().upper() for one in keys["methods"].list()} if "methods" in keys else {"ALL"}
            allows = (action == "allow") == bool(methods & {"ALL", "CONNECT"})
            addresses = keys.get("ip_addrs")
            try:
                found = networks([] if addresses is None else [one.text() for one in addresses.list()])
            except BadAddresses as error:
                notes.left_out(item.place, f"{error}", decides=True)
                continue
            if where == "in":
                for text in found:
                    network = ipaddress.ip_network(text)
                    if not allows and network.version not in open_to:
                        notes.left_out(
                            item.place, f"clients of {text} are refused: write only_from in the routes", decides=True
                        )
                    elif allows and network.prefixlen == 0:
                        open_to.add(network.version)
            elif where == "out" and allows:
                allowed = [*(allowed or []), *found]
        if any(_text(dict(one.items()), "apply") == "in" for one in items.list()) and 4 not in open_to:
            why = "only some clients may connect: write only_from in the routes, or a firewall"
            notes.left_out(items.place, why, decides=True)
    wide = [text for text in allowed or [] if ipaddress.ip_network(text).prefixlen == 0]
    if allowed is None or wide:
        return None
    return allowed


def _text(keys: dict[str, YamlNode], key: str) -> str:
    return keys[key].text().strip().lower() if key in keys else ""


def note_rest(records: Records, files: Files, notes: Notes) -> None:
    """Report what was not read."""
    quiet: dict[str, list[str]] = {}
    for name, record in records.rest():
        short = name.removeprefix("proxy.config.")
        if short in _NO_COUNTERPART:
            notes.left_out(record.place, _NO_COUNTERPART[short])
        elif _ROUTING.match(name) and record.value:
            notes.left_out(record.place, "no counterpart where TLS passes through")
        else:
            quiet.setdefault(record.place.file, []).append(f"{name} (line {record.place.line})")
    for file, names in quiet.items():
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        notes.left_out(Place(file), f"about HTTP, caching and others: {', '.join(names[:MAX_NAMES])}{more}")
    for other in files.others:
        notes.left_out(Place(other.name), "not read: it is not about SNI routing")
