"""Whose HTTP requests are answered. Pure.

A page of another site, open in the operator's browser, can send requests to loopback. It cannot read the answers while
browsers keep origins apart, unless its own name is made to lead to loopback (DNS rebinding): then its requests have
that name as Host. So a request must name this endpoint by an address that it came to, by C{localhost}, or by a
configured name; and where it says whose script sent it (Origin, RFC 6454), that must be this endpoint's own page.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address

HEADERS = {
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"Server": b"sniproxy",
    b"X-Content-Type-Options": b"nosniff",
}
"""Of every answer. Nothing here is for another origin, so there is no header of CORS."""

_AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/@]+))(?::[0-9]*)?", re.ASCII)


def why_not(
    hosts: Sequence[bytes], origins: Sequence[bytes], address: str | None, names: Collection[str]
) -> str | None:
    """Why a request is refused.

    @param hosts: its Host headers. None is well: a browser always sends one, and health checks of HTTP/1.0 do not.
    @param origins: its Origin headers. None is well: browsers leave it out where the page itself asks.
    @param address: the IP address that the request came to; None: a unix socket.
    @param names: the names of this endpoint beyond C{localhost}, in lower case.
    @return: the reason, for the answer's body; None: it is not refused.
    """
    why = why_not_host(hosts, address, names)
    return why if why is not None else why_not_origin(hosts, origins)


def why_not_host(hosts: Sequence[bytes], address: str | None, names: Collection[str]) -> str | None:
    """As L{why_not}, of the Host headers."""
    if len(hosts) > 1:
        return "more than one Host"
    host = hosts[0].decode("latin-1") if hosts else None
    if host is not None and not _ours(host, address, names):
        return "Host is not a name of this endpoint: use its address or localhost, or add the name to admin.hosts"
    return None


def why_not_origin(hosts: Sequence[bytes], origins: Sequence[bytes]) -> str | None:
    """As L{why_not}, of the Origin headers."""
    if len(origins) > 1:
        return "more than one Origin"
    if origins:
        scheme, _, authority = origins[0].decode("latin-1").partition("://")
        host = hosts[0].decode("latin-1") if hosts else None
        if host is None or scheme not in ("http", "https") or authority.lower() != host.lower():
            return "Origin is another site"
    return None


def why_not_change(
    hosts: Sequence[bytes], unix: bool, authorization: Sequence[bytes], token: bytes | None
) -> str | None:
    """Why a request that changes something is refused, beyond L{why_not}; None: it is not.

    The mode of a unix socket says who may change something. Over TCP a request needs the token as a bearer token
    (RFC 6750, section 2.1), from this machine too: every user of the machine reaches loopback.

    @param unix: the request came by a unix socket. @param authorization: its Authorization headers.
    @param token: the secret; None: there is none.
    """
    if unix:
        return None if hosts else "without a Host"
    if token is None:
        return (
            "a request that changes something needs a token, or the unix socket: "
            'set token_file in [admin], or endpoint = "unix:..."'
        )
    if not hosts:
        return "without a Host"
    if len(authorization) == 1:
        scheme, _, said = authorization[0].partition(b" ")
        if scheme.lower() == b"bearer" and compare_digest(said.strip(), token):
            return None
    return (
        "the token is missing or wrong: send Authorization: Bearer with the content of [admin] token_file "
        "(sniproxyctl --token-file)"
    )


def _ours(host: str, address: str | None, names: Collection[str]) -> bool:
    """Whether a Host header (RFC 9110, section 7.2) names this endpoint; on whatever port, for the sake of tunnels."""
    parts = _AUTHORITY.fullmatch(host)
    if parts is None:
        return False
    name = (parts[1] or parts[2]).lower()
    if name == "localhost" or name in names:
        return True
    asked, bound = _ip(name), _ip(address)
    return asked is not None and asked == bound


def _ip(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address; one of IPv4 that came through a socket of IPv6, as IPv4."""
    try:
        ip = ip_address(text or "")
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip
