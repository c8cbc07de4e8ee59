"""The alerts, the dashboard and the scrape configuration in etc/, and the metrics that their queries use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

ETC = Path(__file__).parent.parent.parent / "etc"
RULES = ETC / "prometheus" / "sniproxy.rules.yml"
RULES_TEST = ETC / "prometheus" / "sniproxy.rules.test.yml"
SCRAPING = ETC / "prometheus" / "prometheus.yml"
BOARD = ETC / "grafana" / "sniproxy.json"

OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus itself makes."""

OF_SCRAPING = {"job", "instance", "host"}
"""Labels that the scrape configuration sets."""

_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTOR = re.compile(r"(?<![\w.])([A-Za-z_:][\w:]*)\s*(\{[^{}]*\})?(?!\w|\s*\()")
_WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


@frozen
class Selector:
    """A metric in a query, and the labels that select its series."""

    name: str
    labels: frozenset[str]


@frozen
class Query:
    """What a query uses.

    @ivar selectors: its metrics. @ivar grouping: labels of C{by}, C{without}, C{on} and C{ignoring}.
    """

    selectors: tuple[Selector, ...]
    grouping: frozenset[str]

    @property
    def names(self) -> set[str]:
        """The names of its metrics."""
        return {one.name for one in self.selectors}


def read_query(expression: str) -> Query:
    """Find the metrics and labels in a query in PromQL. Texts may not contain quotes."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    plain = re.sub(r"\[[^\]]*\]", "", plain)
    grouping = {label.strip() for _, labels in _GROUPING.findall(plain) for label in labels.split(",")} - {""}
    found = []
    for name, braces in _SELECTOR.findall(_GROUPING.sub("", plain)):
        if name.lower() not in _WORDS:
            found.append(Selector(name, frozenset(re.findall(r"(\w+)\s*[=!]", braces))))
    return Query(tuple(found), frozenset(grouping))


def fill_variables(expression: str) -> str:
    """A query of the dashboard as Grafana sends it, with "All" for each variable."""
    filled = re.sub(r"\$__(rate_)?interval\b", "1m", expression)
    return re.sub(r"\$\w+", ".*", filled)


def shown(legend: str) -> list[str]:
    """The labels in a legend."""
    return re.findall(r"\{\{(\w+)\}\}", legend)


def alerts() -> list[dict[str, Any]]:
    """The alerts of the rules file."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def board() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(BOARD.read_text())
    return found


def board_queries() -> Iterator[tuple[str, str, str]]:
    """The queries of the dashboard: the panel's title, the query, and the legend."""
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for note in board()["annotations"]["list"]:
        if "expr" in note:
            yield note["name"], note["expr"], note["titleFormat"]


def metric_of(series: str) -> str:
    """The name of a metric in the reference: that of a histogram for its C{_bucket}, C{_sum} and C{_count}."""
    return re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", series)
