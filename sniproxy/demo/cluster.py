"""Demo brokers behind one service name, in this process, on ephemeral loopback ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import ContextFactory

from sniproxy.demo.broker import BrokerEvent, DemoBroker
from sniproxy.demo.certificates import Authority, Issued
from sniproxy.demo.topics import Topic
from sniproxy.util.reactor import IReactor

#: The port in the Pulsar TLS URLs. No broker listens on it: the proxy knows the actual ports.
TLS_PORT = 6651


class DemoTLS(ContextFactory):
    """TLS 1.2 and 1.3 with one certificate and without ALPN, like a Pulsar broker.

    With the certificate options of Twisted (26.10), a server without ALPN refuses each client that offers it.
    """

    def __init__(self, issued: Issued) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_privatekey(issued.key)
        self._context.use_certificate(issued.certificate)

    def getContext(self) -> SSL.Context:
        return self._context


class DemoCluster:
    """A cluster of brokers. Each topic is owned by one of them.

    ``names``: the host names of the brokers, which need no DNS entry. ``service_name``: a name that all their
    certificates cover. ``tls``: False for plaintext brokers, whose lookups return loopback addresses. ``on_event``:
    called with each `BrokerEvent`.
    """

    def __init__(
        self,
        reactor: IReactor,
        names: Sequence[str] = ("broker-1.pulsar.test", "broker-2.pulsar.test"),
        service_name: str = "pulsar-vip.test",
        tls: bool = True,
        on_event: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        self.service_name = service_name
        #: The address of each broker, by name; set by `start`.
        self.addresses: dict[str, tuple[str, int]] = {}
        self._reactor = reactor
        self._authority = Authority()
        self._tls = tls
        self._urls: dict[str, str] = {}
        topics: dict[str, Topic] = {}
        self._brokers = [DemoBroker(name, self._urls, topics, reactor, on_event) for name in names]
        self._ports: list[IListeningPort] = []

    @property
    def authority_pem(self) -> bytes:
        """The CA certificate for clients to trust, as PEM."""
        return self._authority.pem

    def start(self) -> None:
        """Issue the certificates and listen, each broker on its own port of 127.0.0.1."""
        for broker in self._brokers:
            port = self._listen(broker)
            self._ports.append(port)
            address = port.getHost()
            assert isinstance(address, IPv4Address)
            self.addresses[broker.name] = (address.host, address.port)
            self._urls[broker.name] = (
                f"pulsar+ssl://{broker.name}:{TLS_PORT}" if self._tls else f"pulsar://{address.host}:{address.port}"
            )

    def stop(self) -> Deferred[None]:
        """Stop listening and close all connections. @return: fires when all are closed."""
        ports = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports.clear()
        brokers = gatherResults([broker.stop() for broker in self._brokers])
        return ports.addCallback(lambda _: brokers).addCallback(lambda _: None)

    def _listen(self, broker: DemoBroker) -> IListeningPort:
        if not self._tls:
            return self._reactor.listenTCP(0, broker, interface="127.0.0.1")
        # Include the address of the proxy: C++ clients verify the certificate for the host that they dial.
        names = [broker.name, self.service_name, "localhost", "127.0.0.1"]
        tls = DemoTLS(self._authority.issue(names))
        return self._reactor.listenSSL(0, broker, tls, interface="127.0.0.1")
