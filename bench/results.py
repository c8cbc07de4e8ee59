"""Stores the results of the data path benchmark in a file, so that single cases can be measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, asdict, define

from bench.measure import Spread, ratios, spread


@define
class Runs:
    """A peer's runs of a case: the values of each figure, by run. ``failed``: why there are none, or None."""

    figures: dict[str, list[float]] = Factory(dict)
    failed: str | None = None

    def add(self, sample: Mapping[str, float]) -> None:
        """Add a run."""
        for figure, value in sample.items():
            self.figures.setdefault(figure, []).append(value)

    def spread(self, figure: str) -> Spread | None:
        """The summary of a figure. None if there is no such figure."""
        return None if self.failed or figure not in self.figures else spread(self.figures[figure])


@define
class Result:
    """The result of a case: where and how it was measured, and each peer's runs.

    ``versions``: of the peers; empty in older results. ``relays``: which of our relays served, by peer; without the
    peers that do not say it.
    """

    environment: str
    how: str
    peers: dict[str, Runs] = Factory(dict)
    versions: dict[str, str] = Factory(dict)
    relays: dict[str, str] = Factory(dict)

    def figures(self) -> list[str]:
        """The figures that at least one peer has."""
        return list(dict.fromkeys(figure for runs in self.peers.values() for figure in runs.figures))

    def best(self, figure: str, more: bool, of: tuple[str, ...]) -> str | None:
        """The peer with the best median of a figure. None if no peer has it."""
        medians = {name: found.median for name in of if (found := self.spread(name, figure))}
        return (max if more else min)(medians, key=medians.__getitem__) if medians else None

    def ratio(self, figure: str, name: str, yardstick: str) -> Spread | None:
        """The ratio of two peers' figures by round. None if one of them is missing."""
        if not (self.spread(name, figure) and self.spread(yardstick, figure)):
            return None
        return ratios(self.peers[name].figures[figure], self.peers[yardstick].figures[figure])

    def spread(self, name: str, figure: str) -> Spread | None:
        """A peer's summary of a figure, or None."""
        return self.peers[name].spread(figure) if name in self.peers else None


def read(path: Path) -> dict[str, Result]:
    """Read the cases of a file, by name. Empty if there is no file."""
    if not path.exists():
        return {}
    return {
        case: Result(
            found["environment"],
            found["how"],
            {name: Runs(**runs) for name, runs in found["peers"].items()},
            found.get("versions", {}),
            found.get("relays", {}),
        )
        for case, found in json.loads(path.read_text()).items()
    }


def write(path: Path, results: Mapping[str, Result]) -> None:
    """Write cases to a file, and replace its content."""
    found = {case: asdict(result) for case, result in results.items()}
    path.write_text(json.dumps(_rounded(found), indent=1, ensure_ascii=False, sort_keys=False) + "\n")


def _rounded(value: object) -> object:
    """Round floats to five digits. More would be noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return value
