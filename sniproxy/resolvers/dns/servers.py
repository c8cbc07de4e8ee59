"""Remembers which name servers were silent lately and which answer only without EDNS. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.resolvers.dns.resolvconf import Server

REMEMBER_S = 30.0
"""Seconds for which a server counts as silent or as one without EDNS. Afterwards one lookup tries it normally."""


class ServerStates:
    """States of name servers. All times are the reactor's, in seconds."""

    def __init__(self) -> None:
        self._silent: dict[Server, float] = {}
        self._no_edns: dict[Server, float] = {}

    def order(self, servers: Iterable[Server], now: float) -> list[Server]:
        """The order in which a lookup queries the servers: silent ones come last."""
        ordered = list(servers)
        for known in (self._silent, self._no_edns):  # forget servers that resolv.conf no longer has
            for server in known.keys() - set(ordered):
                del known[server]
        return sorted(ordered, key=lambda server: _holds(self._silent, server, now))

    def without_edns(self, server: Server, now: float) -> bool:
        """Whether queries to this server omit the OPT record."""
        return _holds(self._no_edns, server, now)

    def record_silence(self, server: Server, now: float) -> None:
        """The server did not answer in time."""
        self._silent[server] = now + REMEMBER_S

    def record_answer(self, server: Server, edns: bool, now: float) -> None:
        """The server gave a usable answer. @param edns: whether the query had an OPT record."""
        self._silent.pop(server, None)
        if edns:
            self._no_edns.pop(server, None)
        else:
            self._no_edns.setdefault(server, now + REMEMBER_S)


def _holds(known: dict[Server, float], server: Server, now: float) -> bool:
    """Whether a state applies to a server. When it expires, one lookup gets False and so tries the server again."""
    until = known.get(server)
    if until is None or now < until:
        return until is not None
    known[server] = now + REMEMBER_S
    return False
