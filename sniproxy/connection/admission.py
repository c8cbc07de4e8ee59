"""Which connections may come in, and when: keeps count of those that are there, by client and by route. Pure.

It is asked for every connection that is accepted, attacks included, so it costs a microsecond: counts in dictionaries,
and one number for each client's rate.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sniproxy.config.limits import Limits
from sniproxy.events import Refusal, Result
from sniproxy.routing.router import LiveRoute
from sniproxy.util.buffered import TOTAL
from sniproxy.util.text import counted

MAX_RATES = 65_536
"""Clients whose rate is remembered; beyond, the one that came longest ago is forgotten, and with it what it owes."""

MIN_HELLOS = 64
"""Connections that may wait for their hello, however few there may be: what is accepted in one go."""

SLOW_HELLO_S = 1.0
"""Seconds that every client has for its hello, however many others wait."""

_MAX_REMEMBERED = 8192


class Rates:
    """How fast clients come: a token bucket each, kept as the time when it will be full again.

    That is the virtual scheduling algorithm of ITU-T I.371. A bucket that is full again is forgotten.
    """

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str, now: float, rate: float, burst: int) -> bool:
        """Take a token. @param rate: tokens a second. @param burst: the bucket's size. @return: there was one."""
        full_at = self._full_at
        full = full_at.get(client, now)
        if full - now > burst / rate:  # emptied at another rate, or the clock was set back
            full = full_at[client] = now + burst / rate
        missing = max(full - now, 0.0) * rate
        # Rounding must not cost a token.
        if missing > burst - 1 + 1e-6:
            return False
        full_at[client] = now + (missing + 1) / rate
        full_at.move_to_end(client)
        for _ in range(2):  # one comes, two may go: they never pile up
            oldest = next(iter(full_at))
            if full_at[oldest] > now and len(full_at) <= MAX_RATES:
                break
            del full_at[oldest]
        return True


