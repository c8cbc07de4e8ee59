"""Tests for etc/prometheus, etc/grafana and their guide. tests.peers.test_prometheus has those with Prometheus."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.ctl import parse
from tests.support import monitoring
from tests.support.monitoring import Selector, read_query

GUIDE = Path(__file__).parent.parent / "docs" / "howto" / "monitor.md"
REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"

PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}
VARIABLES = ["datasource", "job", "instance", "listener", "route", "target"]
ROWS = [
    "Overview", "Brokers", "Connect time", "Refusals by cause", "Resolvers", "Limits", "Bytes", "Relay", "Process",
    "Access log", "Pulsar lookups (inspected listeners)",
]  # fmt: skip
UNUSED = {"process_virtual_memory_bytes"}
"""Metrics that neither a rule nor the dashboard uses."""


class FilesTestCase(SynchronousTestCase):
    """Tests of files beside the package."""

    def setUp(self) -> None:
        """Skip the tests without these files."""
        for path in (monitoring.RULES, GUIDE, REFERENCE):
            if not path.exists():
                raise SkipTest(f"{path.name} is not here: the tests run apart from the sources")


def reference() -> dict[str, set[str]]:
    """The metrics of the reference, with their labels."""
    found: dict[str, set[str]] = {name: set() for name in PROCESS}
    for name, labels in re.findall(r"^\| `(sniproxy_\w+)` \| ([^|]*)\|", REFERENCE.read_text(), re.MULTILINE):
        found[name] = set(re.findall(r"`(\w+)`", labels))
    return found


class QueryTests(SynchronousTestCase):
    """Reading queries."""

    def test_read(self) -> None:
        """Metrics, their labels and groupings are found; functions, texts and durations are not metrics."""
        query = read_query(
            'sum by (a, b) (rate(one_total{x="y z",w!~"sum|1"}[5m])) / on (c) group_left () two{} > 3 * time()\n'
            "unless absent(three) or vector(0) offset 1h"
        )
        self.assertEqual(
            (Selector("one_total", frozenset("xw")), Selector("two", frozenset()), Selector("three", frozenset())),
            query.selectors,
        )
        self.assertEqual({"a", "b", "c"}, query.grouping)

    def test_fill(self) -> None:
        """Variables of the dashboard become "All", intervals a minute."""
        filled = monitoring.fill_variables('rate(a{job=~"$job"}[$__rate_interval])')
        self.assertEqual('rate(a{job=~".*"}[1m])', filled)


class AlertTests(FilesTestCase):
    """etc/prometheus/sniproxy.rules.yml."""

    def test_complete(self) -> None:
        """Each alert has a severity, a summary, a description, and a runbook with a command of sniproxyctl."""
        for alert in monitoring.alerts():
            name = alert["alert"]
            self.assertRegex(name, r"^Sniproxy[A-Z][A-Za-z]+$")
            self.assertIn(alert["labels"]["severity"], ("critical", "warning"), name)
            self.assertEqual({"summary", "description", "runbook"}, set(alert["annotations"]), name)
            self.assertNotIn("\n", alert["annotations"]["summary"], name)
            self.assertIn("`sniproxyctl ", alert["annotations"]["runbook"], name)

    def test_unique(self) -> None:
        """No two alerts have the same name."""
        counts = Counter(alert["alert"] for alert in monitoring.alerts())
        self.assertEqual([], [name for name, count in counts.items() if count > 1])

    def test_commands(self) -> None:
        """The commands of runbooks exist, with their options."""
        for alert in monitoring.alerts():
            for command in re.findall(r"`sniproxyctl ([^`]*)`", alert["annotations"]["runbook"]):
                filled = re.sub(r"\{\{[^}]*\}\}", "192.0.2.1:9090", command).replace(" PID", " 4711")
                try:
                    parse(shlex.split(filled))
                except SystemExit:
                    self.fail(f"{alert['alert']}: sniproxyctl {filled}")

    def test_metrics(self) -> None:
        """The queries use metrics and labels of the reference."""
        known = reference()
        for alert in monitoring.alerts():
            check(self, alert["alert"], alert["expr"], "", known)

    def test_labels(self) -> None:
        """Annotations use labels that the query keeps."""
        for alert in monitoring.alerts():
            query = read_query(alert["expr"])
            available = {*monitoring.OF_SCRAPING, *query.grouping, *labels_of(query, reference())}
            used = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
            self.assertEqual(set(), used - available, alert["alert"])

    def test_guide(self) -> None:
        """The guide's table lists the alerts of the rules file in their order, with severity and delay."""
        rows = re.findall(r"^\| `(Sniproxy\w+)` \| (\w+) \| ([^|]*) \|", GUIDE.read_text(), re.MULTILINE)
        expected = [
            (alert["alert"], alert["labels"]["severity"], alert.get("for", "at once")) for alert in monitoring.alerts()
        ]
        self.assertEqual(
            expected, [(name, severity, re.sub(r"(\d+) (m|h)\w*", r"\1\2", delay)) for name, severity, delay in rows]
        )


