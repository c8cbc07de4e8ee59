"""Admits connections within the limits, and counts them by client and by route. Pure.

Every accepted connection costs a call, also during an attack, so that call takes about a microsecond: it looks up
counts in dictionaries, and one number for the rate of the client.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sniproxy.config.limits import Limits
from sniproxy.connection.rates import Rates
from sniproxy.events import Refusal, Result
from sniproxy.routing.router import LiveRoute
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.text import counted

MIN_HELLOS = 64
"""Least default of C{max_hellos}: as many connections as are accepted in one round of the reactor."""

SLOW_HELLO_S = 1.0
"""Seconds that each client has for its hello before it is closed in favour of waiting clients."""

_MAX_REMEMBERED = 8192


class Client:
    """A client that has connections. @ivar hellos: how many of them wait for their hello."""

    __slots__ = ("connections", "hellos", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = 0
        self.hellos = 0


class RouteCount:
    """A route that has connections: all of them share its key. @ivar key: its server name and its listener."""

    __slots__ = ("connections", "key")

    def __init__(self, key: tuple[str, str | None]) -> None:
        self.key = key
        self.connections = 0


class Permit:
    """The limits that an admitted connection counts in, until L{release}."""

    # It exists once for each idle tunnel.
    __slots__ = ("_admission", "_client", "_connecting", "_route")

    def __init__(self, admission: Admission, client: Client | None) -> None:
        self._admission = admission
        self._client = client
        self._route: RouteCount | None = None
        self._connecting: tuple[str, str | None] | None = None

    @property
    def client(self) -> str | None:
        """The client that the connection counts for. None: limits by client do not apply."""
        return None if self._client is None else self._client.name

    @property
    def route(self) -> tuple[str, str | None] | None:
        """The server name and the listener of the route that the connection counts for. None: it counts for none."""
        return None if self._route is None else self._route.key

    def adopt_route(self, route: RouteCount) -> None:
        """The connection counts for this route already."""
        self._route = route

    def wait_for_hello(self, conn: Any) -> None:
        """Count it as waiting for its hello. @param conn: the connection, which L{Admission.make_room} may end."""
        self._admission.enter_hellos(self, conn)
        if self._client is not None:
            self._client.hellos += 1

    def enter_client(self, address: str) -> None:
        """Count it for its client, which was not known when it was admitted. @param address: as for L{Admission.admit}.

        @raise Refusal: a limit of the client is reached.
        """
        found = self._admission.enter_client(address)
        if isinstance(found, str):
            # No alert: this may change, and after a plain close all Pulsar clients try again.
            raise Refusal(Result.LIMIT, f"client {address.rpartition(':')[0]}: [limits] {found}")
        self._client = found
        if found is not None and self in self._admission.hellos:
            found.hellos += 1

    def receive_hello(self) -> None:
        """The hello is complete."""
        if self._admission.leave_hellos(self) and self._client is not None:
            self._client.hellos -= 1

    def enter_route(self, route: LiveRoute) -> None:
        """Count it for a route, and as connecting. @raise Refusal: a limit is reached."""
        self._route = self._admission.enter_route(route)
        self._connecting = self._admission.enter_connecting(*self._route.key)

    def enter_connecting(self, name: str, listener: str | None) -> None:
        """Count it as connecting. @param name: of a route, or for a bridge. @raise Refusal: a limit is reached."""
        self._connecting = self._admission.enter_connecting(name, listener)

    def leave_connecting(self) -> None:
        """Stop counting it as connecting: it is a tunnel, or has ended."""
        if self._connecting is not None:
            self._admission.leave_connecting(self._connecting)
            self._connecting = None

    def add_descriptors(self, count: int) -> None:
        """Count descriptors in addition to its two. @param count: the change; negative: fewer."""
        self._admission.extra_descriptors += count

    def release(self) -> None:
        """The connection has ended."""
        self.receive_hello()
        if self._connecting is not None:
            self.leave_connecting()
        self._admission.release(self._client, self._route)


class Admission:
    """The current limits, and the counts that they bound. A change of the limits keeps the counts.

    @param seconds: a clock.
    @param refused: called with the limit and the client of each connection that is refused on accept.
    @param end: ends an admitted connection, for a reason. @param account: counts buffered bytes, for C{max_buffered}.
    @ivar refusals: number of refused connections, by limit.
    @ivar waits: how often accepting paused, by limit.
    @ivar max_connections: connections at once. @ivar max_hellos: of these, connections that wait for their hello.
    @ivar max_connecting: of these, connections after their hello and before their tunnel.
    @ivar connecting: the current number of these.
    @ivar hellos: permits of connections that wait for their hello, the oldest first, with the connection and the time
        from which it waits.
    @ivar extra_descriptors: descriptors beside the two of each connection: of dials, of a bridge's own connections, of
        the admin endpoint.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        refused: Callable[[str, str], None],
        end: Callable[[Any, str], None],
        account: BufferAccount,
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.max_connections = self.max_hellos = self.max_connecting = self.connecting = 0
        self.extra_descriptors = 0
        self.hellos: OrderedDict[Permit, tuple[Any, float]] = OrderedDict()
        self._seconds = seconds
        self._refused = refused
        self._end = end
        self._account = account
        self._connections = 0
        self._clients: dict[str, Client] = {}
        self._routes: dict[tuple[str, str | None], RouteCount] = {}
        self._connecting: dict[tuple[str, str | None], int] = {}
        self._rates = Rates()
        self.change(Limits(), 0)

    def change(self, limits: Limits, affordable: int) -> None:
        """Apply other limits to new connections; admitted ones stay.

        @param affordable: number of connections that the descriptors allow.
        """
        self._limits = limits
        self._by_client = limits.by_client
        # Limits.client takes some microseconds, most of them for IPv6.
        self._name: Callable[[str], str | None] = lru_cache(_MAX_REMEMBERED)(limits.client)
        self.max_connections = affordable if limits.max_connections is None else limits.max_connections
        self._max_buffered = sys.maxsize if limits.max_buffered is None else limits.max_buffered
        share = max(self.max_connections // 2, MIN_HELLOS)
        self.max_hellos = share if limits.max_hellos is None else limits.max_hellos
        self.max_connecting = share if limits.max_connecting is None else limits.max_connecting
        self._affordable = affordable

    def full(self, held: int = 0) -> str | None:
        """The limit that pauses accepting. None: no limit is reached.

        @param held: bytes held for slow readers outside Python.
        """
        if self._connections >= self.max_connections:
            return "max_connections"
        if len(self.hellos) >= self.max_hellos:
            return "max_hellos"
        return "max_buffered" if self._account.bytes + held >= self._max_buffered else None

    def make_room(self) -> bool:
        """End the connection that has waited longest for its hello, if it is slow. @return: False: none is."""
        permit = next(iter(self.hellos), None)
        if permit is None:
            return False
        conn, since = self.hellos[permit]
        waited = self._seconds() - since
        if waited < SLOW_HELLO_S:
            return False
        self.refusals["max_hellos"] += 1
        permit.receive_hello()
        self._end(conn, f"no complete hello within {waited:.3g} s while others wait ([limits] max_hellos)")
        return True

    def admit(self, address: str | None) -> Permit | None:
        """Admit a connection. @param address: ``192.0.2.7:50123``, ``[2001:db8::7]:50123`` or ``unix``. None: it is not
        known yet, and L{Permit.enter_client} will tell it.

        @return: None: a limit of the client is reached.
        """
        client = None
        if address is not None:
            found = self.enter_client(address)
            if isinstance(found, str):
                self._refused(found, self._name(address.rpartition(":")[0]) or "")
                return None
            client = found
        self._connections += 1
        return Permit(self, client)

    def adopt(self, address: str, route: tuple[str, str | None] | None) -> Permit:
        """Admit a tunnel of another process, whatever the limits.

        @param address: as for L{admit}. @param route: the server name and listener of its route. None: it has none.
        """
        name = self._name(address.rpartition(":")[0])
        client = None if name is None else self._clients.setdefault(name, Client(name))
        if client is not None:
            client.connections += 1
        self._connections += 1
        permit = Permit(self, client)
        if route is not None:
            permit.adopt_route(self._route(route))
        return permit

    def _route(self, key: tuple[str, str | None]) -> RouteCount:
        count = self._routes.get(key)
        if count is None:
            count = self._routes[key] = RouteCount(key)
        count.connections += 1
        return count

    def _refusing(self, name: str, client: Client | None) -> str | None:
        """The limit that a client has reached."""
        limits, now = self._limits, self._seconds()
        if client is not None:
            most = limits.max_connections_per_client
            if most is not None and client.connections >= most:
                return "max_connections_per_client"
            most = limits.max_hellos_per_client
            if most is not None and client.hellos >= most:
                return "max_hellos_per_client"
        rate = limits.rate_per_client
        if rate is not None and not self._rates.take(name, now, rate, limits.burst_per_client):
            return "rate_per_client"
        return None

    # For permits

    def enter_client(self, address: str) -> Client | str | None:
        """Count a connection for its client. @param address: as for L{admit}.

        @return: None: limits by client do not apply. A text: the limit that the client has reached.
        """
        name = self._name(address.rpartition(":")[0])
        if name is None:
            return None
        client = self._clients.get(name)
        if self._by_client:
            limit = self._refusing(name, client)
            if limit is not None:
                self.refusals[limit] += 1
                return limit
        if client is None:
            client = self._clients[name] = Client(name)
        client.connections += 1
        return client

    def enter_hellos(self, permit: Permit, conn: Any) -> None:
        """A connection waits for its hello from now on."""
        self.hellos[permit] = conn, self._seconds()

    def leave_hellos(self, permit: Permit) -> bool:
        """Its hello is complete, or it has ended. @return: False: it did not wait."""
        return self.hellos.pop(permit, None) is not None

    def enter_route(self, route: LiveRoute) -> RouteCount:
        """Count a connection for a route. @return: for L{release}. @raise Refusal: C{max_connections} is reached."""
        key = route.server_name, route.listener
        count, most = self._routes.get(key), route.max_connections
        if most is not None and (0 if count is None else count.connections) >= most:
            self.refusals["max_connections_per_route"] += 1
            # No alert: this may change, and after a plain close all Pulsar clients try again.
            raise Refusal(Result.LIMIT, f"route {route.server_name}: at its limit of {counted(most, 'connection')}")
        return self._route(key)

    def enter_connecting(self, name: str, listener: str | None) -> tuple[str, str | None]:
        """Count a connecting connection of a route or bridge. @return: for L{leave_connecting}.

        A route may have C{max_connecting_per_route}, by default as many as it leaves free. So a dead route
        does not block the others, and the first connection of a route is admitted unless C{max_connecting} is reached.

        @raise Refusal: C{max_connecting} or C{max_connecting_per_route} is reached.
        """
        key, limits = (name, listener), self._limits
        count, share = self._connecting.get(key, 0), limits.max_connecting_per_route
        if share is None:
            room = min(self.max_connections, self._affordable - self.extra_descriptors // 2) - (self._connections - 1)
            share = max(min(room, self.max_connecting - self.connecting), 1)
        if self.connecting >= self.max_connecting:
            limit, why = "max_connecting", f"all routes together: {counted(self.connecting, 'connection')}"
        elif count >= share:
            limit, why = "max_connecting_per_route", counted(count, "connection")
        else:
            self._connecting[key] = count + 1
            self.connecting += 1
            return key
        self.refusals[limit] += 1
        # No alert: this may change.
        raise Refusal(Result.LIMIT, f"route {name}: {why} waiting for a target ([limits] {limit})")

    def leave_connecting(self, key: tuple[str, str | None]) -> None:
        """A connecting connection is a tunnel, or has ended."""
        self.connecting -= 1
        count = self._connecting[key]
        if count == 1:
            del self._connecting[key]
        else:
            self._connecting[key] = count - 1

    def release(self, client: Client | None, route: RouteCount | None) -> None:
        """A connection has ended. A client or a route without connections is forgotten."""
        self._connections -= 1
        if client is not None:
            client.connections -= 1
            if not client.connections:
                del self._clients[client.name]
        if route is not None:
            route.connections -= 1
            if not route.connections:
                del self._routes[route.key]
