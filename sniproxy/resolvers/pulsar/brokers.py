"""The live brokers of a cluster and the targets of a name among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from itertools import islice

import attrs

from sniproxy.interfaces import Refused, Resolution, Target, Unavailable
from sniproxy.routing.brokernames import BrokerName
from sniproxy.util.text import bounded, counted

MAX_SHOWN = 5
"""Names of brokers in a message."""

MAX_SPARES = 4
"""Other brokers that are tried for a name that several claim."""

MAX_NOTES = 100
"""Notes of each kind that are kept of all brokers."""


class Rank(IntEnum):
    """What a broker has a name for. If several brokers or listeners claim a name, the lowest rank gets it."""

    CLIENTS = 0
    """The listener that clients of the proxy use."""
    TLS = 1
    """Another listener with TLS."""
    PLAIN = 2
    """A listener without TLS, often the internal one."""
    OWN = 3
    """The broker's own address: C{advertisedAddress}."""


@attrs.frozen
class AdvertisedName:
    """A name of a broker. @ivar target: the host and TLS port to which it leads."""

    name: BrokerName
    rank: Rank
    target: Target


@attrs.frozen
class LiveBroker:
    """A broker that its cluster lists as alive.

    @ivar web_id: its id in the cluster: its web address without a scheme.
    @ivar name: the host that it advertises to clients of the proxy, normalised.
    @ivar host: the host to dial. @ivar port: the port to dial.
    @ivar healthy: False: its last health check failed. A service name leads to it only if all healthy brokers fail.
    @ivar names: all its names, by rank. Empty: only C{name}.
    @ivar places: host and port of each of its URLs of the binary protocol, as advertised.
    @ivar started: when it started, in milliseconds since 1970. 0: unknown.
    @ivar notes: what could not be read of it, for the log.
    """

    web_id: str
    name: str
    host: str
    port: int
    healthy: bool = True
    names: tuple[AdvertisedName, ...] = ()
    places: frozenset[tuple[str, int]] = frozenset()
    started: int = 0
    notes: tuple[str, ...] = attrs.field(default=(), eq=False)

    @property
    def all_names(self) -> tuple[AdvertisedName, ...]:
        """All its names, at least one."""
        only = AdvertisedName(BrokerName(self.name, "", True), Rank.CLIENTS, Target(self.host, self.port))
        return self.names or (only,)


class LiveBrokers:
    """The live brokers at one time.

    @param service_names: normalised names that lead to all brokers.
    @param unknown: the number of further brokers, whose names and addresses are unknown.
    @ivar notes: for the log: what could not be read, and the names that several brokers or listeners claim.
    """

    def __init__(self, service_names: Iterable[str], brokers: Sequence[LiveBroker], unknown: int = 0) -> None:
        self.brokers = tuple(brokers)
        self.unknown = unknown
        self._services = frozenset(service_names)
        self._service = tuple(Target(one.host, one.port, weight=int(one.healthy)) for one in brokers)
        claims: dict[str, list[Claim]] = {}
        self._places: dict[tuple[str, int], LiveBroker | None] = {}
        for broker in brokers:
            for name in broker.all_names:
                claims.setdefault(name.name.host, []).append(Claim(broker, name))
            for place in broker.places:
                self._places[place] = None if place in self._places else broker
        self._by_name = {host: Owner.of(some) for host, some in claims.items()}
        shared = (note for host in self._by_name if (note := self._by_name[host].note))
        self.notes = (*islice(shared, MAX_NOTES), *islice((note for one in brokers for note in one.notes), MAX_NOTES))

    def differs(self, other: LiveBrokers) -> bool:
        """Whether answers may differ from those of C{other}."""
        return (self.brokers, self.unknown) != (other.brokers, other.unknown)

    def targets(self, server_name: str | None) -> Sequence[Target]:
        """All brokers for a service name, else the brokers that advertise the name. Empty: there are none."""
        if server_name is None:
            return ()
        if server_name in self._services:
            return self._service
        owner = self._by_name.get(server_name)
        return () if owner is None else owner.targets

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        """As L{IBrokerDirectory.names_of<sniproxy.routing.brokernames.IBrokerDirectory>}."""
        broker = self._places.get((host, port))
        return () if broker is None else [one.name for one in broker.all_names]

    def owners(self) -> Mapping[str, Owner]:
        """The broker of each name, by name. Service names are not in it."""
        return self._by_name

    @cached_property
    def described(self) -> Mapping[str, str]:
        """What each name is: the broker and its listener."""
        services = dict.fromkeys(sorted(self._services), "service name: all brokers")
        return {**services, **{host: str(self._by_name[host].claim) for host in self._by_name if host not in services}}

    def resolution(self, server_name: str | None, ttl: float | None, refused_ttl: float) -> Resolution:
        """The answer for a name. @param refused_ttl: seconds to cache a refusal.

        @raise Refused: no live broker has the name.
        @raise Unavailable: there is no live broker, or an unknown broker may have the name.
        """
        targets = self.targets(server_name)
        if targets:
            return Resolution(targets, ttl)
        if not self.brokers:
            raise Unavailable(f"no live broker{self._unknown_note()}", authoritative=not self.unknown)
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
            ("has other names", [one for one in both if _same_place_other_names(new[one], old[one])]),
            ("restarted", [one for one in both if new[one].started != old[one].started]),
        ):
            shown = [f"{(new.get(one) or old[one]).name} ({one})" for one in sorted(ids)]
            changes += [f"{_few(shown)} {change}"] if shown else []
        return "".join(f"; {change}" for change in changes)

    def _unknown_note(self) -> str:
        return f", {self.unknown} with unknown names" if self.unknown else ""

    def _names(self) -> str:
        clients = [host for host, owner in self._by_name.items() if owner.claim.name.rank is Rank.CLIENTS]
        return _few(sorted({*clients, *self._services}))


