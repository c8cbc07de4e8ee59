"""Shows the result of a run as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.table import markdown
from tests.chaos.load import Outcome
from tests.chaos.records import Verdict

HEADS = (
    "through", "tunnels", "finished", "cut by a kill", "others", "wrong bytes", "MB",
    "set-up p50, ms", "p99", "transfer p50, ms", "p99",
)  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share is. None: there are no values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


def table(outcomes: Mapping[str, Sequence[Outcome]], verdicts: Mapping[str, Verdict]) -> str:
    """A row for each proxy, in Markdown. Times are of finished tunnels."""
    return markdown(HEADS, [_row(name, outcomes[name], verdict) for name, verdict in verdicts.items()])


def _row(name: str, outcomes: Sequence[Outcome], verdict: Verdict) -> list[str]:
    whole = [outcome for outcome in outcomes if outcome.finished]
    setup = [outcome.setup_s for outcome in whole if outcome.setup_s is not None]
    transfer = [outcome.transfer_s for outcome in whole if outcome.transfer_s is not None]
    moved = sum((outcome.up or 0) + (outcome.down or 0) for outcome in whole)
    others = [f"{count} {result}" for result, count in sorted(verdict.results.items())]
    times = [percentile(values, share) for values in (setup, transfer) for share in (0.5, 0.99)]
    return [
        name, f"{len(outcomes)}", f"{verdict.finished}", f"{verdict.killed}", ", ".join(others) or "0",
        f"{verdict.wrong}", f"{moved / 1e6:.1f}",
        *("-" if seconds is None else f"{seconds * 1000:,.0f}" for seconds in times),
    ]  # fmt: skip
