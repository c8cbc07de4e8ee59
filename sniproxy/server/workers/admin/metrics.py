"""Merges the Prometheus metrics of workers. Pure.

The texts come from L{sniproxy.admin.metrics}. What identifies a sample is its text up to the value, which is the
same in each worker, so that labels need not be parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from math import isfinite
from typing import Any

import attrs
from prometheus_client.utils import floatToGoString

LEAST = frozenset(
    {"sniproxy_target_up", "process_max_fds", "process_start_time_seconds", "sniproxy_last_reload_successful"}
)
"""Gauges of which the smallest value is shown."""

GREATEST = frozenset(
    {
        "process_open_fds",
        "sniproxy_limit_reached",
        "sniproxy_relay_info",
        "sniproxy_resolver_open",
        "sniproxy_resolver_watch_failing",
    }
)
"""Gauges of which the largest value is shown. All others are added up, as are counters and histograms."""

ADDED_UP = ("counter", "histogram")
"""Types whose values only grow. Those of workers that have ended, or do not answer, still count."""

MERGED = ("process_", "sniproxy_old_process_")
"""Beginnings of the names that the supervisor has beside the workers: these are merged, too."""

MAX_PAST = 100_000
"""Samples of ended workers that are kept, at most, besides those that current workers have."""


@attrs.define
class Family:
    """A metric of one process. @ivar head: its HELP and TYPE. @ivar samples: the values by name and labels."""

    name: str
    kind: str
    head: str
    samples: dict[str, float] = attrs.field(factory=dict)


def parse(text: str) -> dict[str, Family]:
    """Parse metrics. Lines that are not understood are left out. @return: the metrics by name, in their order."""
    found: dict[str, Family] = {}
    about = ""
    family: Family | None = None
    for line in text.split("\n"):
        if line.startswith("# HELP "):
            about, family = line, None
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            head = f"{about}\n{line}\n" if about.startswith(f"# HELP {name} ") else f"{line}\n"
            family = found[name] = Family(name, kind, head)
        elif family is not None and line:
            key, _, value = line.rpartition(" ")
            number = _number(value)
            if key.startswith(family.name) and number is not None:
                family.samples[key] = number
    return found


def value_of(families: Mapping[str, Family], name: str) -> float | None:
    """The sum of a metric's values. @return: None: there is no such metric."""
    family = families.get(name)
    return None if family is None or not family.samples else sum(family.samples.values())


class MetricsMerger:
    """Merges what workers count, so that no counter ever decreases while the supervisor runs."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, dict[str, Family]] = {}
        self._past: dict[str, Family] = {}
        self._ended: list[Hashable] = []

    def state(self) -> tuple[str, dict[Hashable, str]]:
        """The texts of what workers that have ended have counted, and of what each other one has, as was seen last."""
        for process in self._ended:
            self._retire(self._latest.pop(process, {}))
        self._ended = []
        latest = {process: "".join(map(_text, _counters(families))) for process, families in self._latest.items()}
        return "".join(map(_text, self._past.values())), latest

    def restore(self, past: str, latest: Mapping[Hashable, str]) -> None:
        """Continue with these; see L{state}."""
        self._past = parse(past)
        self._latest = {process: parse(text) for process, text in latest.items()}

    def end(self, process: Hashable) -> None:
        """A worker has ended. What it has counted, as far as it was seen, still counts."""
        self._ended.append(process)

    def merge(self, texts: Mapping[Any, dict[str, Family]], own: str) -> str:
        """Merge metrics.

        @param texts: the parsed metrics of each worker that has answered.
        @param own: the metrics of the supervisor. They replace those of workers, except L{MERGED}.
        @return: the merged text.
        """
        self._latest.update(texts)
        ended, self._ended = self._ended, []
        for process in ended:
            self._retire(self._latest.pop(process, {}))
        texts = {process: families for process, families in texts.items() if process not in ended}
        ours = parse(own)
        silent = [self._latest[process] for process in self._latest if process not in texts]
        merged: dict[str, Family] = {}
        for families in texts.values():
            _merge_into(merged, families.values())
        for families in (*silent, self._past):
            _merge_into(merged, _counters(families))
        replaced = {name: one for name, one in ours.items() if not name.startswith(MERGED)}
        _merge_into(merged, (one for one in ours.values() if one.name not in replaced))
        merged = {**{name: one for name, one in merged.items() if name not in replaced}, **replaced}
        return "".join(map(_text, merged.values()))

    def _retire(self, families: Mapping[str, Family]) -> None:
        _merge_into(self._past, _counters(families))
        if sum(len(one.samples) for one in self._past.values()) > MAX_PAST:
            for name, family in self._past.items():
                current = {key for one in self._latest.values() if name in one for key in one[name].samples}
                family.samples = {key: value for key, value in family.samples.items() if key in current}


def _counters(families: Mapping[str, Family]) -> list[Family]:
    """The metrics whose values only grow."""
    return [one for one in families.values() if one.kind in ADDED_UP]


def _merge_into(sums: dict[str, Family], families: Iterable[Family]) -> None:
    for family in families:
        into = sums.get(family.name)
        if into is None:
            sums[family.name] = attrs.evolve(family, samples=dict(family.samples))
            continue
        merge = _rule(family)
        samples = into.samples
        for key, value in family.samples.items():
            before = samples.get(key)
            samples[key] = value if before is None else merge(before, value)


def _rule(family: Family) -> Callable[[float, float], float]:
    if family.name in LEAST:
        return min
    return max if family.name in GREATEST else float.__add__


def _text(family: Family) -> str:
    text_of: Callable[[float], str] = floatToGoString
    lines = [f"{key} {text_of(value)}\n" for key, value in family.samples.items()]
    return family.head + "".join(lines)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
