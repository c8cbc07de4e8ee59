"""What a resolver knows of its cluster: the live brokers, and those that left a short time ago. It logs changes."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from sniproxy.interfaces import Resolution, Target, Unavailable, WatchState
from sniproxy.resolvers.pulsar.brokers import LiveBrokers
from sniproxy.routing.brokernames import BrokerName
from sniproxy.util.bounded import BoundedMap

DEPARTED_S = 300.0
"""Seconds for which the names of a broker that has left lead to its last address. A restart takes less.

A refusal would send an alert, after which some clients do not retry. A dial that fails is a plain close.
"""

MAX_DEPARTED = 10_000
"""Names of brokers that have left."""

MAX_LOGGED_NOTES = 1000
"""Notes that are remembered, so that each is logged once. Further ones are not logged."""


class BrokerDirectory:
    """@param log: the resolver's log. @ivar live: the live brokers. None: unknown."""

    def __init__(self, log: Logger) -> None:
        self.live: LiveBrokers | None = None
        self._log = log
        self._departed: BoundedMap[str, Sequence[Target]] = BoundedMap(MAX_DEPARTED)
        self._noted: set[str] = set()

    def update(self, live: LiveBrokers, now: float) -> bool:
        """Replace the live brokers. @param now: the reactor's time. @return: whether earlier answers may be wrong."""
        before, self.live = self.live, live
        self._log_notes(live)
        if before is not None and not live.differs(before):
            return False
        self._log.info("Pulsar brokers: {summary}{changes}", summary=live.summary(), changes=live.changes(before))
        self._remember_departed(before, live, now)
        return True

    def discard(self) -> None:
        """Forget the live brokers."""
        self.live = None

    def knows(self, server_name: str | None) -> bool:
        """Whether the name leads to a live broker."""
        return self.live is not None and bool(self.live.targets(server_name))

    def resolution(self, server_name: str | None, now: float, refused_ttl: float) -> Resolution:
        """The answer for a name. @param refused_ttl: seconds to cache a refusal, or the address of a departed broker.

        @raise Refused: no broker has the name. @raise Unavailable: the name may be that of an unknown broker.
        """
        if self.live is None:
            raise Unavailable("no brokers known")
        if server_name is not None and not self.live.targets(server_name):
            self._departed.older(now - DEPARTED_S)
            last = self._departed.get(server_name)
            if last is not None:
                return Resolution(last, refused_ttl)
        return self.live.resolution(server_name, None, refused_ttl)

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        """As L{IBrokerDirectory.names_of<sniproxy.routing.brokernames.IBrokerDirectory>}."""
        return () if self.live is None else self.live.names_of(host, port)

    def state(self, error: str | None) -> WatchState:
        """What is known. @param error: why the last refresh failed."""
        if self.live is None:
            return WatchState("no brokers known", error)
        return WatchState(self.live.summary(), error, self.live.described)

    def _remember_departed(self, before: LiveBrokers | None, live: LiveBrokers, now: float) -> None:
        ids = {one.web_id for one in live.brokers}
        for host, owner in {} if before is None else before.owners().items():
            if owner.claim.broker.web_id not in ids:
                self._departed.put(host, owner.targets, now)
        for host in list(self._departed):
            if live.targets(host):
                self._departed.pop(host)

    def _log_notes(self, live: LiveBrokers) -> None:
        for note in live.notes:
            if note not in self._noted and len(self._noted) < MAX_LOGGED_NOTES:
                self._noted.add(note)
                self._log.info("Pulsar brokers: {note}", note=note)
