"""What the last questions showed about each name server: which are silent, and which answer only without EDNS. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.resolvers.dns.resolvconf import Server

REMEMBER_S = 30.0
"""Seconds for which a server counts as silent, or as one without EDNS. Then one question tries it as any other."""


class ServerStates:
    """Times are the reactor's, in seconds."""

    def __init__(self) -> None:
        self._silent: dict[Server, float] = {}
        self._no_edns: dict[Server, float] = {}

    def order(self, servers: Iterable[Server], now: float) -> list[Server]:
        """The servers in the order in which one question asks them: those that were silent come last."""
        ordered = list(servers)
        for known in (self._silent, self._no_edns):  # resolv.conf has changed
            for server in known.keys() - set(ordered):
                del known[server]
        return sorted(ordered, key=lambda server: _holds(self._silent, server, now))

    def without_edns(self, server: Server, now: float) -> bool:
        """Whether a question to this server has no OPT record."""
        return _holds(self._no_edns, server, now)

    def silent(self, server: Server, now: float) -> None:
        """The server did not answer in time."""
        self._silent[server] = now + REMEMBER_S

    def answered(self, server: Server, edns: bool, now: float) -> None:
        """The server gave a usable answer. @param edns: to a question with an OPT record."""
        self._silent.pop(server, None)
        if edns:
            self._no_edns.pop(server, None)
        else:
            self._no_edns.setdefault(server, now + REMEMBER_S)


def _holds(known: dict[Server, float], server: Server, now: float) -> bool:
    """Whether it is still true of a server. At the end of its time one question finds it false, and so tries again."""
    until = known.get(server)
    if until is None or now < until:
        return until is not None
    known[server] = now + REMEMBER_S
    return False
