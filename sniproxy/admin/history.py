"""One hour of the proxy's counts, in steps of ten seconds. Pure.

The memory is fixed: arrays for all connections and for each cause of a refusal, and for L{MAX_TARGETS} targets.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

STEP_S = 10
"""Seconds of one step."""

STEPS = 360
"""Steps that are kept: one hour."""

MAX_TARGETS = 20
"""Targets with a history, the busiest ones."""

REPLACE_FACTOR = 1.5
"""A target takes the place of the least busy one only if it is that many times as busy: its history begins again."""


class TargetStep(NamedTuple):
    """A target in one step.

    @ivar tunnels: its connections at the end of the step. @ivar up: bytes to it. @ivar down: bytes to clients.
    @ivar failed: failed connects.
    """

    tunnels: int = 0
    up: int = 0
    down: int = 0
    failed: int = 0


class Step(NamedTuple):
    """All that happened in one step.

    @ivar tunnels: open tunnels at its end. @ivar new: accepted connections. @ivar refused: refused ones, by cause.
    @ivar up: bytes to targets. @ivar down: bytes to clients. @ivar targets: by name; those left out did nothing.
    """

    tunnels: int = 0
    new: int = 0
    refused: Mapping[str, int] = {}
    up: int = 0
    down: int = 0
    targets: Mapping[str, TargetStep] = {}


class History:
    """The last L{STEPS} steps. @param causes: of refusals; others are not kept.

    @ivar end: when the last step ended, in seconds since 1970. None: there is none.
    """

    def __init__(self, causes: Iterable[str]) -> None:
        self.end: float | None = None
        self._count = 0
        self._series = {name: _zeros() for name in ("tunnels", "new", "up", "down")}
        self._refused = {cause: _zeros() for cause in causes}
        self._targets: dict[str, _TargetSeries] = {}

    def add(self, step: Step, scores: Mapping[str, float], end: float) -> None:
        """Add a step. @param scores: how busy each target is; others have no history, and lose the one that they had.

        @param end: of the step, in seconds since 1970.
        """
        place = self._count % STEPS
        for name, series in self._series.items():
            series[place] = max(getattr(step, name), 0)
        for cause, series in self._refused.items():
            series[place] = step.refused.get(cause, 0)
        self._choose(scores)
        for target, one in self._targets.items():
            one.put(place, step.targets.get(target, TargetStep()))
        self._count += 1
        self.end = end

    def skip(self, steps: int) -> None:
        """Nothing is known about some steps: their counts are 0, and their tunnels those of the step before."""
        for _ in range(min(steps, STEPS)):
            before, place = (self._count - 1) % STEPS, self._count % STEPS
            for series in (*self._series.values(), *self._refused.values()):
                series[place] = 0
            self._series["tunnels"][place] = self._series["tunnels"][before]
            for one in self._targets.values():
                one.put(place, TargetStep(one.series["tunnels"][before]))
            self._count += 1

    def document_steps(self, seconds: int) -> Generator[None, None, dict[str, Any]]:
        """The last seconds as JSON, in steps. All series have the same length, and end with the last step."""
        count = min(-(-seconds // STEP_S), self._count, STEPS)
        series: dict[str, Any] = {name: self._last(one, count) for name, one in self._series.items()}
        yield
        found = {cause: self._last(one, count) for cause, one in self._refused.items()}
        series["refused"] = {cause: values for cause, values in found.items() if any(values)}
        targets = series["targets"] = {}
        for name, one in list(self._targets.items()):
            yield
            missing = max(count - (self._count - one.since), 0)
            targets[name] = {
                key: [None] * missing + self._last(values, count)[missing:] for key, values in one.series.items()
            }
        return {"step_s": STEP_S, "end": self.end, "series": series}

    def _choose(self, scores: Mapping[str, float]) -> None:
        """Give the busiest targets a history."""
        for name in [name for name in self._targets if name not in scores]:
            del self._targets[name]
        busiest = nlargest(MAX_TARGETS, scores, key=lambda name: scores[name])
        for name in busiest:
            if name in self._targets:
                continue
            if len(self._targets) >= MAX_TARGETS:
                least = min(self._targets, key=lambda one: scores[one])
                if scores[name] <= REPLACE_FACTOR * scores[least]:
                    break
                del self._targets[least]
            self._targets[name] = _TargetSeries(self._count)

    def _last(self, series: array[int], count: int) -> list[int]:
        """The last values, oldest first."""
        end = self._count % STEPS
        if count <= end:
            return series[end - count : end].tolist()
        return (series[STEPS - (count - end) :] + series[:end]).tolist()


class _TargetSeries:
    """The series of one target. @ivar since: the number of the first step that they have."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.series: Mapping[str, array[int]] = {name: _zeros() for name in TargetStep._fields}

    def put(self, place: int, step: TargetStep) -> None:
        values: Sequence[int] = step
        for series, value in zip(self.series.values(), values, strict=True):
            series[place] = value


def _zeros() -> array[int]:
    return array("Q", bytes(8 * STEPS))
