"""Writes tables and plots from results: ``python -m bench.report``. Equal results give equal pages.

RESULTS.md has all tables; docs/explanation/performance.md has the summary and the plot that goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench import ROOT, goals, plots, results
from bench.cases import CASES, Case
from bench.childprocess import SKIPPED
from bench.peers import OTHERS
from bench.results import Result
from bench.table import markdown, replaced

DOCUMENT = ROOT / "bench" / "RESULTS.md"
SUMMARY = ROOT / "docs" / "explanation" / "performance.md"
RESULTS = ROOT / "bench" / "results.json"
_VERSIONS = "peer", "reported version", "in"
_COMPARED = "ours", "haproxy", "nginx", "envoy", "direct"
_SUMMARY = (
    ("echo1-pinned", "p50, µs", "64-byte echo: median round trip, µs"),
    ("echo16-pinned", "messages/s", "64-byte echo, 16 connections: messages/s"),
    ("echo16-pinned", "proxy CPU, µs", "a message: proxy CPU, µs"),
    ("tunnels-pinned", "proxy CPU, µs", "a new tunnel: proxy CPU, µs"),
    ("bulk1-pinned", "proxy CPU, s/GB", "bulk, 1 stream: proxy CPU, s/GB"),
    ("bulk1", "MB/s", "bulk, 1 stream: MB/s, 2 CPUs"),
    ("bulk16", "MB/s", "bulk, 16 streams: MB/s, 2 CPUs"),
    ("idle", "KiB each", "an idle tunnel: KiB"),
    ("start", "10,000 names: s", "start with 10,000 names: s"),
    ("reload", "100,000 routes: longest, ms", "longest turn during a reload of 100,000 routes, ms"),
    ("pulsar 1 kB", "messages/s", "Pulsar, messages of 1 kB: messages/s"),
    ("pulsar 1 kB", "p99, ms", "Pulsar, messages of 1 kB: p99, ms"),
    ("pulsar 100 kB", "messages/s", "Pulsar, messages of 100 kB: messages/s"),
)
"""Case, figure, title: the rows of the summary."""


def table(case: Case, result: Result) -> str:
    """A row for each peer, with its ratio to the best of the others.

    A case with the same figures for several numbers has a table for each figure. Failed peers are listed below it.
    """
    figures = result.figures()
    if figures and all(": " in figure for figure in figures):
        parts = [_by_number(case, result, what, numbers) for what, numbers in plots.grouped(figures).items()]
    else:
        parts = [_by_figure(case, result, figures)]
    parts += [_reason(name, runs.failed) for name, runs in result.peers.items() if runs.failed is not None]
    return "\n".join(parts)


def _reason(name: str, failed: str) -> str:
    return f"{name} {'' if failed.startswith(SKIPPED) else 'fails: '}{failed}\n"


def _shown(result: Result, name: str) -> str:
    """A peer, with the relay that served."""
    return f"{name} ({result.relays[name]})" if name in result.relays else name


def _by_number(case: Case, result: Result, what: str, numbers: list[str]) -> str:
    found = []
    for name in result.peers:
        found.append((_shown(result, name), *(_cell(result, name, f"{number}: {what}") for number in numbers)))
    return markdown((what, *numbers), found)


def _by_figure(case: Case, result: Result, figures: list[str]) -> str:
    best = result.best(case.best, case.more, tuple(name for name in OTHERS if name in result.peers))
    found = []
    for name in result.peers:
        cells = [_cell(result, name, figure) for figure in figures or [""]]
        ratio = result.ratio(case.best, name, best) if best else None
        found.append((_shown(result, name), *cells, *([str(ratio or "")] if best else [])))
    ratios = [f"{case.best} / {best}'s"] if best else []
    return markdown((case.title, *(figures or ["outcome"]), *ratios), found)


def _cell(result: Result, name: str, figure: str) -> str:
    failed = result.peers[name].failed
    if failed is not None:
        return "skipped" if failed.startswith(SKIPPED) else "fails"
    return str(result.spread(name, figure) or "") if figure else "passes"


def page(document: str, found: Mapping[str, Result]) -> str:
    """The document with the goals, the versions of the peers and the tables of all cases filled in.

    Raises `ValueError` if the document has no place for one of them.
    """
    document = replaced(document, "goals", markdown(goals.HEADS, goals.rows(found)))
    document = replaced(document, "versions", versions(found))
    for name, result in found.items():
        said = f"{table(case_of(name), result)}\n{result.how}, on {result.environment}.\n"
        document = replaced(document, name, said)
    return document


def summary(found: Mapping[str, Result]) -> str:
    """A row for each figure that matters to an operator, with the median of each proxy. Empty without results."""
    rows = []
    for case, figure, title in _SUMMARY:
        if case in found:
            spreads = (found[case].spread(name, figure) for name in _COMPARED)
            rows.append((title, *(str(spread or "").partition(" ")[0] for spread in spreads)))
    ours = {result.relays["ours"] for result in found.values() if "ours" in result.relays}
    heads = (f"ours ({', '.join(sorted(ours))})", *_COMPARED[1:]) if ours else _COMPARED
    return markdown(("median of", *heads), rows) if rows else ""


def versions(found: Mapping[str, Result]) -> str:
    """The table of versions, with the cases that were measured with each. Empty without versions."""
    cases: dict[tuple[str, str], list[str]] = {}
    for case, result in found.items():
        for name, version in result.versions.items():
            cases.setdefault((name, version), []).append(case)
    rows = [(*key, "all" if len(names) == _count(found, key[0]) else ", ".join(names)) for key, names in cases.items()]
    return markdown(_VERSIONS, rows) if rows else ""


def _count(found: Mapping[str, Result], name: str) -> int:
    return sum(name in result.peers for result in found.values())


def case_of(name: str) -> Case:
    """A case of the data path benchmark, or one of `bench.pulsar` such as ``pulsar 1 kB``."""
    return CASES.get(name) or Case(name, f"Real Pulsar, {name.removeprefix('pulsar ')}", _elsewhere, "messages/s", True)


def _elsewhere(*ignored: object) -> dict[str, float]:
    raise NotImplementedError("bench.pulsar measures it")


def main(document: Path = DOCUMENT, file: Path = RESULTS, short: Path = SUMMARY) -> None:
    """Write the page with all tables, the short one, and the plot of each beside it; print the goals."""
    found = results.read(file)
    print(markdown(goals.HEADS, goals.rows(found)))
    document.write_text(page(document.read_text(), found))
    short.write_text(replaced(short.read_text(), "summary", summary(found)))
    plots.lines(found, document.with_name("scale.svg"))
    plots.bars(found, short.with_name("performance.svg"))


if __name__ == "__main__":
    main()
