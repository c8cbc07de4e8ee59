"""What the connections of one bridge share, and what bridges know of each other."""

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
from sniproxy.tls.clientcontext import ClientCertificate, TrustRoot, showing, trusting
from sniproxy.tls.contexts import BrokerTLS
from sniproxy.tls.pem import Certified
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.names import host_port

log = Logger()

REPEAT_INTERVAL_S = 60.0
"""Seconds before the same warning of a bridge is given again."""

_MAX_WARNINGS = 100  # that are remembered


@attrs.frozen
class Trust:
    """Whom a bridge trusts and what it shows, for both of the ways in which it talks.

    @ivar tls: for clients' tunnels. @ivar root: the same, for connections of its own. @ivar certificate: None: none.
    """

    tls: BrokerTLS
    root: TrustRoot = attrs.field(repr=False)
    certificate: ClientCertificate | None


def make_trust(trusted: Sequence[x509.Certificate], own: Certified | None) -> Trust:
    """Of certificates that were read."""
    return Trust(BrokerTLS(trusted, own), trusting(trusted), None if own is None else showing(own))


class BridgeRuntime:
    """One bridge: to which cluster it leads, and how.

    @param settings: its table in the configuration. @param trust: gives what is in force now.
    @param seconds: a clock. @param patience: seconds for what the bridge itself asks brokers.
    @ivar address: where it listens, once it does.
    """

    def __init__(
        self, settings: Bridge, trust: Callable[[], Trust], seconds: Callable[[], float], patience: float
    ) -> None:
        self.name = settings.name
        self.proxy: SniProxy | None = settings.proxy
        self.allowing = Allowing(settings.allow)
        self.named_before = False
        self.address: tuple[str, int] | None = None
        self._service: ServiceURL = settings.service_url
        self._trust = trust
        self._seconds = seconds
        self.patience = patience
        self._turn = 0
        self._others: Sequence[BridgeRuntime] = ()
        self._warned: BoundedMap[str, float] = BoundedMap(_MAX_WARNINGS)

    def settle(self, address: tuple[str, int] | None, spans: Sequence[BridgeRuntime]) -> None:
        """It is in force. @param spans: the bridges of this process, to whose clusters topics may migrate."""
        self.address = address
        self._others = [span for span in spans if span is not self]

    def service(self) -> list[Broker]:
        hosts, turn = self._service.hosts, self._turn
        self._turn = (turn + 1) % len(hosts)
        return [*hosts[turn:], *hosts[:turn]]

    def tls(self) -> BrokerTLS:
        return self._trust().tls

    def access(self, login: Login) -> Access:
        trust = self._trust()
        return Access(True, self.proxy, trust.root, trust.certificate, login, self.patience, MAX_COMMAND_BYTES)

    def elsewhere(self, broker: Broker, here: str) -> str | None:
        for span in self._others:
            if broker in span._service.hosts and span.address is not None:
                span.named_before = True
                host, port = span.address
                return f"pulsar://{host_port(here if host in ('0.0.0.0', '::') else host, port)}"
        return None

    def warn(self, message: str) -> None:
        last = self._warned.get(message)
        now = self._seconds()
        if last is None or now - last >= REPEAT_INTERVAL_S:
            self._warned.put(message, now, now)
            log.warn("bridge {name}: {message}", name=self.name, message=message)
