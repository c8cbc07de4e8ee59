"""Chooses the route of a ClientHello, or refuses it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from sniproxy.events import Refusal, Result
from sniproxy.interfaces import IServerNameResolver, Resolution, Target
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.routing.clientlist import ClientList
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import Turns
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello


@attrs.frozen
class DialPlan:
    """The only target of a route, an IP address that may be dialled, with all that each connection needs of it.

    @ivar targets: the target alone. @ivar text: the target in the record of a connection.
    @ivar key: its key in L{UpstreamTable}.
    """

    targets: tuple[Target]
    text: str
    key: str
    host: str
    port: int


@attrs.define
class LiveRoute:
    """A route and its resolver.

    @ivar least_connections: balance by least connections instead of round robin.
    @ivar max_connections: concurrent connections. None: no limit.
    @ivar only_from: the clients that it is for. None: all.
    @ivar send_proxy: None: targets get no PROXY protocol header.
    @ivar from_client: targets are dialled from the client's address.
    @ivar check_header: what TLS checks of its targets send before their hello; usually empty.
    @ivar fixed: returns the resolver's answer if it is the same for all requests, else None. None: it depends on the
        request.
    @ivar turns: the round robin state of the targets.
    @ivar quiet_until: the reactor's time before which further failures of the resolver are not logged.
    @ivar plan: made by L{sniproxy.net.dialplan} at the first connection. None: not made yet, or there can be none.
    @ivar planned_at: the state of the listeners for which C{plan} holds (L{LoopGuard.changes}). -1: it is not made yet.
    """

    server_name: str
    listener: str | None
    resolver: IServerNameResolver
    least_connections: bool = False
    max_connections: int | None = None
    fixed: Callable[[], Resolution | None] | None = None
    turns: Turns = attrs.field(factory=Turns)
    quiet_until: float = 0.0
    plan: DialPlan | None = None
    planned_at: int = -1
    only_from: ClientList | None = None
    send_proxy: SendProxy | None = None
    check_header: bytes = b""
    from_client: bool = False


@attrs.frozen
class Routing:
    """The routes of a configuration. @ivar plaintext: the routes of plaintext listeners, by listener name."""

    table: RouteTable[LiveRoute]
    default: LiveRoute | None
    no_server_name: LiveRoute | None
    plaintext: Mapping[str, LiveRoute]

    def choose(self, hello: ClientHello, listener: str) -> LiveRoute:
        """Choose the route of a hello. @param listener: the name of the listener that accepted it.

        @raise Refusal: C{no_route} or C{no_server_name}.
        """
        name = hello.server_name
        if name is None:
            nameless = self.table.nameless(listener) or self.no_server_name
            if nameless is None:
                alert = Alert.MISSING_EXTENSION if hello.offers_tls13 else Alert.HANDSHAKE_FAILURE
                raise Refusal(Result.NO_SERVER_NAME, _NO_NAME, alert)
            return nameless
        route = self.table.choose(name, listener, self.default)
        if route is None:
            raise Refusal(Result.NO_ROUTE, self.table.why_none(name, listener), Alert.UNRECOGNIZED_NAME)
        return route


_NO_NAME = (
    "the hello has no server name; Java sends none for names without a dot and for IP addresses: "
    "use a service URL with a dotted name, or write a [no_server_name] table; "
    "Pulsar 5 leads clients to brokers' internal listeners, too: advertise them by dotted names (advertisedAddress)"
)
