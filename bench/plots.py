"""Plots results as SVG. Equal results give equal bytes; the plots are readable on light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peer import DIRECT
from bench.results import Result

# Of medium lightness, for contrast on white and on black.
_INK, _OURS, _THEIRS, _LINES = "#808890", "#1f8a5b", "#5b7fa6", ("#1f8a5b", "#d07a1d", "#5b7fa6", "#b0508c", "#8a8a2a")
_PANELS = (
    ("bulk1", "MB/s", "Bulk, 1 stream: MB/s"),
    ("bulk1-pinned", "proxy CPU, s/GB", "Bulk, 1 stream: CPU s/GB"),
    ("echo1-pinned", "p50, µs", "Echo, 1 connection: µs"),
    ("echo16-pinned", "messages/s", "Echo, 16 connections: messages/s"),
    ("tunnels-pinned", "tunnels/s", "New tunnels/s"),
    ("idle", "KiB each", "Idle tunnel: KiB"),
)
"""Case, figure, title."""


def bars(results: Mapping[str, Result], path: Path) -> None:
    """A panel for each main figure, with a bar for each peer and its spread. Writes no file without results."""
    panels = [panel for panel in _PANELS if panel[0] in results]
    if not panels:
        return
    figure, axes = _canvas(len(panels), columns=2)
    for (case, value, title), panel in zip(panels, axes, strict=False):
        result = results[case]
        found = [(name, spread) for name in reversed(result.peers) if (spread := result.spread(name, value))]
        names = [name for name, _ in found]
        middles = [spread.median for _, spread in found]
        errors = [[s.median - s.low for _, s in found], [s.high - s.median for _, s in found]]
        colours = [_OURS if name.startswith("ours") else _INK if name == DIRECT else _THEIRS for name in names]
        panel.barh(names, middles, xerr=errors, color=colours, ecolor=_INK)
        panel.set_title(title, color=_INK, fontsize=10)
    _save(figure, path)


def lines(results: Mapping[str, Result], path: Path) -> None:
    """Cost by the number of tunnels: a panel for each figure, a line for each peer. Writes no file without results."""
    result = results.get("scale")
    if result is None:
        return
    groups = grouped(result.figures())
    figure, axes = _canvas(len(groups), columns=len(groups))
    for (value, counts), panel in zip(groups.items(), axes, strict=False):
        for name, colour in zip(result.peers, _LINES, strict=False):
            found = [(count, spread) for count in counts if (spread := result.spread(name, f"{count}: {value}"))]
            across = [int(count.replace(",", "")) for count, _ in found]
            panel.plot(across, [spread.median for _, spread in found], marker="o", label=name, color=colour)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        panel.set_title(f"{value}, by tunnels", color=_INK, fontsize=10)
    axes[0].legend(labelcolor=_INK, framealpha=0, fontsize=8)
    _save(figure, path)


def grouped(figures: Sequence[str]) -> dict[str, list[str]]:
    """Split figures such as ``100: KiB each``: the numbers, by the text after the colon."""
    groups: dict[str, list[str]] = {}
    for figure in figures:
        before, _, behind = figure.partition(": ")
        groups.setdefault(behind, []).append(before)
    return groups


def _canvas(count: int, columns: int) -> tuple[Any, Sequence[Any]]:
    # Imported here because it is slow, and needed for plots only.
    import matplotlib

    matplotlib.use("svg")
    # Keep text as text, in the reader's font. The salt makes identifiers in the file reproducible.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sniproxy", "font.family": "sans-serif"})
    from matplotlib import pyplot

    rows = -(-count // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(9, 2.2 * rows if columns == 2 else 3.2), squeeze=False)
    places = list(axes.flat)
    for panel in places:
        panel.tick_params(colors=_INK, labelsize=8)
        for spine in panel.spines.values():
            spine.set_color(_INK)
        panel.set_facecolor("none")
    for panel in places[count:]:
        panel.set_visible(False)
    return figure, places


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # Remove trailing blanks that the library writes.
    path.write_text(re.sub(r"[ \t]+$", "", path.read_text(), flags=re.MULTILINE))