class Client:
    """Who connections come from, as long as there are any. @ivar hellos: of them, how many wait for their hello."""

    __slots__ = ("connections", "hellos", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = 0
        self.hellos = 0


class Permit:
    """One connection that was let in; it is told what becomes of it, and counts until L{leave}."""

    __slots__ = ("_admission", "_client", "_connecting", "_life", "_route", "_since")

    def __init__(self, admission: Admission, client: Client | None, since: float) -> None:
        self._admission = admission
        self._client = client
        self._since = since
        self._life: Any = None
        self._route: tuple[str, str | None] | None = None
        self._connecting: tuple[str, str | None] | None = None

    @property
    def client(self) -> str | None:
        """The client that it counts as. None: no limit by client is for it."""
        return None if self._client is None else self._client.name

    def waits_as(self, life: Any) -> None:
        """It waits for its hello. @param life: what is ended when it takes too long."""
        self._life = life
        self._admission.hellos[self] = None
        if self._client is not None:
            self._client.hellos += 1

    def heard(self) -> None:
        """Its hello has come."""
        if self._life is not None:
            self._life = None
            del self._admission.hellos[self]
            if self._client is not None:
                self._client.hellos -= 1

    def takes(self, route: LiveRoute) -> None:
        """It goes by this route. @raise Refusal: the route has all that it may have."""
        self._route = self._admission.enter_route(route)
        self.connects(*self._route)

    def connects(self, name: str, listener: str | None) -> None:
        """It begins to look for its target, by a route or bridge. @raise Refusal: too many do."""
        self._connecting = self._admission.enter_connecting(name, listener)

    def tunnels(self) -> None:
        """It has become a tunnel."""
        if self._connecting is not None:
            self._admission.left_connecting(self._connecting)
            self._connecting = None

    def holds_more(self, count: int) -> None:
        """It has so many descriptors more than its two; negative: fewer."""
        self._admission.aside += count

    def leave(self) -> None:
        """It has ended."""
        if self._life is not None:
            self.heard()
        self.tunnels()
        self._admission.left(self._client, self._route)

    def too_slow(self, now: float) -> bool:
        """Whether it had its time for the hello."""
        return now - self._since >= SLOW_HELLO_S

    def give_up(self, now: float) -> tuple[Any, str]:
        """It makes room for others. @return: whose end it is, and why."""
        life = self._life
        self.heard()
        return life, f"no complete hello within {now - self._since:.3g} s, and others wait ([limits] max_hellos)"


class Admission:
    """The limits in force, and what counts towards them. What counts outlives a change of the limits.

    @param seconds: a clock.
    @param refused: told of each connection that is refused when it is accepted: by which limit, and whose it is.
    @param end: ends a connection that was let in, and is told why.
    @ivar refusals: how many connections were refused, by limit.
    @ivar waits: how often accepting had to wait, by limit.
    @ivar max_connections: how many there may be at once. @ivar max_hellos: of these, how many may wait for their hello.
    @ivar max_connecting: of these, how many whose hello has come may have no tunnel yet.
    @ivar connecting: how many of these there are.
    @ivar hellos: those that wait for their hello, the oldest first.
    @ivar aside: descriptors that connections have beside their two: a bridge's own connections; and those of the admin
        endpoint's connections.
    """

    def __init__(
        self, seconds: Callable[[], float], refused: Callable[[str, str], None], end: Callable[[Any, str], None]
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.max_connections = self.max_hellos = self.max_connecting = self.connecting = 0
        self.aside = 0
        self.hellos: OrderedDict[Permit, None] = OrderedDict()
        self._seconds = seconds
        self._refused = refused
        self._end = end
        self._connections = 0
        self._clients: dict[str, Client] = {}
        self._routes: dict[tuple[str, str | None], int] = {}
        self._connecting: dict[tuple[str, str | None], int] = {}
        self._rates = Rates()
        self.change(Limits(), 0)

    def change(self, limits: Limits, affordable: int) -> None:
        """Other limits hold from now on. Nobody who is there is touched.

        @param affordable: how many connections the descriptors suffice for.
        """
        self._limits = limits
        self._by_client = limits.by_client
        # Asking for an address costs some microseconds, most of them for IPv6.
        self._name: Callable[[str], str | None] = lru_cache(_MAX_REMEMBERED)(limits.client)
        self.max_connections = affordable if limits.max_connections is None else limits.max_connections
        self._max_buffered = sys.maxsize if limits.max_buffered is None else limits.max_buffered
        share = max(self.max_connections // 2, MIN_HELLOS)
        self.max_hellos = share if limits.max_hellos is None else limits.max_hellos
        self.max_connecting = share if limits.max_connecting is None else limits.max_connecting
        self._affordable = affordable

    def full(self) -> str | None:
        """Which limit keeps new connections waiting. None: one may be accepted."""
        if self._connections >= self.max_connections:
            return "max_connections"
        if len(self.hellos) >= self.max_hellos:
            return "max_hellos"
        return "max_buffered" if TOTAL.bytes >= self._max_buffered else None

    def make_room(self) -> bool:
        """End the connection that has waited longest for its hello, if it had its time. @return: one was ended."""
        now = self._seconds()
        guest = next(iter(self.hellos), None)
        if guest is None or not guest.too_slow(now):
            return False
        self.refusals["max_hellos"] += 1
        self._end(*guest.give_up(now))
        return True

    def admit(self, address: str) -> Permit | None:
        """Let a connection in. @param address: ``192.0.2.7:50123``, ``[2001:db8::7]:50123`` or ``unix``.

        @return: None: it is refused, and whoever wants to know has been told.
        """
        now = self._seconds()
        name = self._name(address.rpartition(":")[0])
        client = None
        if name is not None:
            client = self._clients.get(name)
            if self._by_client:
                limit = self._refusing(name, client, now)
                if limit is not None:
                    self.refusals[limit] += 1
                    self._refused(limit, name)
                    return None
            if client is None:
                client = self._clients[name] = Client(name)
            client.connections += 1
        self._connections += 1
        return Permit(self, client, now)

    def _refusing(self, name: str, client: Client | None, now: float) -> str | None:
        """The limit that a client has reached."""
        limits = self._limits
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

    # What guests tell

    def enter_route(self, route: LiveRoute) -> tuple[str, str | None]:
        """One more goes by a route. @return: for L{left}. @raise Refusal: it has all that it may have."""
        key = route.server_name, route.listener
        count, most = self._routes.get(key, 0), route.max_connections
        if most is not None and count >= most:
            self.refusals["max_connections_per_route"] += 1
            # No alert: it will pass, and after a plain close all of Pulsar's clients try again.
            raise Refusal(Result.LIMIT, f"route {route.server_name} has its {counted(most, 'connection')}")
        self._routes[key] = count + 1
        return key

    def enter_connecting(self, name: str, listener: str | None) -> tuple[str, str | None]:
        """One more of a route (or bridge) begins to look for its target. @return: for L{left_connecting}.

        Unless it is written, a route's share is as many as there is room for beside them: so each route leaves room
        for the others, and the first one of a route comes in while C{max_connecting} is not reached.

        @raise Refusal: C{max_connecting} or the route's share is reached.
        """
        key, limits = (name, listener), self._limits
        count, share = self._connecting.get(key, 0), limits.max_connecting_per_route
        if share is None:
            room = min(self.max_connections, self._affordable - self.aside // 2) - (self._connections - 1)
            share = max(min(room, self.max_connecting - self.connecting), 1)
        if self.connecting >= self.max_connecting:
            limit, why = (
                "max_connecting",
                f"all routes together have {counted(self.connecting, 'connection')} without a tunnel",
            )
        elif count >= share:
            limit, why = "max_connecting_per_route", f"it has {counted(count, 'connection')} without a tunnel"
        else:
            self._connecting[key] = count + 1
            self.connecting += 1
            return key
        self.refusals[limit] += 1
        # No alert: it will pass.
        raise Refusal(Result.LIMIT, f"route {name}: {why} ([limits] {limit})")

    def left_connecting(self, key: tuple[str, str | None]) -> None:
        """One of a route has its tunnel, or has ended."""
        self.connecting -= 1
        count = self._connecting[key]
        if count == 1:
            del self._connecting[key]
        else:
            self._connecting[key] = count - 1

    def left(self, client: Client | None, route: tuple[str, str | None] | None) -> None:
        """A guest has gone. Nothing is kept of a client or a route that has no other."""
        self._connections -= 1
        if client is not None:
            client.connections -= 1
            if not client.connections:
                del self._clients[client.name]
        if route is not None:
            count = self._routes[route]
            if count == 1:
                del self._routes[route]
            else:
                self._routes[route] = count - 1
