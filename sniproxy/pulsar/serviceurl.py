"""Reads Pulsar service URLs and PIP-60's two proxy settings. Pure.

PIP-60 ("Support Proxy server with SNI routing") adds the client settings ``proxyServiceUrl`` and ``proxyProtocol`` to
the service URL. Here they are called ``proxy_service_url`` and ``proxy_protocol``.
"""

from __future__ import annotations

import enum

import attrs

from sniproxy.util.names import BadName, host_port, server_name
from sniproxy.util.text import bounded

PLAIN_PORT = 6650
"""Default port of ``pulsar://``."""

TLS_PORT = 6651
"""Default port of ``pulsar+ssl://``."""

_SCHEMES = {"pulsar": False, "pulsar+ssl": True}


class BadServiceURL(ValueError):
    """A service URL or PIP-60 setting is invalid. The message has its name, its value and the cure."""


class ProxyProtocol(enum.Enum):
    """How a client tells the proxy which broker it wants."""

    SNI = "SNI"
    """By the server name in TLS, the only protocol that PIP-60 defines."""


_PROTOCOLS = frozenset(name.lower() for name in ProxyProtocol.__members__)


@attrs.frozen
class ServiceURL:
    """The address of a Pulsar cluster or broker.

    @ivar tls: whether connections use TLS.
    @ivar hosts: at least one host and port. Host names are normalised, IPv6 addresses have no brackets, ports are 1 to
        65535.
    """

    tls: bool
    hosts: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """The URL, with all ports written out."""
        scheme = "pulsar+ssl" if self.tls else "pulsar"
        return f"{scheme}://{','.join(host_port(host, port) for host, port in self.hosts)}"


@attrs.frozen
class SniProxy:
    """The proxy to dial for every connection, with PIP-60's protocol ``SNI``."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@attrs.frozen
class ProxySettings:
    """A service URL and its proxy.

    @ivar proxy: the proxy to dial. None: dial brokers directly.
    """

    service_url: ServiceURL
    proxy: SniProxy | None


def parse_service_url(text: str, what: str = "service URL") -> ServiceURL:
    """Read ``pulsar+ssl://host[:port][,host[:port]...][/]`` or the same with ``pulsar://``.

    @param what: the URL's name in error messages.
    @raise BadServiceURL: the text is not such a URL.
    """
    tls, hosts = _parse_url(text, what)
    port = TLS_PORT if tls else PLAIN_PORT
    return ServiceURL(tls, tuple((host, port if own is None else own) for host, own in hosts))


def host_and_port(text: str, what: str) -> tuple[str, int | None]:
    """Read ``host[:port]``, with an IPv6 address in brackets. Without a port, the port is None.

    @param what: the text's name in error messages.
    @raise BadServiceURL: the text is not a host, or its port is not a number from 1 to 65535.
    """
    return _host(text, f"{what} {bounded(text)!r}")


def pip60(
    service_url: str, proxy_service_url: str | None = None, proxy_protocol: ProxyProtocol | str | None = None
) -> ProxySettings:
    """Check PIP-60's two settings together with their service URL.

    Both settings are required, or none. The service URL must use TLS, because a proxy routes by the server name. (Java
    clients silently ignore the proxy if it does not.) The proxy's URL needs a port, because the default port is a
    broker's. Its scheme, ``pulsar+ssl://`` or ``pulsar://``, is ignored, as in Java clients. The protocol's name may be
    in any case, as in Pulsar's command-line tools.

    @raise BadServiceURL: a setting is missing or invalid.
    """
    service = parse_service_url(service_url, "service_url")
    if proxy_service_url is None and proxy_protocol is None:
        return ProxySettings(service, None)
    if proxy_service_url is None:
        raise BadServiceURL(
            "proxy_protocol is set without proxy_service_url; "
            "add the proxy's URL, such as pulsar+ssl://proxy.example.com:4443, or remove proxy_protocol"
        )
    if proxy_protocol is None:
        raise BadServiceURL(
            f"proxy_service_url {bounded(proxy_service_url)!r} is set without proxy_protocol; "
            "set proxy_protocol to SNI, or remove proxy_service_url"
        )
    if not isinstance(proxy_protocol, ProxyProtocol) and proxy_protocol.lower() not in _PROTOCOLS:
        known = ", ".join(ProxyProtocol.__members__)
        raise BadServiceURL(f"unknown proxy_protocol {bounded(proxy_protocol)!r}; write {known}")
    _, hosts = _parse_url(proxy_service_url, "proxy_service_url")
    shown = bounded(proxy_service_url)
    if len(hosts) > 1:
        raise BadServiceURL(f"proxy_service_url {shown!r} has {len(hosts)} hosts; write one")
    ((host, port),) = hosts
    if port is None:
        raise BadServiceURL(f"proxy_service_url {shown!r} has no port; add the proxy's port, as in {host}:4443")
    if not service.tls:
        raise BadServiceURL(
            f"service_url {bounded(service_url)!r} does not use TLS, and a proxy routes by TLS's server name; "
            "write pulsar+ssl:// and the brokers' TLS port, or remove the proxy settings"
        )
    return ProxySettings(service, SniProxy(host, port))


def _parse_url(text: str, what: str) -> tuple[bool, list[tuple[str, int | None]]]:
    """Read a URL: whether it uses TLS, its hosts, and their ports or None."""
    # Text before an "@" may be a password, so the URL is not shown.
    shown = f"{what} {bounded(text)!r}" if "@" not in text else what
    scheme, separator, rest = text.partition("://")
    tls = _SCHEMES.get(scheme.lower())
    if not separator or tls is None:
        cure = "write pulsar+ssl:// (TLS) or pulsar://, as in pulsar+ssl://broker.example.com:6651"
        if scheme.lower() in ("http", "https"):
            cure += "; PIP-60 does not support lookups over HTTP"
        raise BadServiceURL(f"{shown}: {cure}")
    authority = rest.removesuffix("/")
    if "@" in authority:
        raise BadServiceURL(f"{shown}: a service URL must not contain a user or a password")
    for mark in "/?#":
        if mark in authority:
            raise BadServiceURL(f"{shown}: {mark!r} after the hosts; a service URL ends with its last host or port")
    return tls, [_host(part, shown) for part in authority.split(",")]


def _host(text: str, shown: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadServiceURL(f"{shown}: write an IPv6 address as in [2001:db8::7]:6651")
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = text.partition(":")
        if ":" in port:
            raise BadServiceURL(f"{shown}: more than one colon in {bounded(text)!r}; write an IPv6 address in brackets")
    try:
        name = server_name(host)
    except BadName as error:
        raise BadServiceURL(f"{shown}: bad host {bounded(host)!r}: {error}") from error
    # The normalised form would lose brackets around anything else.
    if text.startswith("[") and ":" not in name:
        raise BadServiceURL(f"{shown}: {bounded(host)!r} is not an IPv6 address; remove the brackets")
    if not separator:
        return name, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise BadServiceURL(f"{shown}: bad port {bounded(port)!r}: write a number from 1 to 65535")
    return name, int(port)
