"""Stand-in brokers behind one service name, in this process, on loopback ports that the system chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorSSL, IReactorTCP, IReactorTime
from twisted.internet.ssl import ContextFactory

from sniproxy.demo.broker import BrokerEvent, DemoBroker
from sniproxy.demo.certificates import Authority, Issued
from sniproxy.demo.topics import Topic

#: The port that Pulsar's TLS URLs name; nobody listens on it here, the proxy knows better.
TLS_PORT = 6651


class Reactor(IReactorTCP, IReactorSSL, IReactorTime):
    """What a cluster needs of a reactor."""


class DemoTLS(ContextFactory):
    """TLS 1.2 and 1.3 with one certificate, and without ALPN, like a Pulsar broker.

    Twisted's own options (26.10) end the handshake of every client that offers ALPN to a server that has none.
    """

    def __init__(self, issued: Issued) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_privatekey(issued.key)
        self._context.use_certificate(issued.certificate)

    def getContext(self) -> SSL.Context:
        return self._context


class StandInCluster:
    """Brokers that share their topics, each of which one of them owns.

    ``names``: the brokers' host names, which no DNS needs to know. ``service_name``: the name that their
    certificates have in common. ``tls``: False for brokers that speak in clear (lookups then answer with the
    loopback addresses). ``told``: hears what the brokers see.
    """

    def __init__(
        self,
        reactor: Reactor,
        names: Sequence[str] = ("broker-1.pulsar.test", "broker-2.pulsar.test"),
        service_name: str = "pulsar-vip.test",
        tls: bool = True,
        told: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        self.service_name = service_name
        #: Where each broker listens, by name; filled by `start`.
        self.addresses: dict[str, tuple[str, int]] = {}
        self._reactor = reactor
        self._authority = Authority()
        self._tls = tls
        self._urls: dict[str, str] = {}
        topics: dict[str, Topic] = {}
        self._brokers = [DemoBroker(name, self._urls, topics, reactor, told) for name in names]
        self._ports: list[IListeningPort] = []

    @property
    def authority_pem(self) -> bytes:
        """The certificate that clients have to trust, as PEM."""
        return self._authority.pem

    def start(self) -> None:
        """Make the certificates and listen, each broker on its own port of 127.0.0.1."""
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
        """Stop listening and end every connection; fires when all are gone."""
        ports = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports.clear()
        brokers = gatherResults([broker.stop() for broker in self._brokers])
        return ports.addCallback(lambda _: brokers).addCallback(lambda _: None)

    def _listen(self, broker: DemoBroker) -> IListeningPort:
        if not self._tls:
            return self._reactor.listenTCP(0, broker, interface="127.0.0.1")
        # The proxy's own address too: C++ clients check the certificate for the host that they dialled.
        names = [broker.name, self.service_name, "localhost", "127.0.0.1"]
        tls = DemoTLS(self._authority.issue(names))
        return self._reactor.listenSSL(0, broker, tls, interface="127.0.0.1")