@attrs.frozen
class Claim:
    """A name of a broker, and the broker."""

    broker: LiveBroker
    name: AdvertisedName

    def __str__(self) -> str:
        """As in ``one.internal:8080, listener external`` or ``... listener internal, plaintext``."""
        name = self.name.name
        what = f"listener {bounded(name.listener, 100)}" if name.listener else "its own address"
        return f"{self.broker.web_id}, {what}{'' if name.tls or not name.listener else ', plaintext'}"

    @property
    def order(self) -> tuple[int, bool, int, str]:
        """The order of claims to one name, the best first."""
        return self.name.rank, not self.broker.healthy, -self.broker.started, self.broker.web_id


@attrs.frozen
class Owner:
    """The broker and listener that have a name. @ivar note: which others claim it. Empty: none does.

    @ivar targets: the owner's, then those of other brokers with the same claim, as spares: if a broker has restarted
        under another id, its old id is listed for a while.
    """

    claim: Claim
    targets: tuple[Target, ...]
    note: str = ""

    @classmethod
    def of(cls, claims: Sequence[Claim]) -> Owner:
        """@param claims: all claims to one name, at least one."""
        if len(claims) == 1:
            return cls(claims[0], (claims[0].name.target,))
        first, *others = sorted(claims, key=lambda claim: claim.order)
        ids = {one.broker.web_id: one for one in (first, *others)}
        spares = {
            attrs.evolve(one.name.target, weight=0): None
            for one in others
            if one.broker is not first.broker and one.name.rank is first.name.rank
        }
        host = first.name.name.host
        leads = f"it leads to {first}"
        note = ""
        if len(ids) > 1:
            note = f"{host} is a name of {len(ids)} brokers: {_few(sorted(ids))}; {leads}"
        elif any(one.name.name.tls and one.name.target != first.name.target for one in others):
            listeners = sorted({one.name.name.listener or "none" for one in (first, *others) if one.name.name.tls})
            note = f"{host} is a name of several listeners: {_few(listeners)}; {leads}, port {first.name.target.port}"
        return cls(first, (first.name.target, *islice(spares, MAX_SPARES)), note)


def keeping_note(live: LiveBrokers | None, keep: float) -> str:
    """What to append to the log line of a failed refresh. @param keep: seconds."""
    return "" if live is None else f"; using the last known brokers for up to {keep:g} s"


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else ""
    return bounded(", ".join(texts[:MAX_SHOWN]), 600) + more


def _same_place_other_names(new: LiveBroker, old: LiveBroker) -> bool:
    return _place(new) == _place(old) and new.names != old.names


def _place(broker: LiveBroker) -> tuple[str, str, int]:
    return broker.name, broker.host, broker.port
