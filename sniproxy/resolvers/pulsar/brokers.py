"""The live brokers of a cluster and the targets of a name among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable
from sniproxy.util.text import bounded, counted

MAX_SHOWN = 5
"""Names of brokers in a message."""


@attrs.frozen
class LiveBroker:
    """A broker that its cluster lists as alive.

    @ivar web_id: its id in the cluster: its web address without a scheme.
    @ivar name: the host that it advertises to clients, normalised.
    @ivar host: the host to dial. @ivar port: the port to dial.
    @ivar healthy: False: its last health check failed. A service name leads to it only if all healthy brokers fail.
    """

    web_id: str
    name: str
    host: str
    port: int
    healthy: bool = True


class LiveBrokers:
    """The live brokers at one time.

    @param service_names: normalised names that lead to all brokers.
    @param unknown: the number of further brokers, whose names and addresses are unknown.
    """

    def __init__(self, service_names: Iterable[str], brokers: Sequence[LiveBroker], unknown: int = 0) -> None:
        self.brokers = tuple(brokers)
        self.unknown = unknown
        self._services = frozenset(service_names)
        self._service = tuple(Target(one.host, one.port, weight=int(one.healthy)) for one in brokers)
        self._by_name: dict[str, list[Target]] = {}
        for one in brokers:
            self._by_name.setdefault(one.name, []).append(Target(one.host, one.port))

    def differs(self, other: LiveBrokers) -> bool:
        """Whether answers may differ from those of C{other}."""
        return (self.brokers, self.unknown) != (other.brokers, other.unknown)

    def targets(self, server_name: str | None) -> Sequence[Target]:
        """All brokers for a service name, else the brokers that advertise the name. Empty: there are none."""
        if server_name is None:
            return ()
        return self._service if server_name in self._services else self._by_name.get(server_name, ())

    def resolution(self, server_name: str | None, ttl: float | None, refused_ttl: float) -> Resolution:
        """The answer for a name. @param refused_ttl: seconds to cache a refusal.

        @raise Refused: no live broker has the name.
        @raise Unavailable: there is no live broker, or an unknown broker may have the name.
        """
        targets = self.targets(server_name)
        if targets:
            return Resolution(targets, ttl)
        if not self.brokers:
            raise Unavailable(f"no live broker{self._unknown_note()}")
        why = f"no live broker named {server_name}; known: {self._names()}{self._unknown_note()}"
        raise Unavailable(why) if self.unknown else Refused(why, refused_ttl)

    def summary(self) -> str:
        """As in ``3 brokers`` and ``3 brokers, 1 unhealthy, 2 with unknown names``."""
        unhealthy = sum(not one.healthy for one in self.brokers)
        return (
            counted(len(self.brokers), "broker")
            + (f", {unhealthy} unhealthy" if unhealthy else "")
            + self._unknown_note()
        )

    def changes(self, before: LiveBrokers | None) -> str:
        """The differences to C{before}, each after a semicolon. Empty: there are none."""
        old = {} if before is None else {one.web_id: one for one in before.brokers}
        new = {one.web_id: one for one in self.brokers}
        both = new.keys() & old.keys()
        changes = []
        for change, ids in (
            ("added", new.keys() - old.keys()),
            ("removed", old.keys() - new.keys()),
            ("healthy again", [one for one in both if new[one].healthy and not old[one].healthy]),
            ("unhealthy", [one for one in both if old[one].healthy and not new[one].healthy]),
            ("moved", [one for one in both if _place(new[one]) != _place(old[one])]),
        ):
            shown = [f"{(new.get(one) or old[one]).name} ({one})" for one in sorted(ids)]
            changes += [f"{_few(shown)} {change}"] if shown else []
        return "".join(f"; {change}" for change in changes)

    def _unknown_note(self) -> str:
        return f", {self.unknown} with unknown names" if self.unknown else ""

    def _names(self) -> str:
        return _few(sorted({*self._by_name, *self._services}))


def keeping_note(live: LiveBrokers | None, keep: float) -> str:
    """What to append to the log line of a failed refresh. @param keep: seconds."""
    return "" if live is None else f"; using the last known brokers for up to {keep:g} s"


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else ""
    return bounded(", ".join(texts[:MAX_SHOWN]), 600) + more


def _place(broker: LiveBroker) -> tuple[str, str, int]:
    return broker.name, broker.host, broker.port
