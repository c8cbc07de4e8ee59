"""The screen of C{top} as lines of text, for any size of the terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.cli.fields import entries, number, table, text
from sniproxy.cli.forms import age, compact, count
from sniproxy.cli.top.keys import HELP, Sort, UiState
from sniproxy.cli.top.reading import Reading
from sniproxy.cli.top.table import Column, Row, cells, cut, filter_rows, fit, line, longest, sort_rows, used
from sniproxy.cli.top.views import TUNNELS, VIEWS, state_style
from sniproxy.util.text import bounded, counted, printable

HEAD_LINES, FOOT_LINES = 4, 3
"""Lines above the rows (state, rates, views, columns), and below them (two of details, one of keys)."""

MAX_MERGED = 1000
"""Most tunnels of several instances that the view scrolls through: an endpoint lists at most this many."""

MIN_HEIGHT = HEAD_LINES + FOOT_LINES + 1
"""Lines that the whole layout needs; a lower screen has no lines below the rows."""


@attrs.frozen
class Span:
    """A piece of a line. @ivar style: ``bad``, ``warn``, ``title``, ``dim``, ``selected`` or empty."""

    text: str
    style: str = ""


Line = Sequence[Span]


@attrs.frozen
class Listing:
    """The rows of a view that are at hand.

    @ivar offset: the number of the first. @ivar total: how many can be scrolled to. @ivar matched: how many there are.
    """

    rows: Sequence[Row] = ()
    offset: int = 0
    total: int = 0
    matched: int = 0


def rows_shown(height: int) -> int:
    """How many rows of a table a screen shows. @param height: of the screen, in lines."""
    return max(1, height - HEAD_LINES - (FOOT_LINES if height >= MIN_HEIGHT else 0))


def listing(reading: Reading, ui: UiState) -> Listing:
    """The rows of the current view, filtered and sorted. Of many tunnels the proxy has done both."""
    view, page = VIEWS[ui.view], reading.page
    rows = view.rows(reading)
    if ui.view == TUNNELS and page is not None and page.matched > len(page.tunnels):
        if reading.instances <= 1:  # 0: the last page of the one that does not answer
            return Listing(rows, page.offset, page.matched, page.matched)
        # The first rows of each instance, of which the first of all are among.
        rows = sort_rows(rows, ui.sort.key, ui.sort.descending)[: page.query.limit]
        return Listing(rows, 0, min(page.matched, MAX_MERGED), page.matched)
    if ui.view != TUNNELS or page is None:
        rows = filter_rows(rows, ui.filter)
    rows = sort_rows(rows, ui.sort.key, ui.sort.descending)
    if view.failing_first:
        rows.sort(key=lambda row: row.style != "bad")
    return Listing(rows, 0, len(rows), len(rows))


def layout(reading: Reading, ui: UiState, listed: Listing, width: int, height: int, where: str) -> list[Line]:
    """All lines of the screen, none longer than its width.

    @param where: the endpoints, and the interval.
    """
    lines: list[Line] = [_state_line(reading, ui, where), _rates_line(reading), _views_line(reading, ui, listed)]
    shown = rows_shown(height)
    if ui.help:
        lines += _help()
    elif reading.status is not None:
        lines += _table(ui, listed, width, shown)
    lines = lines[: HEAD_LINES + shown]
    if height >= MIN_HEIGHT:
        lines += [[] for _ in range(HEAD_LINES + shown - len(lines))]
        lines += [*_details(ui, listed), _keys(ui, reading.notice)]
    return [_cut(one, width) for one in lines[:height]]


def _state_line(reading: Reading, ui: UiState, where: str) -> Line:
    status = reading.status
    if status is None:
        failed = [Span(f"no answer, retrying: {_errors(reading)}", "bad")]
        return failed if reading.errors else [Span("connecting to "), Span(where)]
    if not reading.instances:
        return [Span(f"no answer for {age(reading.stale_s)}, retrying: {_errors(reading)}", "bad")]
    spans = [Span("sniproxy " + text(status, "version")), Span(" ")]
    now, started, state = number(status, "time"), number(status, "started"), text(status, "state")
    spans.append(Span(state or "unknown", "" if state == "ready" else "warn"))
    if now is not None and started is not None:
        spans.append(Span(f", up {age(now - started)}"))
    if reading.instances > 1:
        spans.append(Span(f", {reading.instances} instances"))
    spans.append(Span(f"  {where}"))
    if ui.paused:
        spans.insert(0, Span("PAUSED ", "warn"))
    if reading.errors:
        spans.insert(0, Span(f"no answer, retrying: {_errors(reading)}; ", "bad"))
    return spans


def _errors(reading: Reading) -> str:
    """Why endpoints do not answer, in short: without the number of the error and the cure."""
    short = {url: re.sub(r"\[Errno -?\d+\] ", "", error).partition(";")[0] for url, error in reading.errors.items()}
    return "; ".join(f"{bounded(url)}: {bounded(error)}" for url, error in short.items())


def _rates_line(reading: Reading) -> Line:
    status, rates = reading.status, reading.rates
    if status is None:
        return []
    refused, total = rates.refused or 0.0, number(table(status, "totals"), "refused")
    warnings = int(number(status, "warning_count") or 0)
    down = sum(state_style(text(one, "state")) == "bad" for one in entries(status, "targets"))
    # What fails comes before the bytes, which a narrow screen may cut.
    spans = [
        Span(f"{count(number(status, 'live'))} tunnels  {compact(rates.new)} new/s  "),
        Span(f"{compact(rates.refused)} refused/s", "bad" if refused > 0 else ""),
    ]
    if down:
        spans += [Span("  "), Span(f"{down} down", "bad")]
    if warnings:
        spans += [Span("  "), Span(counted(warnings, "warning"), "warn")]
    spans.append(Span(f"  up {compact(rates.up)} down {compact(rates.down)} B/s"))
    return [*spans, Span(f"  {count(total)} refused since the start")]


def _views_line(reading: Reading, ui: UiState, listed: Listing) -> Line:
    spans: list[Span] = []
    for at, view in enumerate(VIEWS):
        spans.append(Span(f" {at + 1} {view.name} ", "selected" if at == ui.view else "dim"))
    if reading.status is not None and not ui.help:
        spans.append(Span(f"  {count(listed.matched)}"))
    if ui.typing is not None:
        spans.append(Span(f" /{printable(ui.filter)}_", "title"))
    elif ui.filter:
        spans.append(Span(f" /{printable(ui.filter)}", "warn"))
    return spans


def _table(ui: UiState, listed: Listing, width: int, shown: int) -> list[Line]:
    view, sort = VIEWS[ui.view], ui.sort
    columns = used(view.columns, listed.rows, sort.key)
    fitted = fit(columns, width, longest(columns, listed.rows))
    lines: list[Line] = [_titles(fitted, sort)]
    for number_of_row in range(ui.top, min(ui.top + shown, listed.total)):
        at = number_of_row - listed.offset
        if not 0 <= at < len(listed.rows):
            lines.append([Span("...", "dim")])  # the proxy has not sent it yet
            continue
        row = listed.rows[at]
        body = line(fitted, cells(view.columns, row)).ljust(width)
        selected = number_of_row == ui.cursor
        lines.append([Span(body, f"selected {row.style}".strip() if selected else row.style)])
    if not listed.total:
        empty = f"no {view.name} with this text; Esc removes the filter" if ui.filter else f"no {view.name}"
        lines.append([Span(empty, "dim")])
    return lines


def _titles(fitted: Sequence[tuple[Column, int]], sort: Sort) -> Line:
    """The titles. That of the column by which the table is sorted is marked, with ``v`` if the highest is first."""
    spans: list[Span] = []
    for column, width in fitted:
        mark = ("v" if sort.descending else "^") if column.key == sort.key and len(column.title) < width else ""
        text = cut(column.title + mark, width)
        style = "title selected" if column.key == sort.key else "title"
        spans += [Span(text.rjust(width) if column.right else text.ljust(width), style), Span(" ", "title")]
    return spans


def _details(ui: UiState, listed: Listing) -> list[Line]:
    at = ui.cursor - listed.offset
    if ui.help or not 0 <= at < len(listed.rows):
        return [[], []]
    row = listed.rows[at]
    return [[Span(one, row.style if not number else "")] for number, one in enumerate([*row.detail, "", ""][:2])]


def _keys(ui: UiState, notice: str) -> Line:
    if ui.asking is not None:
        return [Span(ui.asking.question, "warn")]
    if ui.typing is not None:
        return [Span("Enter keeps the filter, Esc removes it", "dim")]
    if ui.help:
        return [Span("any key returns, q quits", "dim")]
    if ui.notice or notice:
        return [Span(ui.notice or notice, "warn")]
    return [Span("q quit  ? help  1-5 views  / filter  s sort  r reverse  p pause  arrows select", "dim")]


def _help() -> list[Line]:
    return [[Span("keys", "title")], *([Span(f"{keys:<18}"), Span(what)] for keys, what in HELP)]


def _cut(spans: Line, width: int) -> Line:
    found: list[Span] = []
    for span in spans:
        left = width - sum(len(one.text) for one in found)
        if left <= 0:
            break
        found.append(Span(cut(span.text, left), span.style))
    return found
