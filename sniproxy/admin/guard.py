"""Checks the Host, Origin and Authorization headers of HTTP requests. Pure.

A page of another site, open in the operator's browser, can send requests to loopback. The same-origin policy hides the
answers from it, unless its own name resolves to loopback (DNS rebinding): then its requests have that name as Host.
So Host must be the local address of the connection, C{localhost} or a configured name, and Origin (RFC 6454), if
present, must be the page of this endpoint.
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
"""Headers of every answer. There are no CORS headers: no other origin may read the answers."""

_AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/@]+))(?::[0-9]*)?", re.ASCII)


def host_refusal(hosts: Sequence[bytes], address: str | None, names: Collection[str]) -> str | None:
    """Why a request is refused for its Host headers; None if they are valid.

    @param hosts: the Host headers. None is allowed: browsers always send one, health checks with HTTP/1.0 do not.
    @param address: the local IP address of the connection; None for a Unix socket.
    @param names: valid names besides C{localhost}, in lower case.
    @return: the reason, for the body of the answer.
    """
    if len(hosts) > 1:
        return "more than one Host header"
    host = hosts[0].decode("latin-1") if hosts else None
    if host is not None and not _is_local_name(host, address, names):
        return "Host is not a name of this endpoint: use its address or localhost, or add the name to [admin] hosts"
    return None


def origin_refusal(hosts: Sequence[bytes], origins: Sequence[bytes]) -> str | None:
    """Why a request is refused for its Origin headers; None if they are valid.

    @param origins: the Origin headers. None is allowed: browsers omit it in requests of the same origin.
    """
    if len(origins) > 1:
        return "more than one Origin header"
    if origins:
        scheme, _, authority = origins[0].decode("latin-1").partition("://")
        host = hosts[0].decode("latin-1") if hosts else None
        if host is None or scheme not in ("http", "https") or authority.lower() != host.lower():
            return "Origin is another site"
    return None


def change_refusal(
    hosts: Sequence[bytes], unix: bool, authorization: Sequence[bytes], token: bytes | None
) -> str | None:
    """Why a request that changes state is refused, if its headers are valid; None if it is allowed.

    The mode of a Unix socket controls access to it. Over TCP, even from loopback, which every local user can reach, a
    request needs the token as a bearer token (RFC 6750, section 2.1).

    @param unix: whether the request came through a Unix socket. @param authorization: its Authorization headers.
    @param token: the token of the configuration, or None.
    """
    if unix:
        return None if hosts else "no Host header"
    if token is None:
        return 'this request needs a token or a Unix socket: set token_file in [admin], or endpoint = "unix:..."'
    if not hosts:
        return "no Host header"
    if len(authorization) == 1:
        scheme, _, credentials = authorization[0].partition(b" ")
        if scheme.lower() == b"bearer" and compare_digest(credentials.strip(), token):
            return None
    return (
        "missing or wrong token: send Authorization: Bearer with the content of [admin] token_file "
        "(sniproxyctl --token-file)"
    )


def _is_local_name(host: str, address: str | None, names: Collection[str]) -> bool:
    """Whether a Host header (RFC 9110, section 7.2) names this endpoint. Any port is valid: ports may be forwarded."""
    parts = _AUTHORITY.fullmatch(host)
    if parts is None:
        return False
    name = (parts[1] or parts[2]).lower()
    if name == "localhost" or name in names:
        return True
    host_ip, local_ip = _ip(name), _ip(address)
    return host_ip is not None and host_ip == local_ip


def _ip(text: str | None) -> IPv4Address | IPv6Address | None:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes IPv4."""
    try:
        ip = ip_address(text or "")
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip
