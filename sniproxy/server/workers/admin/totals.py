"""Adds up the totals of workers, those that have ended included."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Mapping
from threading import Lock
from typing import Any

MAX_ENDED = 256
"""Workers that have ended and whose answers may still be merged: more than there are."""


class Totals:
    """Totals since the supervisor's start, as far as they were seen. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._latest: dict[Hashable, dict[str, int]] = {}
        self._past: Counter[str] = Counter()
        self._ended: deque[Hashable] = deque(maxlen=MAX_ENDED)

    def state(self) -> tuple[dict[str, int], dict[Hashable, dict[str, int]]]:
        """The totals of workers that have ended, and those of each other one that were seen last."""
        with self._lock:
            return dict(self._past), dict(self._latest)

    def restore(self, past: Mapping[str, int], latest: Mapping[Hashable, dict[str, int]]) -> None:
        """Continue with these; see L{state}."""
        with self._lock:
            self._past, self._latest = Counter(past), dict(latest)

    def end(self, process: Hashable) -> None:
        """A worker has ended. Its totals still count."""
        with self._lock:
            self._past.update(self._latest.pop(process, {}))
            self._ended.append(process)

    def add_up(self, found: Mapping[Any, dict[str, int]]) -> dict[str, int]:
        """The sums of all workers.

        @param found: the totals of each that has answered. Of those that have not, the latest ones count.
        """
        with self._lock:
            # A worker may have ended after its answer; then it is in the past already.
            self._latest.update({process: totals for process, totals in found.items() if process not in self._ended})
            sums = Counter({name: 0 for totals in found.values() for name in totals})
            sums.update(self._past)
            for totals in self._latest.values():
                sums.update(totals)
            return dict(sums)
