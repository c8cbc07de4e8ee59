"""The live brokers of a cluster, and where names lead among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable
from sniproxy.util.text import bounded, counted

MAX_SHOWN = 5
"""Names of brokers that a message shows."""


@attrs.frozen
class LiveBroker:
    """A broker that its cluster calls alive.

    @ivar web_id: what the cluster calls it: its web address, without a scheme.
    @ivar name: the host that it advertises to clients, normalised.
    @ivar host: where it is dialled, with L{port}.
    @ivar healthy: False: it failed its last check, and is dialled for a service name only when all others fail.
    """

    web_id: str
    name: str
    host: str
    port: int
    healthy: bool = True


class LiveBrokers:
    """@param service_names: names that mean the cluster, normalised: any broker will do.

    @param unknown: how many there are beside these whose names and places are not known.
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
        """Whether answers may be other ones."""
        return (self.brokers, self.unknown) != (other.brokers, other.unknown)

    def targets(self, server_name: str | None) -> Sequence[Target]:
        """Where the name leads: to all brokers, to those that advertise it, or nowhere: then it is empty."""
        if server_name is None:
            return ()
        return self._service if server_name in self._services else self._by_name.get(server_name, ())

    def resolution(self, server_name: str | None, ttl: float | None, refused_ttl: float) -> Resolution:
        """The answer. @param refused_ttl: for how long a refusal holds.

        @raise Refused: no live broker has the name. @raise Unavailable: one may have it that is not known.
        """
        targets = self.targets(server_name)
        if targets:
            return Resolution(targets, ttl)
        if not self.brokers:
            raise Unavailable(f"the cluster has no live broker{self._and_unknown()}")
        why = f"no live broker is called {server_name}; there are {self._names()}{self._and_unknown()}"
        raise Unavailable(why) if self.unknown else Refused(why, refused_ttl)

    def summary(self) -> str:
        """``3 brokers``, ``3 brokers, 1 of them not healthy``."""
        ill = sum(not one.healthy for one in self.brokers)
        return (
            counted(len(self.brokers), "broker") + (f", {ill} of them not healthy" if ill else "") + self._and_unknown()
        )

    def changes(self, before: LiveBrokers | None) -> str:
        """What is other than before, each with a semicolon before it; empty: no broker came, left, moved, fell ill."""
        old = {} if before is None else {one.web_id: one for one in before.brokers}
        new = {one.web_id: one for one in self.brokers}
        both = new.keys() & old.keys()
        verbs = []
        for verb, ids in (
            ("came", new.keys() - old.keys()),
            ("left", old.keys() - new.keys()),
            ("is healthy again", [one for one in both if new[one].healthy and not old[one].healthy]),
            ("is not healthy", [one for one in both if old[one].healthy and not new[one].healthy]),
            ("moved", [one for one in both if _place(new[one]) != _place(old[one])]),
        ):
            shown = [f"{(new.get(one) or old[one]).name} ({one})" for one in sorted(ids)]
            verbs += [f"{_few(shown)} {verb}"] if shown else []
        return "".join(f"; {verb}" for verb in verbs)

    def _and_unknown(self) -> str:
        return f", and {self.unknown} of which nothing is known" if self.unknown else ""

    def _names(self) -> str:
        return _few(sorted({*self._by_name, *self._services}))


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else ""
    return bounded(", ".join(texts[:MAX_SHOWN]), 600) + more


def _place(broker: LiveBroker) -> tuple[str, str, int]:
    return broker.name, broker.host, broker.port
