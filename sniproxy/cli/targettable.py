"""The table of targets in the text of ``sniproxyctl status``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sniproxy.cli.fields import entries, number, text, texts
from sniproxy.cli.forms import age, compact, elapsed
from sniproxy.cli.rates import failed_connects

MAX_TARGETS = 50
"""Maximum of targets in the table. Those that are not up come first."""

MAX_NAMES = 3
"""Maximum of names of a target in the table."""

TITLES = ("target", "state", "for", "tunnels", "most", "new/s", "failed", "p50", "p99", "up B/s", "down B/s", "names")
_LEFT = (0, 1, 11)


def has_table(document: Mapping[str, Any]) -> bool:
    """Whether a document of C{/status} has the state of each target. Older releases have only that of some."""
    return any("connects" in one for one in entries(document, "targets"))


def target_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The table; below a target, why its last check or connection failed."""
    targets, now = entries(document, "targets"), number(document, "time")
    targets.sort(key=lambda one: (text(one, "state") in ("up", "unchecked"), -(number(one, "connections") or 0)))
    shown = targets[:MAX_TARGETS]
    rows = [_row(one, now) for one in shown]
    widths = [max(map(len, column)) for column in zip(TITLES, *rows, strict=True)]
    yield _line(TITLES, widths)
    for one, row in zip(shown, rows, strict=True):
        yield _line(row, widths)
        if why := text(one, "why"):
            yield f"  {why}"
    omitted = int(number(document, "target_count") or len(targets)) - len(shown)
    if omitted > 0:
        yield f"{omitted} more target{'' if omitted == 1 else 's'}"


def _row(target: Mapping[str, Any], now: float | None) -> Sequence[str]:
    since, names = number(target, "since"), texts(target, "names")
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (
        text(target, "target"),
        text(target, "state"),
        age(None if since is None or now is None else now - since),
        compact(number(target, "connections")),
        compact(number(target, "most")),
        compact(number(target, "new_per_s")),
        compact(failed_connects(target)),
        elapsed(number(target, "connect_p50_s")),
        elapsed(number(target, "connect_p99_s")),
        compact(number(target, "up_per_s")),
        compact(number(target, "down_per_s")),
        ", ".join(names[:MAX_NAMES]) + more,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if at in _LEFT else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
