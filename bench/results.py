"""What the data path's runs came to, kept in a file, so that parts of it can be measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, asdict, define

from bench.measure import Spread, ratios, spread


@define
class Runs:
    """A peer's runs of a case: each figure's values, run by run. ``failed``: why it has none, or None."""

    figures: dict[str, list[float]] = Factory(dict)
    failed: str | None = None

    def add(self, sample: Mapping[str, float]) -> None:
        """One run more."""
        for figure, value in sample.items():
            self.figures.setdefault(figure, []).append(value)

    def spread(self, figure: str) -> Spread | None:
        """Of a figure that it has, or None."""
        return None if self.failed or figure not in self.figures else spread(self.figures[figure])


@define
class Result:
    """A case: where it was measured, how, and each peer's runs, which were taken in turn.

    ``versions``: what peers said of themselves; empty, where it was measured before that was kept.
    """

    environment: str
    how: str
    peers: dict[str, Runs] = Factory(dict)
    versions: dict[str, str] = Factory(dict)

    def figures(self) -> list[str]:
        """All that one of its peers has."""
        return list(dict.fromkeys(figure for runs in self.peers.values() for figure in runs.figures))

    def best(self, figure: str, more: bool, of: tuple[str, ...]) -> str | None:
        """The peer of these with the best median of a figure. None: none of them has it."""
        medians = {name: found.median for name in of if (found := self.spread(name, figure))}
        return (max if more else min)(medians, key=medians.__getitem__) if medians else None

    def ratio(self, figure: str, name: str, yardstick: str) -> Spread | None:
        """A peer's figure to another's of the same round. None: one of them has none."""
        if not (self.spread(name, figure) and self.spread(yardstick, figure)):
            return None
        return ratios(self.peers[name].figures[figure], self.peers[yardstick].figures[figure])

    def spread(self, name: str, figure: str) -> Spread | None:
        """A peer's, or None where it has none."""
        return self.peers[name].spread(figure) if name in self.peers else None


def read(path: Path) -> dict[str, Result]:
    """The cases of a file, by name. Without the file there is none."""
    if not path.exists():
        return {}
    return {
        case: Result(
            found["environment"],
            found["how"],
            {name: Runs(**runs) for name, runs in found["peers"].items()},
            found.get("versions", {}),
        )
        for case, found in json.loads(path.read_text()).items()
    }


def write(path: Path, results: Mapping[str, Result]) -> None:
    """Put cases into a file, in place of all that it had."""
    found = {case: asdict(result) for case, result in results.items()}
    path.write_text(json.dumps(_rounded(found), indent=1, ensure_ascii=False, sort_keys=False) + "\n")


def _rounded(value: object) -> object:
    """Floats with five figures: more is noise, and makes the file long."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return value
