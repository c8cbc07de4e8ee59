"""Tests for sniproxy.cli.top.views."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.rates import Rates
from sniproxy.cli.top.reading import Query, Reading, TunnelPage
from sniproxy.cli.top.table import Row, cells
from sniproxy.cli.top.views import VIEWS, state_style
from tests.support.statusfixture import refusal, route, status, target, tunnel

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(target(1))), inner, max_size=4),
    max_leaves=20,
)


def rows(name: str, reading: Reading) -> list[Row]:
    return next(view for view in VIEWS if view.name == name).rows(reading)


def texts(name: str, row: Row) -> dict[str, str]:
    return cells(next(view for view in VIEWS if view.name == name).columns, row)


class ViewTests(SynchronousTestCase):
    """The rows of each view."""

    def test_broker(self) -> None:
        """A broker with its state, since when, its tunnels, rates, failures and connect times."""
        (row,) = rows("brokers", Reading(status(targets=[target(1, connects={"ok": 5, "refused": 2})])))
        self.assertEqual(
            {
                "target": "10.0.0.1:6651", "state": "up", "since": "2h", "connections": "101", "new": "1.5",
                "failed": "2", "p50": "1.2ms", "p99": "31ms", "up": "12.3k", "down": "4.5M",
                "names": "broker-1.pulsar.test, pulsar-vip.test",
            },
            texts("brokers", row),
        )  # fmt: skip
        self.assertEqual(
            [
                "10.0.0.1:6651 up, for 2h, checked 3s ago",
                "names: broker-1.pulsar.test, pulsar-vip.test; most tunnels 201; connects: ok 5, refused 2",
            ],
            row.detail,
        )
        self.assertEqual("", row.style)

    def test_failing_broker(self) -> None:
        """A broker is red if it is down, or if connects to it fail now; its details have the reason."""
        down = target(1, state="down", why="connection refused")
        (row,) = rows("brokers", Reading(status(targets=[down])))
        self.assertEqual(("bad", "10.0.0.1:6651 down, for 2h, checked 3s ago: connection refused"), (
            row.style, row.detail[0]
        ))  # fmt: skip
        (row,) = rows("brokers", Reading(status(targets=[target(1)]), Rates(failed={"10.0.0.1:6651": 0.5})))
        self.assertEqual("bad", row.style)

    def test_unknown_broker(self) -> None:
        """Of a broker of an older release, what is unknown is a dash."""
        (row,) = rows("brokers", Reading({"targets": [{"target": "a:1", "state": "up", "connections": 3, "why": ""}]}))
        self.assertEqual(("3", "-", "-"), tuple(texts("brokers", row)[key] for key in ("connections", "since", "p99")))
        self.assertEqual(["a:1 up", "names: -; most tunnels -; connects: -"], row.detail)

    def test_states(self) -> None:
        """States of several instances: one that fails counts."""
        self.assertEqual(
            ["", "bad", "bad", "warn", ""],
            [state_style(one) for one in ("up", "up in 1 of 2, down in 1 of 2", "ejected", "draining", "unchecked")],
        )

    def test_route(self) -> None:
        """A route is red with the reason why it fails."""
        good, bad = rows("routes", Reading(status(routes=[route(1, listener="a"), route(2, error="no broker")])))
        self.assertEqual(("", "bad"), (good.style, bad.style))
        self.assertEqual("broker-1.pulsar.test on a: no failure known", good.detail[0])
        self.assertEqual(["broker-2.pulsar.test: no broker", "targets: 10.0.0.2:6651"], bad.detail)
        self.assertEqual("no broker", texts("routes", bad)["error"])

    def test_tunnels(self) -> None:
        """The tunnels of the page; without one, those of the status."""
        page = TunnelPage(Query(10), 1, [tunnel(60, peer="10.9.9.9:1", up_per_s=5.0)])
        (row,) = rows("tunnels", Reading(status(), page=page))
        self.assertEqual(
            {
                "age": "60s", "client": "192.0.2.60:40060", "name": "broker-1.pulsar.test", "target": "10.0.0.1:6651",
                "bytes": "66.0k", "up": "5", "down": "-", "state": "open", "listener": "public",
            },
            texts("tunnels", row),
        )  # fmt: skip
        self.assertEqual("", row.style)
        self.assertIn("192.0.2.60:40060 through 10.9.9.9:1 on listener public", row.detail[0])
        self.assertEqual(20, len(rows("tunnels", Reading(status()))))

    def test_opening_tunnel(self) -> None:
        """A connection that is no tunnel yet is marked, and may have neither name nor target."""
        page = TunnelPage(Query(10), 1, [tunnel(1, state="connect", name=None, target=None, upstream_local=None)])
        (row,) = rows("tunnels", Reading(status(), page=page))
        self.assertEqual(("warn", "no server name -> -; 100B up, 1000B down"), (row.style, row.detail[1]))

    def test_refusals(self) -> None:
        """A group of refusals is red while its result is counted."""
        reading = Reading(status(refusals=[refusal(1), refusal(2, result="denied")]), Rates(refused_by={"denied": 1.0}))
        one, two = rows("refusals", reading)
        self.assertEqual(("", "bad", "10s"), (one.style, two.style, texts("refusals", one)["ago"]))
        self.assertEqual(
            [
                "nobody-1.test on listener public, last client 192.0.2.9:40001",
                "no_route: no route matches the server name",
            ],
            one.detail,
        )

    def test_warnings(self) -> None:
        """Warnings in their order, and how many more there are."""
        found = rows("warnings", Reading(status(warnings=["a", "b"], warning_count=5)))
        self.assertEqual(["a", "b", "3 more in the log of the proxy"], [row.values["text"] for row in found])
        self.assertEqual(["a"], found[0].detail)
        self.assertEqual(1, len(rows("warnings", Reading(status()))))

    def test_nothing(self) -> None:
        """Without an answer no view has rows."""
        self.assertEqual([[]] * 5, [view.rows(Reading()) for view in VIEWS])

    def test_sortable(self) -> None:
        """Tunnels are sorted as the proxy can; the other views by each column."""
        self.assertEqual(["age", "client", "name", "target", "bytes"], VIEWS[2].sortable())
        self.assertEqual(len(VIEWS[0].columns), len(VIEWS[0].sortable()))
        for view in VIEWS:
            self.assertIn(view.sort[0], view.sortable())

    @given(json_values, st.sampled_from(["targets", "routes", "tunnels", "refusals", "warnings", "time"]))
    def test_any(self, value: Any, name: str) -> None:
        """No answer raises an exception, and no text has control characters."""
        reading = Reading({**status(), name: value}, page=None)
        for view in VIEWS:
            for row in view.rows(reading):
                for text in [*cells(view.columns, row).values(), *row.detail]:
                    self.assertTrue(text.isprintable() and text.isascii(), text)
