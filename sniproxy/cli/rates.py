"""Rates between two answers of one admin endpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from sniproxy.cli.fields import entries, number, table, text

FAILURES = ("refused", "timeout", "unreachable", "failed")
"""The results of a target's C{connects} that are failures."""


@attrs.frozen
class Rates:
    """What happened per second between two answers. None: unknown.

    @ivar new: connections accepted. @ivar refused: connections refused. @ivar up: bytes to targets.
    @ivar down: bytes to clients. @ivar refused_by: refused connections, by result; only those above 0.
    @ivar failed: failed connects, by target; only those above 0.
    """

    new: float | None = None
    refused: float | None = None
    up: float | None = None
    down: float | None = None
    refused_by: Mapping[str, float] = attrs.Factory(dict)
    failed: Mapping[str, float] = attrs.Factory(dict)


def failed_connects(target: Mapping[str, Any]) -> float | None:
    """Failed connects of an entry of C{targets} since the start; None if the proxy does not count them."""
    counts = table(target, "connects")
    if not counts:
        return None
    return sum(number(counts, name) or 0 for name in FAILURES)


def rates(before: Mapping[str, Any], after: Mapping[str, Any], seconds: float) -> Rates:
    """The rates between two documents of C{/status}; all unknown if the proxy has restarted in between."""
    if seconds <= 0 or before.get("started") != after.get("started"):
        return Rates()

    def rate(was: float | None, is_now: float | None) -> float | None:
        return None if was is None or is_now is None else max(0.0, is_now - was) / seconds

    def total(name: str) -> float | None:
        return rate(number(table(before, "totals"), name), number(table(after, "totals"), name))

    def rising(was: Mapping[str, float | None], is_now: Mapping[str, float | None]) -> dict[str, float]:
        found = {name: rate(was.get(name) or 0.0, value) for name, value in is_now.items()}
        return {name: value for name, value in found.items() if value}

    return Rates(
        rate(_begun(before), _begun(after)),
        total("refused"),
        total("bytes_up"),
        total("bytes_down"),
        rising(_refused_by(before), _refused_by(after)),
        rising(_failed(before), _failed(after)),
    )


def added(several: Iterable[Rates]) -> Rates:
    """The sum of the rates of several instances. Unknown rates count as 0 beside known ones."""
    sums: dict[str, float] = {}
    refused_by: dict[str, float] = {}
    failed: dict[str, float] = {}
    for one in several:
        for name in ("new", "refused", "up", "down"):
            value = getattr(one, name)
            if value is not None:
                sums[name] = sums.get(name, 0.0) + value
        for sum_of, part in ((refused_by, one.refused_by), (failed, one.failed)):
            for key, value in part.items():
                sum_of[key] = sum_of.get(key, 0.0) + value
    return Rates(**sums, refused_by=refused_by, failed=failed)


def tunnel_rates(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], seconds: float
) -> list[dict[str, Any]]:
    """Entries of C{tunnels} with C{up_per_s} and C{down_per_s}; None for those that C{before} does not have."""
    known, found = _by_id(before), []
    for one in after:
        was = known.get(text(one, "id"), {})
        speeds: dict[str, float | None] = {}
        for direction in ("up", "down"):
            old, new = number(was, f"bytes_{direction}"), number(one, f"bytes_{direction}")
            unknown = old is None or new is None or seconds <= 0
            speeds[f"{direction}_per_s"] = None if unknown else max(0.0, (new or 0.0) - (old or 0.0)) / seconds
        found.append({**one, **speeds})
    return found


def same_rates(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of C{tunnels} with the rates that they have in C{before}."""
    known = _by_id(before)
    names = ("up_per_s", "down_per_s")
    return [{**one, **{name: number(known.get(text(one, "id"), {}), name) for name in names}} for one in after]


def _by_id(tunnels: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {text(one, "id"): one for one in tunnels}


def _begun(document: Mapping[str, Any]) -> float | None:
    """Connections accepted since the start."""
    ended, live = number(table(document, "totals"), "ended"), number(document, "live")
    return None if ended is None or live is None else ended + live


def _refused_by(document: Mapping[str, Any]) -> dict[str, float | None]:
    causes = table(document, "refusals_by")
    return {name: number(causes, name) for name in causes}


def _failed(document: Mapping[str, Any]) -> dict[str, float | None]:
    return {text(one, "target"): failed_connects(one) for one in entries(document, "targets")}
