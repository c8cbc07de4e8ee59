"""The views of C{top}: brokers, routes, tunnels, refusals and warnings, as rows and columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from sniproxy.cli.fields import entries, number, table, text, texts
from sniproxy.cli.forms import age, compact, count, elapsed
from sniproxy.cli.rates import Rates, failed_connects
from sniproxy.cli.top.reading import Reading
from sniproxy.cli.top.table import Column, Row
from sniproxy.util.text import bounded


@attrs.frozen
class View:
    """A view. @ivar sort: the key of the column that it is sorted by at first, and whether that is descending.

    @ivar rows: its rows, unsorted. @ivar orders: the orders that the proxy can sort by, by key and whether that is
    descending; empty: top sorts, by every column and in both directions.
    @ivar failing_first: rows that fail come before the others, so that they are on the screen.
    """

    name: str
    columns: Sequence[Column]
    sort: tuple[str, bool]
    rows: Callable[[Reading], list[Row]]
    orders: Mapping[tuple[str, bool], str] = attrs.Factory(dict)
    failing_first: bool = False

    def sortable(self) -> list[str]:
        """The keys that it can be sorted by."""
        return [column.key for column in self.columns if not self.orders or self.directions(column.key)]

    def directions(self, key: str) -> list[bool]:
        """Whether it can be sorted by a column ascending (False) and descending (True), the usual one first."""
        usual = next(column.right for column in self.columns if column.key == key)
        both = [self.sort[1], not self.sort[1]] if key == self.sort[0] else [usual, not usual]
        return [one for one in both if not self.orders or (key, one) in self.orders]


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else "-"


def state_style(state: str) -> str:
    """The style of a target's state, which may be that of several instances."""
    if "down" in state or "ejected" in state:
        return "bad"
    return "warn" if "draining" in state else ""


def _broker(target: Mapping[str, Any], rates: Rates, now: float | None) -> Row:
    name, state = text(target, "target"), text(target, "state")
    failing = rates.failed.get(name, 0.0)
    since, checked = number(target, "since"), number(target, "checked")
    names, why = texts(target, "names"), text(target, "why")
    ages = [
        f"{what} {age(now - at)}{behind}"
        for what, at, behind in (("for", since, ""), ("checked", checked, " ago"))
        if at is not None and now is not None
    ]
    counts = table(target, "connects")
    connects = ", ".join(f"{bounded(one)} {count(number(counts, one))}" for one in counts if number(counts, one))
    first = ", ".join([f"{name} {state}", *ages])
    detail = [
        f"{first}: {why}" if why else first,
        f"names: {', '.join(names) or '-'}; most tunnels {count(number(target, 'most'))}; connects: {connects or '-'}",
    ]
    values = {
        "target": name,
        "state": state,
        "since": None if since is None or now is None else now - since,
        "connections": number(target, "connections"),
        "new": number(target, "new_per_s"),
        "failed": failed_connects(target),
        "p50": number(target, "connect_p50_s"),
        "p99": number(target, "connect_p99_s"),
        "up": number(target, "up_per_s"),
        "down": number(target, "down_per_s"),
        "names": ", ".join(names),
    }
    return Row(values, state_style(state) or ("bad" if failing else ""), detail)


def _brokers(reading: Reading) -> list[Row]:
    status = reading.status or {}
    return [_broker(one, reading.rates, number(status, "time")) for one in entries(status, "targets")]


def _route(route: Mapping[str, Any]) -> Row:
    targets, error = texts(route, "targets"), text(route, "error")
    name, listener = text(route, "server_name"), text(route, "listener")
    detail = [
        f"{name}{f' on {listener}' if listener else ''}: {error or 'no failure known'}",
        f"targets: {', '.join(targets) or '-'}",
    ]
    values = {
        "name": name,
        "listener": listener,
        "target": ", ".join(targets),
        "connections": number(route, "connections"),
        "new": number(route, "new_per_s"),
        "refused": number(route, "refused"),
        "up": number(route, "up_per_s"),
        "down": number(route, "down_per_s"),
        "error": error,
    }
    return Row(values, "bad" if error else "", detail)


def _routes(reading: Reading) -> list[Row]:
    return [_route(one) for one in entries(reading.status or {}, "routes")]


def _tunnel(tunnel: Mapping[str, Any]) -> Row:
    up, down = number(tunnel, "bytes_up"), number(tunnel, "bytes_down")
    values = {
        "age": number(tunnel, "age_s"),
        "client": text(tunnel, "client"),
        "name": text(tunnel, "name"),
        "target": text(tunnel, "target"),
        "bytes": None if up is None or down is None else up + down,
        "up": number(tunnel, "up_per_s"),
        "down": number(tunnel, "down_per_s"),
        "state": text(tunnel, "state"),
        "listener": text(tunnel, "listener"),
    }
    peer, local = text(tunnel, "peer"), text(tunnel, "upstream_local")
    detail = [
        f"{text(tunnel, 'id')}: {values['client']}{f' through {peer}' if peer else ''} on listener "
        f"{values['listener']}, route {text(tunnel, 'route') or '-'}",
        f"{values['name'] or 'no server name'} -> {values['target'] or '-'}{f' from {local}' if local else ''}; "
        f"{compact(up)}B up, {compact(down)}B down",
    ]
    return Row(values, "" if values["state"] in ("open", "half_closed") else "warn", detail)


