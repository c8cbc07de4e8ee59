"""What the connections of one bridge share: brokers, trust, and the other bridges of the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from cryptography import x509
from twisted.logger import Logger

from sniproxy.bridge.stream import MAX_COMMAND_BYTES
from sniproxy.client.brokers import Access
from sniproxy.client.logins import Login
from sniproxy.config.allowed import Allowing, Broker
from sniproxy.config.model import Bridge
from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy
from sniproxy.tls.clientcontext import ClientCertificate, TrustRoot, twisted_certificate, twisted_trust_root
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.tls.pem import Certified
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.names import host_port

log = Logger()

REPEAT_INTERVAL_S = 60.0
"""Seconds before a bridge logs the same warning again."""

_MAX_WARNINGS = 100  # remembered for that


@attrs.frozen
class Trust:
    """Trusted authorities and client certificate of a bridge.

    @ivar tls: for tunnels of clients. @ivar root: the authorities, for connections of the bridge's own.
    @ivar certificate: for the same. None: brokers get none.
    """

    tls: BrokerTLS
    root: TrustRoot = attrs.field(repr=False)
    certificate: ClientCertificate | None


def make_trust(trusted: Sequence[x509.Certificate], own: Certified | None) -> Trust:
    """Make it from certificates. @param own: the client certificate. None: there is none."""
    return Trust(
        BrokerTLS(trusted, own), twisted_trust_root(trusted), None if own is None else twisted_certificate(own)
    )


class BridgeRuntime:
    """One bridge, for all its connections.

    @param settings: its table in the configuration. @param trust: returns the current trust; it reads changed files.
    @param seconds: a clock. @param timeout_s: timeout of lookups that the bridge itself sends.
    @ivar name: in logs. @ivar proxy: None: brokers are dialled by their own names.
    @ivar send_proxy: None: brokers get no PROXY protocol header.
    @ivar named_before: a topic migration has sent clients here, and Java clients of these must not skip the lookup.
    @ivar address: where it listens. None: it does not listen yet.
    """

    def __init__(
        self, settings: Bridge, trust: Callable[[], Trust], seconds: Callable[[], float], timeout_s: float
    ) -> None:
        self.name = settings.name
        self.proxy: SniProxy | None = settings.proxy
        self.allowing = Allowing(settings.allow)
        self.send_proxy = settings.send_proxy
        self.named_before = False
        self.address: tuple[str, int] | None = None
        self._service: ServiceURL = settings.service_url
        self._trust = trust
        self._seconds = seconds
        self.timeout_s = timeout_s
        self._turn = 0
        self._others: Sequence[BridgeRuntime] = ()
        self._warned: BoundedMap[str, float] = BoundedMap(_MAX_WARNINGS)

    def settle(self, address: tuple[str, int] | None, bridges: Sequence[BridgeRuntime]) -> None:
        """Record where the bridge listens. @param bridges: all of the service; topics may migrate to their clusters."""
        self.address = address
        self._others = [bridge for bridge in bridges if bridge is not self]

    def service(self) -> list[Broker]:
        """The hosts of the service URL, in the order to dial them. Each call begins with the next one."""
        hosts, turn = self._service.hosts, self._turn
        self._turn = (turn + 1) % len(hosts)
        return [*hosts[turn:], *hosts[:turn]]

    def tls(self) -> BrokerTLS:
        """Trust and certificate for tunnels of clients."""
        return self._trust().tls

    def access(self, login: Login) -> Access:
        """How to reach brokers on connections of the bridge's own."""
        trust = self._trust()
        return Access(True, self.proxy, trust.root, trust.certificate, login, self.timeout_s, MAX_COMMAND_BYTES)

    def elsewhere(self, broker: Broker, here: str) -> str | None:
        """The plain URL of the bridge to another cluster. None: there is no such bridge.

        @param broker: in the service URL of that cluster. @param here: the address that the client connected to.
        """
        for bridge in self._others:
            if broker in bridge._service.hosts and bridge.address is not None:
                bridge.named_before = True
                host, port = bridge.address
                return f"pulsar://{host_port(here if host in ('0.0.0.0', '::') else host, port)}"
        return None

    def warn(self, message: str) -> None:
        """Log a warning, at most once in L{REPEAT_INTERVAL_S}."""
        last = self._warned.get(message)
        now = self._seconds()
        if last is None or now - last >= REPEAT_INTERVAL_S:
            self._warned.put(message, now, now)
            log.warn("bridge {name}: {message}", name=self.name, message=message)
