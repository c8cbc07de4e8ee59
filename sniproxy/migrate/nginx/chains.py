"""Servers of nginx that pass connections to other servers of the same file, by a unix socket or on loopback. Pure.

They do so because some directives, as C{proxy_protocol}, are a server's and not a name's. Here they are a route's, so
names go to the last server's target directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.listening import Address
from sniproxy.migrate.nginx.servers import Server
from sniproxy.util.names import host_port

MAX_LENGTH = 5
"""Maximum servers that a connection passes."""

_LOOPBACK = {"0.0.0.0": ("127.0.0.1", "localhost"), "::": ("::1",), "127.0.0.1": ("127.0.0.1", "localhost")}


@attrs.frozen
class Link:
    """A server that others may pass connections to, and where it listens."""

    server: Server
    address: Address


def links_of(servers: Sequence[Server]) -> Mapping[str, Link]:
    """The servers by each text that C{proxy_pass} and upstreams can name them by. Those of one address that are chosen
    by name are left out, as are those that terminate TLS."""
    found: dict[str, Link] = {}
    shared: set[str] = set()
    for server in servers:
        for listen in server.listens:
            for text in _texts(listen.address):
                if text in found and found[text].server is not server:
                    shared.add(text)
                found[text] = Link(server, listen.address)
    return {text: link for text, link in found.items() if text not in shared and not link.server.ends_tls}


def _texts(address: Address) -> list[str]:
    if address.host == "unix":
        return [f"unix:{address.path}"]
    return [host_port(host, address.port) for host in _LOOPBACK.get(address.host, (address.host,))]
