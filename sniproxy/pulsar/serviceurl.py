"""Pulsar's service URLs, and the two settings with which PIP-60 puts a proxy in front of them. Pure.

PIP-60 ("Support Proxy server with SNI routing") gives a client ``proxyServiceUrl`` and ``proxyProtocol`` beside its
service URL. They have the same names here, in Python's spelling.
"""

from __future__ import annotations

import enum

import attrs

from sniproxy.util.names import BadName, host_port, server_name
from sniproxy.util.text import bounded

PLAIN_PORT = 6650
"""The port of ``pulsar://`` where the URL has none."""

TLS_PORT = 6651
"""The port of ``pulsar+ssl://`` where the URL has none."""

_SCHEMES = {"pulsar": False, "pulsar+ssl": True}


class BadServiceURL(ValueError):
    """A service URL, or one of PIP-60's settings, that cannot be used; the message names it, its value and the cure."""


class ProxyProtocol(enum.Enum):
    """How a client tells the proxy which broker it means."""

    SNI = "SNI"
    """By the server name in TLS: PIP-60's only way so far."""


@attrs.frozen
class ServiceURL:
    """Where a Pulsar cluster, or one broker, is found.

    @ivar tls: whether connections are TLS.
    @ivar hosts: at least one; host names are normalised, IPv6 addresses have no brackets, ports are 1 to 65535.
    """

    tls: bool
    hosts: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """As a URL, with every port written out."""
        scheme = "pulsar+ssl" if self.tls else "pulsar"
        return f"{scheme}://{','.join(host_port(host, port) for host, port in self.hosts)}"


@attrs.frozen
class SniProxy:
    """The proxy that is dialled for every connection, by PIP-60's protocol ``SNI``."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@attrs.frozen
class ProxySettings:
    """A service URL, and the proxy in front of it.

    @ivar proxy: None: brokers are dialled directly.
    """

    service_url: ServiceURL
    proxy: SniProxy | None


def parse_service_url(text: str, what: str = "service URL") -> ServiceURL:
    """Read ``pulsar+ssl://host[:port][,host[:port]...][/]`` or the same with ``pulsar://``.

    @param what: what a message calls the URL.
    @raise BadServiceURL: it is something else.
    """
    tls, hosts = _taken_apart(text, what)
    port = TLS_PORT if tls else PLAIN_PORT
    return ServiceURL(tls, tuple((host, port if own is None else own) for host, own in hosts))


def host_and_port(text: str, what: str) -> tuple[str, int | None]:
    """Read ``host[:port]``, an IPv6 address in brackets; the port is None where none is written.

    @param what: what a message calls the text.
    @raise BadServiceURL: it is something else.
    """
    return _host(text, f"{what} {bounded(text)!r}")


def pip60(
    service_url: str, proxy_service_url: str | None = None, proxy_protocol: ProxyProtocol | str | None = None
) -> ProxySettings:
    """Check PIP-60's two settings together with the service URL that they belong to.

    Both are given or none. The service URL must be TLS: without a server name there is nothing to route by. (Java
    clients drop the proxy there without a word.) The proxy's URL needs a port, because the default one is a broker's;
    its scheme, ``pulsar+ssl://`` or ``pulsar://``, means nothing, as with Java clients.

    @raise BadServiceURL: something is missing or wrong.
    """
    service = parse_service_url(service_url, "service_url")
    if proxy_service_url is None and proxy_protocol is None:
        return ProxySettings(service, None)
    if proxy_service_url is None:
        raise BadServiceURL(
            "proxy_protocol is given without proxy_service_url; "
            "add the proxy's URL, as in pulsar+ssl://proxy.example.com:4443, or leave both out"
        )
    if proxy_protocol is None:
        raise BadServiceURL(
            f"proxy_service_url {bounded(proxy_service_url)!r} is given without proxy_protocol; "
            "add SNI, or leave both out"
        )
    if not isinstance(proxy_protocol, ProxyProtocol) and proxy_protocol not in ProxyProtocol.__members__:
        known = ", ".join(ProxyProtocol.__members__)
        raise BadServiceURL(f"proxy_protocol {bounded(proxy_protocol)!r} is not known; there is {known}")
    _, hosts = _taken_apart(proxy_service_url, "proxy_service_url")
    shown = bounded(proxy_service_url)
    if len(hosts) > 1:
        raise BadServiceURL(f"proxy_service_url {shown!r} names {len(hosts)} hosts; write one")
    ((host, port),) = hosts
    if port is None:
        raise BadServiceURL(f"proxy_service_url {shown!r} has no port; write the proxy's own, as in {host}:4443")
    if not service.tls:
        raise BadServiceURL(
            f"service_url {bounded(service_url)!r} is not TLS, and a proxy routes by the server name in TLS; "
            "write pulsar+ssl:// and the brokers' TLS port, or leave the proxy out"
        )
    return ProxySettings(service, SniProxy(host, port))


def _taken_apart(text: str, what: str) -> tuple[bool, list[tuple[str, int | None]]]:
    """Whether it is TLS, and the hosts with the ports that are written."""
    # What stands before an "@" may be a password: it is not shown.
    shown = f"{what} {bounded(text)!r}" if "@" not in text else what
    scheme, separator, rest = text.partition("://")
    tls = _SCHEMES.get(scheme.lower())
    if not separator or tls is None:
        cure = "it begins with pulsar+ssl:// (TLS) or pulsar://"
        if scheme.lower() in ("http", "https"):
            cure += "; PIP-60 knows no lookups over HTTP"
        raise BadServiceURL(f"{shown}: {cure}, as in pulsar+ssl://broker.example.com:6651")
    authority = rest.removesuffix("/")
    if "@" in authority:
        raise BadServiceURL(f"{shown}: it holds a user or a password; a service URL has none")
    for mark in "/?#":
        if mark in authority:
            raise BadServiceURL(f"{shown}: {mark!r} behind the hosts; a service URL ends with its last host or port")
    return tls, [_host(part, shown) for part in authority.split(",")]


def _host(text: str, shown: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadServiceURL(f"{shown}: an IPv6 address is written as in [2001:db8::7]:6651")
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = text.partition(":")
        if ":" in port:
            raise BadServiceURL(f"{shown}: more than one colon in {bounded(text)!r}; put an IPv6 address in brackets")
    try:
        name = server_name(host)
    except BadName as error:
        raise BadServiceURL(f"{shown}: bad host {bounded(host)!r}: {error}") from error
    # Brackets around anything else would be lost in the normalised form.
    if text.startswith("[") and ":" not in name:
        raise BadServiceURL(f"{shown}: {bounded(host)!r} is no IPv6 address; leave the brackets out")
    if not separator:
        return name, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise BadServiceURL(f"{shown}: bad port {bounded(port)!r}: it is a number from 1 to 65535")
    return name, int(port)
