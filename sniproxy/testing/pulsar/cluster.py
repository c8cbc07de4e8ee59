"""Embedded brokers behind one service name, in this process, on ephemeral loopback ports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import ContextFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from sniproxy.pulsar.frames import read_section
from sniproxy.pulsar.topicname import full_name
from sniproxy.testing.pulsar.broker import WAIT_TIMEOUT_S, BrokerEvent, EmbeddedBroker, wait_for
from sniproxy.testing.pulsar.certificates import Authority, Issued
from sniproxy.testing.pulsar.commandlog import CommandLog, Condition, ReceivedCommand
from sniproxy.testing.pulsar.connection import KEEP_ALIVE_S
from sniproxy.testing.pulsar.state import ClusterState, assign
from sniproxy.testing.pulsar.threads import CALL_TIMEOUT_S, ReactorThread, Runner, in_reactor
from sniproxy.util.reactor import IReactor

#: The port in the URLs of brokers behind a proxy. No broker listens on it: the proxy knows the actual ports.
TLS_PORT = 6651


class EmbeddedTLS(ContextFactory):
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


class PulsarCluster:
    """A cluster of brokers in memory, without Java. Each topic is owned by one of them.

    With a ``reactor``, such as trial's, it runs there: call `start` and `stop`. Without one it runs in a thread of its
    own while a ``with`` block lasts, and its methods can be called from any thread. They take short names of topics,
    such as ``orders``, for full ones, and what is done to a partitioned topic is done to its partitions.

    ``brokers``: their number, or their host names, which need no DNS entry. ``tls``: whether they speak TLS.
    ``behind_proxy``: lookups return ``pulsar+ssl://NAME:6651`` with a broker's name, for clients that connect by an SNI
    proxy; else addresses on loopback. ``service_name``: a name that all certificates cover. ``tokens``: those that
    clients may have; None: any client may connect. ``partitions``: the number of partitions of partitioned topics.
    ``deduplication``: whether brokers drop messages that a producer repeats. ``keep_alive_s``: seconds between PINGs.
    ``on_event``: called with each `BrokerEvent`, in the reactor's thread.
    """

    def __init__(
        self,
        brokers: int | Sequence[str] = 2,
        *,
        reactor: IReactor | None = None,
        tls: bool = False,
        behind_proxy: bool = False,
        service_name: str = "pulsar-vip.test",
        tokens: Iterable[str] | None = None,
        partitions: Mapping[str, int] | None = None,
        deduplication: bool = False,
        keep_alive_s: float = KEEP_ALIVE_S,
        on_event: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        names = [f"broker-{n + 1}.pulsar.test" for n in range(brokers)] if isinstance(brokers, int) else list(brokers)
        if not names:
            raise ValueError("a cluster has at least one broker")
        if behind_proxy and not tls:
            raise ValueError("behind_proxy needs tls=True: an SNI proxy reads the names in TLS")
        self.service_name = service_name
        #: The address of each broker, by name; set by `start`.
        self.addresses: dict[str, tuple[str, int]] = {}
        self.runner = Runner()
        self._reactor = reactor
        self._tls = tls
        self._behind_proxy = behind_proxy
        self._keep_alive_s = keep_alive_s
        self._on_event = on_event
        self._names = names
        self._authority = Authority()
        self._state = ClusterState(
            partitions={full_name(topic): count for topic, count in (partitions or {}).items()},
            tokens=None if tokens is None else set(tokens),
            deduplication=deduplication,
        )
        self._log = CommandLog()
        self._ports: list[IListeningPort] = []
        #: In the order of their names; set by `start`.
        self.brokers: list[EmbeddedBroker] = []

    @property
    def service_url(self) -> str:
        """The service URL for clients: all brokers, or the service name if they are behind a proxy."""
        if self._behind_proxy:
            return f"pulsar+ssl://{self.service_name}:{TLS_PORT}"
        scheme, _, first = self.brokers[0].url.partition("://")
        others = [broker.url.partition("://")[2] for broker in self.brokers[1:]]
        return f"{scheme}://{','.join([first, *others])}"

    @property
    def authority_pem(self) -> bytes:
        """The CA certificate for clients to trust, as PEM."""
        return self._authority.pem

    def proxy_pem(self) -> bytes:
        """A key and a certificate for all names, for a proxy that ends the clients' TLS."""
        return self._authority.issue([self.service_name, *self._names, "localhost", "127.0.0.1"]).pem

    def start(self) -> None:
        """Issue the certificates and listen, each broker on its own port of 127.0.0.1."""
        reactor = self._reactor
        if reactor is None:
            raise RuntimeError("the cluster has no reactor: use it by `with`, or PulsarCluster(reactor=...)")
        self.brokers.clear()
        for name in self._names:
            broker = EmbeddedBroker(
                name, self._state, reactor, self._on_event, self._log, self.runner, self._keep_alive_s
            )
            self.brokers.append(broker)
            port = self._listen(broker, reactor)
            self._ports.append(port)
            address = port.getHost()
            assert isinstance(address, IPv4Address)
            self.addresses[name] = (address.host, address.port)
            if self._behind_proxy:
                self._state.urls[name] = f"pulsar+ssl://{name}:{TLS_PORT}"
            elif self._tls:
                self._state.urls[name] = f"pulsar+ssl://localhost:{address.port}"
            else:
                self._state.urls[name] = f"pulsar://{address.host}:{address.port}"

    def stop(self) -> Deferred[None]:
        """Stop listening and reset all connections. @return: fires when all are closed."""
        ports = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports.clear()
        brokers = gatherResults([broker.stop() for broker in self.brokers])
        return ports.addCallback(lambda _: brokers).addCallback(lambda _: None)

    def __enter__(self) -> PulsarCluster:
        if self._reactor is not None:
            raise RuntimeError("`with` is for a cluster without a reactor: call start(), and stop() in the cleanup")
        thread = self.runner = ReactorThread()
        self._reactor = thread.reactor
        try:
            thread.run(self.start)
        except BaseException:
            thread.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        thread, self._reactor = self.runner, None
        assert isinstance(thread, ReactorThread)
        try:
            thread.wait(self.stop, CALL_TIMEOUT_S)
        finally:
            thread.stop()

    def broker(self, name: str) -> EmbeddedBroker:
        """A broker by its name. @raise KeyError: there is none."""
        return {broker.name: broker for broker in self.brokers}[name]

    @in_reactor
    def owner(self, topic: str) -> EmbeddedBroker:
        """The broker that owns a topic: by a hash of the topic's name, unless it has been moved."""
        return self.broker(self._state.owner(topic))

    def topic_of(self, broker: EmbeddedBroker, prefix: str = "persistent://public/default/topic") -> str:
        """A name of a topic that a broker owns: the prefix, and a number."""
        return next(name for n in range(1_000_000) if self.owner(name := f"{prefix}-{n}") is broker)

    @in_reactor
    def messages(self, topic: str) -> list[bytes]:
        """The payloads that a topic has, oldest first: one for each SEND, as the client has encoded it.

        Of a partitioned topic: those of its partitions, one partition after the other.
        """
        used = self._state.used(topic)
        return [bytes(read_section(entry.section).payload) for each in used for entry in each.entries]

    @in_reactor
    def subscriptions(self, topic: str) -> dict[str, int]:
        """The subscriptions of a topic, each with its number of entries that are not acknowledged yet.

        Of a partitioned topic: those of its partitions together.
        """
        found: dict[str, int] = {}
        for each in self._state.used(topic):
            for name, subscription in each.subscriptions.items():
                found[name] = found.get(name, 0) + subscription.backlog
        return found

    @in_reactor
    def set_partitions(self, topic: str, count: int) -> None:
        """Make a topic a partitioned one. 0: it is no partitioned topic any more."""
        self._state.partitions[full_name(topic)] = count

    @in_reactor
    def set_tokens(self, tokens: Iterable[str] | None) -> None:
        """Set the tokens that clients may have from now on. None: any client may connect."""
        self._state.tokens = None if tokens is None else set(tokens)

    @in_reactor
    def unload(self, topic: str) -> None:
        """Close the producers and consumers of a topic, as a load manager does. The owner stays."""
        for broker in self.brokers:
            broker.close_producers(topic)
            broker.close_consumers(topic)

    @in_reactor
    def move(self, topic: str, broker: EmbeddedBroker, assigned: bool = False) -> None:
        """Unload a topic to another broker. ``assigned``: the commands that close name that broker (PIP-307)."""
        assign(self._state.owners, topic, broker.name)
        for each in self.brokers:
            each.close_producers(topic, broker.url if assigned else None)
            each.close_consumers(topic, broker.url if assigned else None)

    @in_reactor
    def redirect(self, topic: str, broker: EmbeddedBroker | None) -> None:
        """Answer lookups of a topic with a redirect to a broker, which gives the owner. None: no longer."""
        assign(self._state.redirects, topic, None if broker is None else broker.name)

    @property
    @in_reactor
    def commands(self) -> list[ReceivedCommand]:
        """The commands that all brokers have received, oldest first; at most the last 10,000."""
        return self._log.all()

    def saw(self, command: str, count: int = 1, where: Condition | None = None) -> Deferred[list[ReceivedCommand]]:
        """Like `EmbeddedBroker.saw`, of all brokers."""
        return self._log.saw(command, count, where)

    def wait_for(
        self, command: str, count: int = 1, where: Condition | None = None, timeout_s: float = WAIT_TIMEOUT_S
    ) -> list[ReceivedCommand]:
        """Like `EmbeddedBroker.wait_for`, of all brokers."""
        return wait_for(self.runner, self._log, "the cluster", command, count, where, timeout_s)

    def _listen(self, broker: EmbeddedBroker, reactor: IReactor) -> IListeningPort:
        if not self._tls:
            return reactor.listenTCP(0, broker.factory, interface="127.0.0.1")
        # Include the address of the proxy: C++ clients verify the certificate for the host that they dial.
        tls = EmbeddedTLS(self._authority.issue([broker.name, self.service_name, "localhost", "127.0.0.1"]))
        # Not by listenSSL, which uses the clock of the global reactor.
        factory: Any = TLSMemoryBIOFactory(tls, False, broker.factory, reactor)
        return reactor.listenTCP(0, factory, interface="127.0.0.1")
