"""A Twisted client endpoint that connects to a broker through an SNI proxy (PIP-60).

PIP-60 ("Support Proxy server with SNI routing"): a client dials the proxy for every connection, and names the broker in
the TLS server name. The client never resolves the name of the broker, and always verifies that its certificate covers
this name.

`SniProxyEndpoint` is an ``IStreamClientEndpoint``. Its string form, for ``clientFromString``, is ::

    sniproxy:broker-1.pulsar.test:6651:proxy=proxy.example.com\\:4443:trustRoots=/etc/pulsar/ca.pem
"""

from __future__ import annotations

from collections.abc import Callable

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
from sniproxy.util.reactor import IReactor

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
"""Timeout for a TCP connection in seconds; the default of the Java client."""

_Creator = IOpenSSLClientConnectionCreator


@implementer(IStreamClientEndpoint)
class SniProxyEndpoint:
    """Connects to a broker with TLS, through a proxy that routes by server name.

    The TLS handshake follows the TCP connection. Data written earlier waits for it. If the verification of the
    certificate fails, no data has passed in either direction, and ``connectionLost`` gets the error.
    """

    def __init__(
        self,
        reactor: IReactor,
        host: str,
        proxy: tuple[str, int],
        trust: TrustRoot | None = None,
        certificate: ClientCertificate | None = None,
        timeout: float = CONNECT_SECONDS,
        wrap: Callable[[_Creator], _Creator] | None = None,
    ) -> None:
        """
        @param host: the name of the broker: the SNI and the name that the certificate must cover. An IP address is not
            sent in SNI (RFC 6066, section 3). The proxy knows the port.
        @param proxy: host and port to dial; those of the broker if there is no proxy.
        @param trust: the trusted CA certificates, which need not be roots; None for those of the platform.
        @param certificate: the client certificate, or None.
        @param timeout: seconds for the TCP connection.
        @param wrap: wraps the creator of the TLS connection, for example to keep the connection.
        @raise ValueError: no certificate can cover this host.
        """
        name = _checked_host(host)
        try:
            creator = client_tls(name, trust, certificate)
        except UnicodeError as error:
            raise ValueError(
                f"host {name!r}: no certificate can cover this name ({error}); use letters, digits and hyphens"
            ) from error
        if wrap is not None:
            creator = wrap(creator)
        # Resolves only the name of the proxy, never that of the broker.
        self._endpoint = wrapClientTLS(creator, HostEndpoint(reactor, *proxy, timeout))

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect. @return: fires with the protocol that the factory has built. Cancel it to abort the attempt."""
        connected: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connected


def from_string(
    reactor: IReactor,
    host: str = "",
    port: str = "6651",
    proxy: str = "",
    trustRoots: str | None = None,  # named as in the tls: endpoint of Twisted
    certificate: str | None = None,
    privateKey: str | None = None,
    timeout: str = str(CONNECT_SECONDS),
    **unknown: str,
) -> SniProxyEndpoint:
    """Create the endpoint from the parts of ``sniproxy:HOST:PORT:proxy=HOST\\:PORT:...``.

    @param port: the port of the broker. It is validated but not dialled, because the proxy knows the port.
    @param trustRoots: a PEM file, or a folder of ``*.pem``; None for the CA certificates of the platform.
    @param certificate: a PEM file. @param privateKey: a PEM file; None if the key is in the file of the certificate.
    @param timeout: seconds for the TCP connection.
    @raise ValueError: a part is missing, unknown or invalid; the message has the part and the cure.
    """
    if unknown:
        raise ValueError(
            f"sniproxy: unknown part {sorted(unknown)[0]!r}; use proxy, trustRoots, certificate, privateKey and timeout"
        )
    if not host:
        raise ValueError(
            "sniproxy: no host; give that of the broker, as in sniproxy:broker-1.example.com:6651:proxy=..."
        )
    # An IPv6 address has no brackets here; its colons are escaped.
    bare = _checked_host(host)
    host_and_port(f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}", "sniproxy: broker")
    if not proxy:
        raise ValueError(r"sniproxy: no proxy; write proxy=HOST\:PORT, with the colon escaped, or use a tls: endpoint")
    proxy_host, proxy_port = host_and_port(proxy, "sniproxy: proxy")
    if proxy_port is None:
        raise ValueError(f"sniproxy: proxy {proxy!r} has no port; add it, as in proxy={proxy}\\:4443")
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"sniproxy: bad timeout {timeout!r}; write seconds over 0, as in timeout=10")
    if privateKey is not None and certificate is None:
        raise ValueError("sniproxy: privateKey requires certificate; add certificate=PATH")
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
    """Whether the host is sent in SNI: an IP address is not."""
    return ip_literal(host) is None


def _checked_host(host: str) -> str:
    try:
        return server_name(host)
    except BadName as error:
        raise ValueError(f"host {host!a}: {error}; give the name of the broker") from error