def _tunnels(reading: Reading) -> list[Row]:
    """The tunnels of the page; with an older release, those of the status."""
    if reading.page is not None:
        return [_tunnel(one) for one in reading.page.tunnels]
    return [_tunnel(one) for one in entries(reading.status or {}, "tunnels")]


def _refusal(refusal: Mapping[str, Any], now: float | None, rates: Rates) -> Row:
    at, result, reason = number(refusal, "time"), text(refusal, "result"), text(refusal, "reason")
    values = {
        "ago": None if at is None or now is None else max(0.0, now - at),
        "count": number(refusal, "count"),
        "result": result,
        "name": text(refusal, "server_name"),
        "listener": text(refusal, "listener"),
        "client": text(refusal, "client"),
        "reason": reason,
    }
    detail = [
        f"{values['name'] or 'no server name'} on listener {values['listener']}, last client {values['client']}",
        f"{result}: {reason}",
    ]
    return Row(values, "bad" if rates.refused_by.get(result) else "", detail)


def _refusals(reading: Reading) -> list[Row]:
    status = reading.status or {}
    now = number(status, "time")
    return [_refusal(one, now, reading.rates) for one in entries(status, "refusals")]


def _warnings(reading: Reading) -> list[Row]:
    found = texts(reading.status or {}, "warnings")
    rows = [Row({"number": at, "text": one}, "warn", [one]) for at, one in enumerate(found, 1)]
    omitted = (number(reading.status or {}, "warning_count") or 0) - len(found)
    if omitted > 0:
        rows.append(Row({"number": None, "text": f"{count(omitted)} more in the log of the proxy"}))
    return rows


VIEWS = (
    View(
        "brokers",
        (
            Column("target", "TARGET", 17, _text, flexible=True),
            Column("state", "STATE", 9, _text, rank=1),
            Column("since", "FOR", 5, age, right=True, rank=9),
            Column("connections", "TUNNELS", 7, compact, right=True, rank=2),
            Column("new", "NEW/S", 5, compact, right=True, rank=3),
            Column("failed", "FAILED", 6, compact, right=True, rank=4),
            Column("p50", "P50", 5, elapsed, right=True, rank=8),
            Column("p99", "P99", 5, elapsed, right=True, rank=7),
            Column("up", "UP B/S", 6, compact, right=True, rank=5),
            Column("down", "DN B/S", 6, compact, right=True, rank=6),
            Column("names", "NAMES", 20, _text, flexible=True, rank=10),
        ),
        ("connections", True),
        _brokers,
        failing_first=True,
    ),
    View(
        "routes",
        (
            Column("name", "SERVER NAME", 18, _text, flexible=True),
            Column("listener", "LISTENER", 9, _text, rank=8),
            Column("target", "TARGETS", 15, _text, flexible=True, rank=7),
            Column("connections", "TUNNELS", 7, compact, right=True, rank=1),
            Column("new", "NEW/S", 5, compact, right=True, rank=2),
            Column("refused", "REFUSED", 7, compact, right=True, rank=3),
            Column("up", "UP B/S", 6, compact, right=True, rank=5),
            Column("down", "DN B/S", 6, compact, right=True, rank=6),
            Column("error", "ERROR", 20, _text, flexible=True, rank=9),
        ),
        ("connections", True),
        _routes,
        failing_first=True,
    ),
    View(
        "tunnels",
        (
            Column("age", "AGE", 5, age, right=True, rank=3),
            Column("client", "CLIENT", 15, _text, flexible=True),
            Column("name", "SERVER NAME", 14, _text, flexible=True, rank=1),
            Column("target", "TARGET", 14, _text, flexible=True, rank=2),
            Column("bytes", "BYTES", 6, compact, right=True, rank=4),
            Column("up", "UP B/S", 6, compact, right=True, rank=5),
            Column("down", "DN B/S", 6, compact, right=True, rank=6),
            Column("state", "STATE", 11, _text, rank=7),
            Column("listener", "LISTENER", 9, _text, rank=8),
        ),
        ("age", False),
        _tunnels,
        {
            ("age", False): "newest",
            ("age", True): "age",
            ("client", False): "client",
            ("name", False): "name",
            ("target", False): "target",
            ("bytes", True): "bytes",
        },
    ),
    View(
        "refusals",
        (
            Column("ago", "AGO", 5, age, right=True),
            Column("count", "COUNT", 5, compact, right=True, rank=1),
            Column("result", "RESULT", 15, _text, rank=2),
            Column("name", "SERVER NAME", 15, _text, flexible=True, rank=3),
            Column("listener", "LISTENER", 9, _text, rank=6),
            Column("client", "LAST CLIENT", 15, _text, flexible=True, rank=5),
            Column("reason", "REASON", 20, _text, flexible=True, rank=4),
        ),
        ("ago", False),
        _refusals,
    ),
    View(
        "warnings",
        (
            Column("number", "#", 3, compact, right=True),
            Column("text", "WARNING", 40, _text, flexible=True, rank=1),
        ),
        ("number", False),
        _warnings,
    ),
)
"""The views, in the order of their number keys."""

BROKERS = 0
"""The index of the view with the targets."""

TUNNELS = 2
"""The index of the view whose rows the proxy filters, sorts and pages."""
