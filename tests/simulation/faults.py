"""Faults of the simulated kernel, network and resolver: which ones, when, how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import attrs

KINDS = {
    "short_reads": "reads return a part of what has arrived",
    "short_writes": "writes accept a part of what has room",
    "eagain_reads": "reads that would succeed return EAGAIN",
    "eagain_writes": "writes that would succeed return EAGAIN",
    "broken_reads": "reads fail with ENOMEM or EIO",
    "broken_writes": "writes fail with ENOBUFS or ENOMEM",
    "no_sockets": "socket(2) fails with EMFILE, ENFILE or ENOBUFS",
    "no_accepts": "accept(2) fails with EMFILE, ENFILE, ENOBUFS, ENOMEM or ECONNABORTED",
    "no_watches": "epoll_ctl(2) fails with ENOMEM or ENOSPC in the set for peers that leave",
    "no_room": "epoll_ctl(2) fails with ENOMEM or ENOSPC in the reactor's set",
    "no_epoll": "epoll_create(2) fails with EMFILE",
    "slow_line": "bytes and resets take up to 2 s",
    "resolver": "the resolver answers late, wrong, never or with an error",
    "names": "name servers answer late, wrong or not",
}


@attrs.frozen
class Fault:
    """One fault of a plan. @ivar rate: how many of the calls it hits, 0 to 1. @ivar since: in seconds of the world."""

    kind: str
    since: float
    until: float
    rate: float

    def __str__(self) -> str:
        return f"{self.since:.2f} s to {self.until:.2f} s: {KINDS[self.kind]} ({self.rate:.0%})"


class Faults:
    """The faults of a plan. @param now: the world's clock."""

    def __init__(self, plan: Iterable[Fault], now: Callable[[], float]) -> None:
        self._plan: dict[str, list[Fault]] = {}
        self._now = now
        for fault in plan:
            self._plan.setdefault(fault.kind, []).append(fault)

    def rate(self, kind: str, rng: Random) -> bool:
        """Whether a fault of this kind happens now. @param rng: decides; it is asked only while there is a fault."""
        found = self._plan.get(kind)
        if found is None:
            return False
        now = self._now()
        return any(fault.since <= now < fault.until and rng.random() < fault.rate for fault in found)
