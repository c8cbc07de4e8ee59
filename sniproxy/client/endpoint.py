"""PIP-60 for Twisted's clients: an endpoint that dials the proxy, and means a broker.

PIP-60 ("Support Proxy server with SNI routing"): a client dials the proxy for every connection, and says in the server
name of TLS which broker it means. The broker's name is never resolved here, and its certificate is verified for that
name; nothing turns this off.

`SniProxyEndpoint` is an ``IStreamClientEndpoint``; its string form, for ``clientFromString``, is ::

    sniproxy:broker-1.pulsar.test:6651:proxy=proxy.example.com\\:4443:trustRoots=/etc/pulsar/ca.pem
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar.serviceurl import (
    BadServiceURL,
    ProxyProtocol,
    ProxySettings,
    ServiceURL,
    SniProxy,
    host_and_port,
    parse_service_url,
    pip60,
)
from sniproxy.tls.clientcontext import BadPem, ClientCertificate, TrustRoot, client_certificate, client_tls, trust_root
from sniproxy.util.names import BadName, ip_literal, server_name

__all__ = [
    "CONNECT_SECONDS",
    "BadPem",
    "BadServiceURL",
    "ClientCertificate",
    "ProxyProtocol",
    "ProxySettings",
    "ServiceURL",
    "SniProxy",
    "SniProxyEndpoint",
    "client_certificate",
    "from_string",
    "parse_service_url",
    "pip60",
    "trust_root",
]

CONNECT_SECONDS = 10.0
"""Seconds for a TCP connection, as Pulsar's Java client has it."""

_Creator = IOpenSSLClientConnectionCreator


@implementer(IStreamClientEndpoint)
class SniProxyEndpoint:
    """Connects to a broker, over TLS, through a proxy that routes by server name.

    The certificate's check comes after the connection. What a protocol writes before waits for it; when it fails, not a
    byte has passed either way, and ``connectionLost`` says why.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        proxy: tuple[str, int],
        trust: TrustRoot | None = None,
        certificate: ClientCertificate | None = None,
        timeout: float = CONNECT_SECONDS,
        wrap: Callable[[_Creator], _Creator] | None = None,
    ) -> None:
        """
        @param host: the broker's name. It goes into SNI and is what the certificate must be good for. (An IP address
            goes into no SNI, by RFC 6066, section 3.) The proxy knows the port.
        @param proxy: host and port to dial; the broker's own where there is no proxy.
        @param trust: whose signature counts, also where they are no roots. None: the platform's authorities.
        @param certificate: what the broker is shown. None: nothing.
        @param timeout: seconds for the TCP connection.
        @param wrap: gets what makes the TLS connection, to watch it.
        @raise ValueError: no certificate can be good for this host.
        """
        name = _checked_host(host)
        try:
            creator = client_tls(name, trust, certificate)
        except UnicodeError as error:
            raise ValueError(
                f"host {name!r}: no certificate can be good for this name ({error}); use letters, digits and hyphens"
            ) from error
        if wrap is not None:
            creator = wrap(creator)
        # Not the broker's name: only the proxy's is ever resolved.
        self._endpoint = wrapClientTLS(creator, HostEndpoint(reactor, *proxy, timeout))

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the answer is the protocol that the factory has built. Cancelling it ends the attempt."""
        connected: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connected


def from_string(
    reactor: Any,
    host: str = "",
    port: str = "6651",
    proxy: str = "",
    trustRoots: str | None = None,  # Twisted's own tls: endpoint has these names
    certificate: str | None = None,
    privateKey: str | None = None,
    timeout: str = str(CONNECT_SECONDS),
    **unknown: str,
) -> SniProxyEndpoint:
    """The endpoint of the parts of ``sniproxy:HOST:PORT:proxy=HOST\\:PORT:...``.

    @param port: the broker's; checked and not dialled, the proxy knows better.
    @param trustRoots: a PEM file, or a folder of ``*.pem``. None: the platform's authorities.
    @param certificate: a PEM file. @param privateKey: a PEM file. None: it is in the certificate's.
    @param timeout: seconds for the TCP connection.
    @raise ValueError: a part is missing, unknown or wrong; the message names it and the cure.
    """
    if unknown:
        raise ValueError(
            f"sniproxy: knows proxy, trustRoots, certificate, privateKey and timeout; not {sorted(unknown)[0]!r}"
        )
    if not host:
        raise ValueError("sniproxy: no host; write the broker's, as in sniproxy:broker-1.example.com:6651:proxy=...")
    # The brackets of an IPv6 address are a URL's affair; here its colons are escaped.
    bare = _checked_host(host)
    host_and_port(f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}", "sniproxy: broker")
    if not proxy:
        raise ValueError(
            r"sniproxy: no proxy; write proxy=HOST\:PORT, with the colon escaped, or a tls: endpoint for none"
        )
    proxy_host, proxy_port = host_and_port(proxy, "sniproxy: proxy")
    if proxy_port is None:
        raise ValueError(f"sniproxy: proxy {proxy!r} has no port; write the proxy's own, as in proxy={proxy}\\:4443")
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"sniproxy: bad timeout {timeout!r}; it is a number of seconds over 0, as in timeout=10")
    if privateKey is not None and certificate is None:
        raise ValueError("sniproxy: privateKey without certificate; add certificate=PATH, or leave it out")
    return SniProxyEndpoint(
        reactor,
        bare,
        (proxy_host, proxy_port),
        trust=None if trustRoots is None else trust_root(trustRoots, "sniproxy: trustRoots"),
        certificate=None
        if certificate is None
        else client_certificate(certificate, privateKey, "sniproxy: certificate", "sniproxy: privateKey"),
        timeout=seconds,
    )


def sends_server_name(host: str) -> bool:
    """Whether the host goes into SNI: an IP address does not."""
    return ip_literal(host) is None


def _checked_host(host: str) -> str:
    try:
        return server_name(host)
    except BadName as error:
        raise ValueError(f"host {host!a}: {error}; write the broker's name") from error
