"""Kills, stops and continues workers, as a seed says."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event

from attrs import define, field

MIN_STOP_S, MAX_STOP_S = 0.1, 2.0
"""Seconds that a worker is stopped: less than its supervisor accepts from one that does not answer."""


@define
class Trouble:
    """What happens to workers. ``every_s``: the mean time between two events. ``kills``: by `time.monotonic`.

    ``pids``: returns those of the workers. ``stops``: their number.
    """

    seed: int
    every_s: float
    pids: Callable[[], Sequence[int]]
    kills: list[float] = field(factory=list)
    stops: int = 0
    _end: Event = field(factory=Event)

    def run(self) -> None:
        """Make trouble until `end`."""
        chance = random.Random(f"trouble {self.seed}")
        while not self._end.wait(chance.expovariate(1 / self.every_s)):
            kills, which, seconds = chance.random() < 0.5, chance.random(), chance.uniform(MIN_STOP_S, MAX_STOP_S)
            if not (pids := self.pids()):
                continue
            pid = pids[int(which * len(pids))]
            with suppress(ProcessLookupError):
                if kills:
                    self.kills.append(time.monotonic())
                    os.kill(pid, signal.SIGKILL)
                else:
                    self.stops += 1
                    os.kill(pid, signal.SIGSTOP)
                    self._end.wait(seconds)
                    os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """Make no more trouble. Stopped workers continue."""
        self._end.set()
