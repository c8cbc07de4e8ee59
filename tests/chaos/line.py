"""What a bad line does to each packet, drawn from a seed. Pure: time and packets come in by arguments."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from attrs import field, frozen

UP, DOWN, BOTH = "up", "down", "both"
"""Ways of a line: from the clients to the proxies, back, and both."""


@frozen
class Quality:
    """A line's faults, in each direction.

    ``loss``, ``duplicated``: shares of all packets. ``reordered``: the share that is passed on without the delay, ahead
    of others. ``delay_s``: of all packets. ``jitter_s``: at most this is added, and it changes every `JITTER_LASTS_S`
    seconds. ``bytes_per_s``: 0 means no limit. ``queue_s``: seconds of the rate that may wait; beyond it packets are
    lost.
    """

    loss: float = 0.02
    duplicated: float = 0.01
    reordered: float = 0.05
    delay_s: float = 0.01
    jitter_s: float = 0.01
    bytes_per_s: float = 4e6
    queue_s: float = 0.2


JITTER_LASTS_S = 0.05


@frozen
class Cut:
    """A partition: no packet passes for some time.

    ``start_s``: seconds from the start of the line. ``way``: `UP`, `DOWN` or `BOTH`. ``data_only``: acknowledgements
    and handshakes of TCP pass, only packets with data are lost.
    """

    start_s: float
    seconds: float
    way: str = BOTH
    data_only: bool = False

    def affects(self, way: str, at_s: float, has_data: bool) -> bool:
        """Whether a packet is lost that is sent this way at this time."""
        within = self.start_s <= at_s < self.start_s + self.seconds
        return within and self.way in (way, BOTH) and (has_data or not self.data_only)


def draw_cuts(seed: int, seconds: float, every_s: float, longest_s: float) -> list[Cut]:
    """Partitions for a run: one about every ``every_s`` seconds, of 0.1 to ``longest_s`` seconds, half of them one way.

    None begins in the last ``longest_s`` seconds. ``every_s`` 0: there is none.
    """
    chance = random.Random(f"cuts {seed}")
    found: list[Cut] = []
    at = every_s and chance.expovariate(1 / every_s)
    while every_s and at < seconds - longest_s:
        found.append(Cut(at, chance.uniform(0.1, longest_s), chance.choice((UP, DOWN, BOTH, BOTH))))
        at += found[-1].seconds + chance.expovariate(1 / every_s)
    return found


@frozen(eq=False)
class Direction:
    """One direction of a line. ``way``: `UP` or `DOWN`. ``counts``: packets by what happened to them.

    Each packet takes the same number of draws, so that its fate depends on the seed and its number alone, but for
    partitions and the queue, which depend on the time, too.
    """

    way: str
    quality: Quality
    cuts: Sequence[Cut]
    _chance: random.Random
    counts: Counter[str] = field(factory=Counter)
    _times: dict[str, float] = field(factory=dict)

    @classmethod
    def of(cls, way: str, quality: Quality, cuts: Sequence[Cut], seed: int) -> Direction:
        """The direction of a line with this seed."""
        return cls(way, quality, cuts, random.Random(f"{way} {seed}"))

    def due(self, now: float, size: int, has_data: bool) -> tuple[float, ...]:
        """When the packet arrives: no time if it is lost, two if it is duplicated.

        ``now``: seconds from the start of the line.
        """
        quality, times = self.quality, self._times
        lost, duplicated, early, jitter, later = (self._chance.random() for _ in range(5))
        if any(cut.affects(self.way, now, has_data) for cut in self.cuts):
            return self._count("cut")
        if lost < quality.loss:
            return self._count("lost")
        leaves = now
        if quality.bytes_per_s:
            leaves = max(times.get("free", now), now)
            if leaves - now > quality.queue_s:
                return self._count("queue full")
            leaves += size / quality.bytes_per_s
            times["free"] = leaves
        if now >= times.get("jitter ends", 0.0):
            times.update({"jitter": jitter * quality.jitter_s, "jitter ends": now + JITTER_LASTS_S})
        if early < quality.reordered:
            self.counts["reordered"] += 1
            first = leaves
        else:
            first = max(times.get("last", 0.0), leaves + quality.delay_s + times["jitter"])
            times["last"] = first
        self.counts["passed"] += 1
        if duplicated < quality.duplicated:
            self.counts["duplicated"] += 1
            return first, first + later * quality.delay_s
        return (first,)

    def _count(self, why: str) -> tuple[float, ...]:
        self.counts[why] += 1
        return ()
