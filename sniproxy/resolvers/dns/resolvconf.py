"""Parses resolv.conf(5) and addresses of name servers. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

import attrs

from sniproxy.util.names import BadName, ip_literal, server_name

Server = tuple[str, int]
"""Address and port."""

MAX_SERVERS = 3
"""Name servers that libc uses of a resolv.conf."""

MAX_NDOTS, MAX_TIMEOUT, MAX_ATTEMPTS = 15, 30, 5
"""The limits of libc (resolv.conf(5)); the timeout is in seconds."""

LOCAL: tuple[Server, ...] = (("127.0.0.1", 53),)
"""The name server if resolv.conf has none."""


@attrs.frozen
class ResolvConf:
    """The settings of a resolv.conf.

    @ivar servers: in the order in which they are queried.
    @ivar search: domains without a trailing dot that are appended to short names. Empty text: the root.
    @ivar ndots: a name with at least this many dots is first looked up unchanged.
    @ivar timeout: seconds to wait for an answer after the last query.
    @ivar attempts: queries to each server.
    @ivar rotate: whether each lookup starts with the next server.
    """

    servers: tuple[Server, ...] = LOCAL
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = 5.0
    attempts: int = 2
    rotate: bool = False

    def candidates(self, name: str) -> list[str]:
        """The full names to try for a name, in the order of libc, without repetitions."""
        if ip_literal(name) is not None:
            return [name]
        searched = [f"{name}.{domain}" if domain else name for domain in self.search]
        as_it_is_first = name.count(".") >= self.ndots
        ordered = [name, *searched] if as_it_is_first else [*searched, name]
        return [full for full in dict.fromkeys(ordered) if _is_name(full)]


def parse_resolv_conf(text: str, host_name: str = "", environ: Mapping[str, str] | None = None) -> ResolvConf:
    """Parse a resolv.conf as libc does. Invalid lines are ignored.

    @param text: the contents of the file.
    @param host_name: the machine's name. Its domain is the search list if the file has none.
    @param environ: C{LOCALDOMAIN} replaces the search list, C{RES_OPTIONS} adds to the options.
    """
    environ = environ or {}
    servers: list[Server] = []
    domain = host_name.partition(".")[2]
    search = [domain] if domain else []
    options: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(("#", ";")):
            continue
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words:
            try:
                address = str(ipaddress.ip_address(words[0]))
            except ValueError:
                continue
            # A zone, as in fe80::1%eth0, may be any text.
            if address.isascii() and address.isprintable():
                servers.append((address, 53))
        elif keyword == "domain" and words:
            search = words[:1]
        elif keyword == "search":
            search = words
        elif keyword == "options":
            options |= _options(words)
    if "LOCALDOMAIN" in environ:
        search = environ["LOCALDOMAIN"].split()
    options |= _options(environ.get("RES_OPTIONS", "").split())
    return ResolvConf(
        tuple(servers[:MAX_SERVERS]) or LOCAL,
        tuple(one.rstrip(".").lower() for one in search),
        _number(options.get("ndots"), 1, 0, MAX_NDOTS),
        float(_number(options.get("timeout"), 5, 1, MAX_TIMEOUT)),
        _number(options.get("attempts"), 2, 1, MAX_ATTEMPTS),
        "rotate" in options,
    )


def parse_server(text: str) -> Server:
    """Parse the address of a name server: C{192.0.2.53}, C{192.0.2.53:5353}, C{2001:db8::53}, C{[2001:db8::53]:5353}.

    @raise ValueError: the text has another form.
    """
    host, port = text.strip(), "53"
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(text)
        port = rest[1:] or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(text)
    return str(ipaddress.ip_address(host)), int(port)


def _options(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition(":") for word in words)}


def _number(text: str | None, default: int, least: int, most: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        return default
    return min(max(int(text[:9]), least), most)


def _is_name(name: str) -> bool:
    try:
        server_name(name)
    except BadName:  # too long with a search domain
        return False
    return True
