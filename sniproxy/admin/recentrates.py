"""Means per second of counts that only grow: of new connections over a minute, of bytes over ten to twenty seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sniproxy.admin.tally import Tally

NEW_SAMPLES = 7
"""Samples of connections. With a sample every ten seconds, the oldest is a minute old."""

BYTE_SAMPLES = 2
"""Samples of bytes."""

MIN_SPAN_S = 1.0
"""Seconds that a mean covers, at least."""


class Rates(NamedTuple):
    """Means per second. None: not known yet.

    @ivar new: new connections. @ivar up: bytes to targets. @ivar down: bytes to clients.
    """

    new: float | None = None
    up: float | None = None
    down: float | None = None


class _NewSample(NamedTuple):
    time: float
    accepted: Mapping[str, int]
    routed: Mapping[tuple[str, ...], int]
    targets: Mapping[str, int]


class RecentRates:
    """The means from the oldest sample to the latest count. They are not known until that is L{MIN_SPAN_S}."""

    def __init__(self) -> None:
        self._new: deque[_NewSample] = deque(maxlen=NEW_SAMPLES)
        self._bytes: deque[Tally] = deque(maxlen=BYTE_SAMPLES)

    def add(self, tally: Tally, targets: Mapping[str, int]) -> None:
        """Add a sample. @param targets: the connections of each target since the start."""
        self._new.append(_NewSample(tally.time, tally.accepted, tally.routed_total, targets))
        self._bytes.append(tally)

    def of_listener(self, name: str, latest: Tally) -> float | None:
        """New connections of a listener per second."""
        return self._new_rate(latest, lambda old: latest.accepted[name] - old.accepted.get(name, 0))

    def of_route(self, keys: Iterable[tuple[str, str]], latest: Tally) -> Rates:
        """The rates of a route. @param keys: its keys in L{Tally}."""
        keys = list(keys)
        return Rates(
            self._new_rate(latest, lambda old: sum(latest.routed_total[key] - old.routed.get(key, 0) for key in keys)),
            self._byte_rate(latest, lambda old: sum(latest.up[key] - old.up[key] for key in keys)),
            self._byte_rate(latest, lambda old: sum(latest.down[key] - old.down[key] for key in keys)),
        )

    def of_target(self, target: str, total: int, latest: Tally) -> Rates:
        """The rates of a target. @param total: its connections since the start."""
        return Rates(
            self._new_rate(latest, lambda old: total - old.targets.get(target, 0)),
            self._byte_rate(latest, lambda old: latest.target_up[target] - old.target_up[target]),
            self._byte_rate(latest, lambda old: latest.target_down[target] - old.target_down[target]),
        )

    def _new_rate(self, latest: Tally, grown: Callable[[_NewSample], int]) -> float | None:
        return _rate(latest.time - self._new[0].time, grown(self._new[0])) if self._new else None

    def _byte_rate(self, latest: Tally, grown: Callable[[Tally], int]) -> float | None:
        return _rate(latest.time - self._bytes[0].time, grown(self._bytes[0])) if self._bytes else None


def _rate(seconds: float, count: int) -> float | None:
    # The counts of a target that was dropped begin again.
    return None if seconds < MIN_SPAN_S else round(max(count, 0) / seconds, 3)
