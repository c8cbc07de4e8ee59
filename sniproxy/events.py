"""The record of a client connection, and the results that it can end with. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache

import attrs
import msgspec

from sniproxy.proxyprotocol.header import Address
from sniproxy.tls.alerts import Alert
from sniproxy.util.names import host_port


class Result(StrEnum):
    """How a connection ended: the ``result`` of the access log (docs/reference/access-log.md explains each)."""

    OK = "ok"
    NO_ROUTE = "no_route"
    NO_SERVER_NAME = "no_server_name"
    NO_CERTIFICATE = "no_certificate"
    DENIED = "denied"
    MALFORMED_HELLO = "malformed_hello"
    NOT_TLS = "not_tls"
    NOT_PULSAR = "not_pulsar"
    PROXY_HEADER = "proxy_header"
    HELLO_TIMEOUT = "hello_timeout"
    CLIENT_GONE = "client_gone"
    RESOLVER_FAILED = "resolver_failed"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    UPSTREAM_TLS_FAILED = "upstream_tls_failed"
    TLS_FAILED = "tls_failed"
    IDLE_TIMEOUT = "idle_timeout"
    RESET = "reset"
    LIMIT = "limit"
    DRAINED = "drained"
    SHUTDOWN = "shutdown"
    INTERNAL_ERROR = "internal_error"


class Refusal(Exception):
    """A stage refuses a connection; the message says why.

    @ivar alert: for the client. None: a plain close, after which Pulsar's clients try again.
    """

    def __init__(self, result: Result, reason: str, alert: Alert | None = None) -> None:
        super().__init__(reason)
        self.result = result
        self.alert = alert


class Proxied(msgspec.Struct, frozen=True, gc=False):  # as small and as fast to make as L{Address}
    """What a PROXY protocol header added to a connection.

    @ivar peer: ``address:port`` of the sender, the connection's own peer.
    @ivar tlvs: the header's optional fields, by the names of L{sniproxy.proxyprotocol.tlvs}.
    @ivar destination: where the client connected to. None: the header does not say.
    """

    peer: str
    tlvs: Mapping[str, str]
    destination: Address | None = None


@attrs.define(weakref_slot=False)  # it exists for each idle tunnel
class Connection:
    """The record of one client connection. The stages fill it in; it is complete when the connection ends.

    @ivar id: unique among all connections of all processes of this proxy.
    @ivar time: when it was accepted, in seconds since 1970.
    @ivar listener: the listener's name.
    @ivar client: ``address:port``, as a believed PROXY protocol header says, or of the connection itself.
    @ivar server_name: from the hello, normalised; None: none, or not read. @ivar alpn: as offered.
    @ivar route: the pattern that matched, ``default`` or ``no_server_name``; None: none did.
    @ivar target: the tunnel's target, or the target dialled last. None: no target was dialled.
    @ivar alert: the alert sent to the client; None: none was.
    @ivar received: bytes read from the client before the tunnel started.
    @ivar bytes_up: bytes written to the target. @ivar bytes_down: bytes written to the client by the tunnel.
    @ivar hello_s: seconds from accepting to the whole hello. @ivar resolve_s: for the resolver's answer.
    @ivar connect_s: from then until the target is connected, including its TLS handshake if the proxy terminates TLS.
    @ivar total_s: seconds from accepting to the end. None in these: the stage was not reached.
    @ivar reason: why it ended, in words; or empty. @ivar proxied: None: no believed PROXY protocol header came.
    @ivar faults: the names of the first faults on purpose that were applied, in order.
    @ivar upstream: the proxy's own address and port towards the target, from L{packed_address}. None: no target was
        connected.
    @ivar header_sent: the target got a PROXY protocol header with C{client}, which a broker then shows as its client.
    """

    id: str
    time: float
    listener: str
    client: str
    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    route: str | None = None
    target: str | None = None
    result: Result = Result.INTERNAL_ERROR
    alert: Alert | None = None
    received: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    hello_s: float | None = None
    resolve_s: float | None = None
    connect_s: float | None = None
    total_s: float = 0.0
    reason: str = ""
    proxied: Proxied | None = None
    upstream: int | None = None
    faults: tuple[str, ...] = ()
    header_sent: bool = False

    @property
    def upstream_local(self) -> str | None:
        """The address and port that the target sees as its client. None: no target was connected."""
        return None if self.upstream is None else host_port(_host(self.upstream >> 16), self.upstream & _PORT)

    @property
    def upstream_port(self) -> int | None:
        """The port of L{upstream_local}."""
        return None if self.upstream is None else self.upstream & _PORT

    @property
    def other_authority(self) -> str | None:
        """The C{authority} of the PROXY protocol header, where it is another name than C{server_name}.

        A sender writes there the name that its client sent (the specification, section 2.2.2), so the two usually
        agree. None: they do, or one of them is missing.
        """
        authority = None if self.proxied is None else self.proxied.tlvs.get("authority")
        if authority is None or self.server_name is None:
            return None
        return None if authority.lower().removesuffix(".") == self.server_name else authority


Observer = Callable[[Connection], None]
"""Called with each connection that has ended. The proxy logs its exceptions and continues."""


def packed_address(host: str, port: int) -> int:
    """An IP address and a port in one number, which takes less memory than an object for each."""
    return _number(host) << 16 | port


def short_seconds(seconds: float) -> float:
    """The duration; below a millisecond in whole microseconds, as logs show it: idle tunnels share these objects."""
    return _microseconds(round(1e6 * seconds)) if seconds < _SHORT_S else seconds


@lru_cache(maxsize=1024)
def _microseconds(count: int) -> float:
    return count / 1e6


_SHORT_S = 0.001


@lru_cache(maxsize=64)
def _number(host: str) -> int:
    address = ipaddress.ip_address(host)
    return int(address) | (_IPV6 if address.version == 6 else 0)


@lru_cache(maxsize=64)
def _host(number: int) -> str:
    return str(ipaddress.IPv6Address(number ^ _IPV6) if number & _IPV6 else ipaddress.IPv4Address(number))


_IPV6, _PORT = 1 << 128, 0xFFFF
