"""Samples the proxy's counts every ten seconds, for the rates and the history of the admin endpoint.

It runs while the endpoint listens. A sample reads the open tunnels and the targets in steps, so that it delays tunnels
only as long as a scrape does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.admin.history import STEP_S, History, Step, TargetStep
from sniproxy.admin.metrics import REFUSALS, Metrics
from sniproxy.admin.recentrates import RecentRates
from sniproxy.admin.slices import Slices, Steps
from sniproxy.admin.sources import StatusSource
from sniproxy.admin.tally import Tally
from sniproxy.routing.targetstats import TargetStats

log = Logger()

BATCH = 40
"""Targets read in one step."""

DECAY = 0.99
"""How much of the activity of a target counts still after a step: half of it after eleven minutes."""

TUNNEL_WEIGHT = 1000.0
"""Bytes that count as much as one connection when the busiest targets are chosen."""


class Sampler:
    """Takes the samples.

    @param proxy: the proxy. @param metrics: counts its connections. @param slices: runs the steps.
    @param now: returns seconds since 1970.
    @ivar rates: the means of the last minute. @ivar history: the last hour.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        proxy: StatusSource,
        metrics: Metrics,
        slices: Slices,
        now: Callable[[], float],
    ) -> None:
        self.rates = RecentRates()
        self.history = History(sorted(REFUSALS))
        self._reactor = reactor
        self._proxy = proxy
        self._metrics = metrics
        self._slices = slices
        self._now = now
        self._timer: Any = None
        self._running: Deferred[None] | None = None
        self._due: float | None = None
        self._before: Tally | None = None
        self._refused: Mapping[str, int] = {}
        self._failed: dict[str, int] = {}
        self._scores: dict[str, float] = {}

    def start(self) -> None:
        """Take a sample now, from which counts grow, and then one every L{STEP_S}."""
        now = self._reactor.seconds()
        if self._due is not None:  # the endpoint was closed for a while
            self.history.skip(int((now - self._due) // STEP_S) + 1)
        self._due, self._before, self.rates = now, None, RecentRates()
        self._sample()

    def stop(self) -> None:
        """Stop sampling."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._running is not None:
            self._running.cancel()

    def _sample(self) -> None:
        now = self._reactor.seconds()
        late = int((now - self._due) // STEP_S) if self._due is not None else 0
        self.history.skip(late)  # the process was stopped for a while
        self._due = now if self._due is None else self._due + STEP_S * late
        self._due += STEP_S
        self._timer = self._reactor.callLater(max(self._due - now, 0.0), self._sample)
        if self._running is None:
            running = self._running = self._slices.run(self._steps())
            running.addBoth(self._sampled)
        else:  # it is still at the last one
            self.history.skip(1)

    def _sampled(self, result: Failure | None) -> None:
        self._running = None
        if result is not None and not result.check(CancelledError):
            log.failure("admin: cannot sample: internal error", result)

    def _steps(self) -> Steps[None]:
        yield from self._proxy.forget_targets()
        yield from self._metrics.refresh_steps()
        tally, refused = self._metrics.tally, self._metrics.refused_by_result()
        targets: dict[str, int] = {}
        steps: dict[str, TargetStep] = {}
        failed: dict[str, int] = {}
        scores: dict[str, float] = {}
        before = self._before or tally
        for number, stats in enumerate(list(self._proxy.target_stats.known.values()), 1):
            name = stats.text
            targets[name] = stats.total
            step = self._target_step(stats, tally, before, failed)
            score = self._scores.get(name, 0.0) * DECAY + step.up + step.down + TUNNEL_WEIGHT * step.tunnels
            if any(step) or score > 1.0:
                steps[name], scores[name] = step, score
            if not number % BATCH:
                yield
        self.rates.add(tally, targets)
        if self._before is not None:
            self.history.add(
                Step(
                    tally.tunnels.total(),
                    tally.accepted.total() - before.accepted.total(),
                    {cause: count - self._refused.get(cause, 0) for cause, count in refused.items()},
                    tally.up.total() - before.up.total(),
                    tally.down.total() - before.down.total(),
                    steps,
                ),
                scores,
                self._now(),
            )
        self._before, self._refused, self._failed, self._scores = tally, refused, failed, scores

    def _target_step(self, stats: TargetStats, tally: Tally, before: Tally, failed: dict[str, int]) -> TargetStep:
        """What a target did since the last sample. @param failed: gets its failed connects."""
        name = stats.text
        total = failed[name] = sum(stats.failures.values())
        return TargetStep(
            stats.connections,
            max(tally.target_up[name] - before.target_up[name], 0),
            max(tally.target_down[name] - before.target_down[name], 0),
            max(total - self._failed.get(name, total if self._before is None else 0), 0),
        )
