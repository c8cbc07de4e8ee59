"""The entries of ``sni.yaml``: a pattern of names, ports, and what happens with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.model import Notes, Place
from sniproxy.migrate.yamlnodes import YamlNode

FQDN, PORTS, IP_ALLOW = "fqdn", "inbound_port_ranges", "ip_allow"
TUNNEL, FORWARD, PARTIAL = "tunnel_route", "forward_route", "partial_blind_route"
ROUTES = (TUNNEL, FORWARD, PARTIAL)
"""In the order in which Traffic Server looks for them: it takes the first."""

TLS_KEYS = frozenset({
    "verify_client", "verify_client_ca_certs", "verify_server_policy", "verify_server_properties",
    "verify_origin_server", "client_cert", "client_key", "client_sni_policy", "tunnel_alpn",
    "server_cipher_suite", "server_TLSv1_3_cipher_suites", "server_groups_list", "ssl_ticket_enabled",
    "ssl_ticket_number", "valid_tls_versions_in", "valid_tls_version_min_in", "valid_tls_version_max_in",
    "server_max_early_data",
})  # fmt: skip
"""Keys about TLS that Traffic Server ends."""

HTTP_KEYS = frozenset({
    "http2", "disable_h2", "quic", "host_sni_policy", "http2_buffer_water_mark", "http2_initial_window_size_in",
    "http2_max_settings_frames_per_minute", "http2_max_ping_frames_per_minute",
    "http2_max_priority_frames_per_minute", "http2_max_rst_stream_frames_per_minute",
    "http2_max_continuation_frames_per_minute", "http2_max_empty_frames_per_minute",
})  # fmt: skip
"""Keys about HTTP."""

PREWARM_KEYS = frozenset({
    "tunnel_prewarm", "tunnel_prewarm_min", "tunnel_prewarm_max", "tunnel_prewarm_rate",
    "tunnel_prewarm_connect_timeout", "tunnel_prewarm_inactive_timeout", "tunnel_prewarm_srv",
})  # fmt: skip
"""Keys about connections that are opened before clients come; only where Traffic Server ends TLS."""

ALL_PORTS = ((1, 65535),)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@attrs.frozen
class Entry:
    """An entry.

    @ivar fqdn: the pattern as written; empty: for hellos without a name.
    @ivar ports: the first and last port of each range of the listeners' ports.
    @ivar route: the key of its destination, of L{ROUTES}. Empty: it has none, and Traffic Server ends TLS.
    @ivar destination: as written. @ivar keys: the other keys, as written.
    """

    fqdn: str
    place: Place
    ports: Sequence[tuple[int, int]] = ALL_PORTS
    route: str = ""
    destination: str = ""
    keys: Mapping[str, YamlNode] = attrs.field(factory=dict)

    def text(self, key: str) -> str:
        """The text of one of the other keys, the items of a list with commas between; empty: it is absent."""
        node = self.keys.get(key)
        return "" if node is None else ",".join(one.text() for one in node.list()).strip()

    def place_of(self, key: str) -> Place:
        """The place of a key."""
        node = self.keys.get(key)
        return self.place if node is None else attrs.evolve(node.place, key=key)

    def has_port(self, port: int | None) -> bool:
        """Whether it is for a listener's port. @param port: None: a unix socket."""
        return port is None or any(first <= port <= last for first, last in self.ports)


def read_entries(items: YamlNode, notes: Notes) -> list[Entry]:
    """The entries of a list, in order. An entry that cannot be one is left out with a note."""
    if not isinstance(items.value, list):
        notes.left_out(items.place, "no list of entries; each begins with '- fqdn:'", decides=True)
        return []
    found = [_entry(item, notes) for item in items.value]
    return [entry for entry in found if entry is not None]


def _entry(item: YamlNode, notes: Notes) -> Entry | None:
    keys = dict(item.items())
    name = keys.pop(FQDN, None)
    if name is None or name.value is None or isinstance(name.value, list | dict):
        notes.left_out(attrs.evolve(item.place, key=FQDN), "no fqdn; Traffic Server reads no such file", decides=True)
        return None
    place = attrs.evolve(item.place, line=name.place.line, key=FQDN)
    ranges = keys.pop(PORTS, None)
    ports = ALL_PORTS if ranges is None else _ports(ranges, notes)
    if ports is None:
        return None
    route = next((key for key in ROUTES if key in keys), "")
    for other in ROUTES:
        if other != route and other in keys:
            where = attrs.evolve(keys.pop(other).place, key=other)
            notes.left_out(where, f"Traffic Server ignores it beside {route}")
    destination = keys.pop(route).text().strip() if route else ""
    # An empty destination is none.
    return Entry(name.text().strip(), place, ports, route if destination else "", destination, keys)


def _ports(ranges: YamlNode, notes: Notes) -> Sequence[tuple[int, int]] | None:
    """The ranges of ``inbound_port_ranges``; None: one is wrong, and Traffic Server reads no such file."""
    found = []
    for one in ranges.list():
        match = _RANGE.fullmatch(one.text().strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 65535:
            why = f"{one.text()!r} is no port or range of ports; write 443 or 8080-8086"
            notes.left_out(attrs.evolve(one.place, key=PORTS), why, decides=True)
            return None
        found.append((first, last))
    return found
