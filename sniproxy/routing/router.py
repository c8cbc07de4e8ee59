"""Which route a hello takes, or why none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from sniproxy.events import Refusal, Result
from sniproxy.interfaces import IServerNameResolver, Resolution
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import Turns
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello
from sniproxy.util.names import ip_literal


@attrs.define
class LiveRoute:
    """A route with its resolver made.

    @ivar least: the target with the fewest connections is next, not the one whose turn it is.
    @ivar max_connections: at once. None: no limit.
    @ivar fixed: gives the resolver's answer, whatever it is asked: then it need not be. None, or it gives None: it
        depends.
    @ivar turns: whose turn it is among the targets.
    @ivar quiet_until: the reactor's time before which a failure of the resolver is not logged again.
    """

    server_name: str
    listener: str | None
    resolver: IServerNameResolver
    least: bool = False
    max_connections: int | None = None
    fixed: Callable[[], Resolution | None] | None = None
    turns: Turns = attrs.field(factory=Turns)
    quiet_until: float = 0.0


@attrs.frozen
class Routing:
    """All that decides where a connection goes. @ivar plaintext: by the name of a plaintext listener."""

    table: RouteTable[LiveRoute]
    default: LiveRoute | None
    no_server_name: LiveRoute | None
    plaintext: Mapping[str, LiveRoute]

    def choose(self, hello: ClientHello, listener: str) -> LiveRoute:
        """The route of a hello that came in by this listener.

        @raise Refusal: C{no_route} or C{no_server_name}.
        """
        name = hello.server_name
        if name is None:
            if self.no_server_name is None:
                alert = Alert.MISSING_EXTENSION if hello.offers_tls13 else Alert.HANDSHAKE_FAILURE
                raise Refusal(Result.NO_SERVER_NAME, _NO_NAME, alert)
            return self.no_server_name
        route = self.table.match(name, listener)
        if route is None and ip_literal(name) is None:
            route = self.default
        if route is None:
            raise Refusal(Result.NO_ROUTE, self._why_none(name, listener), Alert.UNRECOGNIZED_NAME)
        return route

    def _why_none(self, name: str, listener: str) -> str:
        if ip_literal(name) is not None:
            return f"the server name {name} is an IP literal and has no exact route; use a service URL with a host name"
        closest = self.table.closest(name)
        if closest is None:
            return "no route has this name"
        if closest == name:
            return f"no route has this name on listener {listener}; another listener has one"
        if closest == f"*.{name}":
            return f"no route has this name; {closest} has the names below it, not itself"
        return f"no route has this name; the closest is {closest}"


_NO_NAME = (
    "the hello has no server name; Java sends none for names without a dot and for IP addresses: "
    "use a service URL with a dotted name, or write a [no_server_name] table"
)