def labels_of(query: monitoring.Query, known: dict[str, set[str]]) -> set[str]:
    """All labels of a query's metrics."""
    return {label for name in query.names for label in known.get(monitoring.metric_of(name), ())}


def check(case: SynchronousTestCase, place: str, expression: str, legend: str, known: dict[str, set[str]]) -> None:
    """Assert that the metrics and labels of a query exist."""
    query = read_query(expression)
    case.assertTrue(query.selectors, place)
    for one in query.selectors:
        if one.name in monitoring.OF_PROMETHEUS:
            continue
        metric = monitoring.metric_of(one.name)
        case.assertIn(metric, known, place)
        extra = {"le"} if one.name.endswith("_bucket") else set()
        case.assertEqual(set(), one.labels - known[metric] - monitoring.OF_SCRAPING - extra, place)
    available = {*labels_of(query, known), *monitoring.OF_SCRAPING, "le"}
    case.assertEqual(set(), (query.grouping | set(monitoring.shown(legend))) - available, place)


class BoardTests(FilesTestCase):
    """etc/grafana/sniproxy.json."""

    def setUp(self) -> None:
        """Read the dashboard."""
        super().setUp()
        self.board = monitoring.board()
        self.panels: list[dict[str, Any]] = self.board["panels"]

    def test_schema(self) -> None:
        """The dashboard is of Grafana 10, has an own identifier and no number of a database."""
        self.assertEqual((38, "sniproxy", None), (self.board["schemaVersion"], self.board["uid"], self.board["id"]))

    def test_ids(self) -> None:
        """Each panel has an identifier of its own."""
        numbers = [panel["id"] for panel in self.panels]
        self.assertEqual(len(numbers), len(set(numbers)))

    def test_rows(self) -> None:
        """The rows are in order."""
        self.assertEqual(ROWS, [panel["title"] for panel in self.panels if panel["type"] == "row"])

    def test_places(self) -> None:
        """Panels lie within the 24 columns, and none covers another."""
        for panel in self.panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
        for one, other in combinations(self.panels, 2):
            self.assertFalse(overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"]))

    def test_panels(self) -> None:
        """Each panel has a title, a description, a unit, and queries to the data source of the variable."""
        for panel in self.panels:
            self.assertTrue(panel["title"], panel["id"])
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["description"], panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
            for one in (panel, *panel["targets"]):
                self.assertEqual({"type": "prometheus", "uid": "${datasource}"}, one["datasource"], panel["title"])
            letters = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(letters), len(set(letters)), panel["title"])
            self.assertTrue(all(target["expr"].strip() for target in panel["targets"]), panel["title"])

    def test_variables(self) -> None:
        """The variables exist, and every query selects by job and, but for alerts, by instance."""
        variables = self.board["templating"]["list"]
        self.assertEqual(VARIABLES, [one["name"] for one in variables])
        used = set()
        for title, expression, _ in monitoring.board_queries():
            used |= set(re.findall(r"\$([a-z]+)\b", expression))
            for one in read_query(expression).selectors:
                self.assertLessEqual({"job"} if one.name == "ALERTS" else {"job", "instance"}, one.labels, title)
        self.assertEqual(set(VARIABLES) - {"datasource"}, used)

    def test_variable_queries(self) -> None:
        """Variables take their values from labels that exist."""
        known = reference()
        for one in self.board["templating"]["list"][1:]:
            query, label = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"]).groups()  # type: ignore[union-attr]
            check(self, one["name"], query, f"{{{{{label}}}}}", known)

    def test_metrics(self) -> None:
        """The queries and legends use metrics and labels of the reference."""
        known = reference()
        for title, expression, legend in monitoring.board_queries():
            check(self, title, expression, legend, known)

    def test_all_metrics(self) -> None:
        """Each metric of the reference is on the dashboard or in an alert."""
        queries = [expression for _, expression, _ in monitoring.board_queries()]
        queries += [alert["expr"] for alert in monitoring.alerts()]
        used = {monitoring.metric_of(name) for query in queries for name in read_query(query).names}
        self.assertEqual(UNUSED, set(reference()) - used)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two panels cover the same cell."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )
