"""Tests for sniproxy.cli.top.layout."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.rates import Rates
from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.keys import UiState
from sniproxy.cli.top.layout import Line, Listing, layout, listing, rows_shown
from sniproxy.cli.top.reading import Query, Reading, TunnelPage
from sniproxy.cli.top.views import TUNNELS
from tests.support.statusfixture import status, tunnel

RATES = Rates(12.0, 0.0, 1_200_000.0, 33_000_000.0)


def screen(reading: Reading, ui: UiState | None = None, width: int = 80, height: int = 24) -> list[Line]:
    """The screen, for this state of the user."""
    ui = ui or UiState()
    return layout(reading, ui, listing(reading, ui), width, height, "http://127.0.0.1:9090 every 2 s")


def texts(lines: list[Line]) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in lines]


def style_of(lines: list[Line], text: str) -> str:
    """The style of the first span with this text."""
    return next(span.style for line in lines for span in line if text in span.text)


class LayoutTests(SynchronousTestCase):
    """The whole screen."""

    def test_80_by_24(self) -> None:
        """On the smallest usual terminal all that matters is there, with what fails first."""
        found = texts(screen(Reading(status(live=4812), RATES, instances=1)))
        self.assertEqual(
            [
                "sniproxy 1.0 ready, up 3h  http://127.0.0.1:9090 every 2 s",
                "4,812 tunnels  12 new/s  0 refused/s  1 down  1 warning  up 1.2M down 33.0M B/s~",
                " 1 brokers  2 routes  3 tunnels  4 refusals  5 warnings   3",
                "TARGET            STATE       FOR TUNNELS NEW/S FAILED   P50   P99 UP B/S DN B/S",
                "10.0.0.3:6651     down         2h       0     0      0 1.2ms  31ms  12.3k   4.5M",
                "10.0.0.2:6651     up           2h     102   1.5      0 1.2ms  31ms  12.3k   4.5M",
                "10.0.0.1:6651     up           2h     101   1.5      0 1.2ms  31ms  12.3k   4.5M",
            ],
            found[:7],
        )
        self.assertEqual(
            [
                "10.0.0.3:6651 down, for 2h, checked 3s ago: connection refused",
                "names: broker-3.pulsar.test, pulsar-vip.test; most tunnels 203; connects: ok 1,~",
                "q quit  ? help  1-5 views  / filter  s sort  r reverse  p pause  arrows select",
            ],
            found[21:],
        )
        self.assertEqual(24, len(found))

    def test_last_line(self) -> None:
        """A question precedes notices, and these the keys."""
        change = Change("10.0.0.1:6651", True)
        told = Reading(status(), instances=1, notice="draining 10.0.0.1:6651; d cancels it")
        self.assertEqual(told.notice, texts(screen(told))[-1])
        self.assertEqual("changes need x", texts(screen(told, UiState(notice="changes need x")))[-1])
        asking = screen(told, UiState(asking=change))
        self.assertEqual((change.question, "warn"), (texts(asking)[-1], style_of(asking, "again?")))

    def test_wide(self) -> None:
        """A wide screen has all columns, and the rest of the second line."""
        found = texts(screen(Reading(status(), RATES, instances=1), width=200))
        self.assertTrue(found[1].endswith("1 warning  up 1.2M down 33.0M B/s  6 refused since the start"))
        self.assertTrue(found[3].endswith("NAMES"))
        self.assertTrue(found[4].endswith("broker-3.pulsar.test, pulsar-vip.test"))

    def test_small(self) -> None:
        """A low screen shows rows in place of the lines below them."""
        self.assertEqual(5, len(screen(Reading(status(), instances=1), height=5)))
        self.assertEqual("10.0.0.3:~", texts(screen(Reading(status(), instances=1), width=10, height=5))[4])
        self.assertEqual(([17, 1, 2, 1]), [rows_shown(height) for height in (24, 8, 6, 1)])

    def test_red(self) -> None:
        """What fails is red: refusals now, brokers that are down, the rows of both."""
        lines = screen(Reading(status(), attrs.evolve(RATES, refused=0.5), instances=1), UiState(cursor=1))
        self.assertEqual("bad", style_of(lines, "0.5 refused/s"))
        self.assertEqual("bad", style_of(lines, "1 down"))
        self.assertEqual("bad", style_of(lines, "10.0.0.3:6651"))
        self.assertEqual("selected", style_of(lines, "10.0.0.2:6651"))
        self.assertEqual("selected bad", style_of(screen(Reading(status(), RATES, instances=1)), "10.0.0.3:6651"))
        good = status(targets=[], warnings=[], warning_count=0)
        lines = screen(Reading(good, RATES, instances=1))
        self.assertEqual("", style_of(lines, "0 refused/s"))
        self.assertNotIn("bad", {span.style for line in lines for span in line})
        self.assertEqual("no brokers", texts(lines)[4])

    def test_draining(self) -> None:
        """A proxy that drains is marked."""
        self.assertEqual("warn", style_of(screen(Reading(status(state="draining"), instances=1)), "draining"))

    def test_sorted(self) -> None:
        """The column by which the table is sorted is marked."""
        self.assertEqual("title selected", style_of(screen(Reading(status(), instances=1)), "TUNNELS"))
        lines = screen(Reading(status(), instances=2), UiState(view=TUNNELS))
        self.assertIn("AGE^", texts(lines)[3])
        self.assertIn("2 instances", texts(lines)[0])

    def test_no_answer_yet(self) -> None:
        """Before the first answer the first line says what is tried, or why there is none."""
        self.assertEqual("connecting to http://127.0.0.1:9090 every 2 s", texts(screen(Reading()))[0])
        lines = screen(Reading(errors={"http://a:1": "[Errno 111] Connection refused; check that"}))
        self.assertEqual("no answer, retrying: http://a:1: Connection refused", texts(lines)[0])
        self.assertEqual("bad", style_of(lines, "retrying"))

    def test_lost(self) -> None:
        """If the endpoint goes away the first line says so in red, and the last values stay."""
        lines = screen(Reading(status(), errors={"http://a:1": "timed out"}, stale_s=12.0))
        self.assertEqual("no answer for 12s, retrying: http://a:1: timed out", texts(lines)[0])
        self.assertEqual("bad", style_of(lines, "no answer"))
        self.assertIn("10.0.0.3:6651", "".join(texts(lines)))

    def test_one_of_two_lost(self) -> None:
        """If one of several endpoints does not answer, the others are shown."""
        found = texts(screen(Reading(status(), errors={"http://a:1": "timed out"}, instances=1), width=120))[0]
        self.assertIn("no answer, retrying: http://a:1: timed out; sniproxy 1.0 ready", found)

    def test_paused(self) -> None:
        """A pause is marked."""
        self.assertTrue(texts(screen(Reading(status(), instances=1), UiState(paused=True)))[0].startswith("PAUSED "))

    def test_help(self) -> None:
        """The help has the keys, and no table."""
        found = texts(screen(Reading(status(), instances=1), UiState(help=True)))
        self.assertIn("q, Ctrl-C         quit", found)
        self.assertNotIn("TARGET", "".join(found))
        self.assertEqual("any key returns, q quits", found[-1])

    def test_filter(self) -> None:
        """A filter is shown beside the views, and while it is typed."""
        ui = UiState(filters={0: "é3:"}, typing="")
        found = texts(screen(Reading(status(), instances=1), ui))
        self.assertTrue(found[2].endswith("  0 /\\xe93:_"))
        self.assertEqual("Enter keeps the filter, Esc removes it", found[-1])
        self.assertEqual("no brokers with this text; Esc removes the filter", found[4])
        ui = UiState(filters={0: "3:66"})
        self.assertTrue(texts(screen(Reading(status(), instances=1), ui))[2].endswith("  1 /3:66"))

    @given(
        st.integers(1, 250), st.integers(1, 60), st.integers(0, 4), st.integers(0, 50), st.booleans(), st.booleans(),
        st.sampled_from([Reading(), Reading(status(), RATES, instances=1), Reading(errors={"u": "e"})]),
    )  # fmt: skip
    def test_any_size(
        self, width: int, height: int, view: int, cursor: int, asked: bool, paused: bool, reading: Reading
    ) -> None:
        """No line is longer than the screen, and there are not more lines than it has."""
        lines = screen(reading, UiState(view=view, cursor=cursor, top=cursor, help=asked, paused=paused), width, height)
        self.assertLessEqual(len(lines), height)
        self.assertLessEqual(max(sum(len(span.text) for span in line) for line in lines), width)


class ListingTests(SynchronousTestCase):
    """Which rows are at hand."""

    def page(self, count: int, matched: int, **query: Any) -> Reading:
        tunnels = [tunnel(number) for number in range(count)]
        page = TunnelPage(Query(count, **query), matched, tunnels, query.get("offset", 0))
        return Reading(status(), page=page, instances=1)

    def test_partial(self) -> None:
        """Of many tunnels the page has some, in the proxy's order; the others are not there yet."""
        ui = UiState(view=TUNNELS, cursor=31, top=31, filters={TUNNELS: "x"})
        reading = self.page(30, 5000, offset=10)
        found = listing(reading, ui)
        self.assertEqual((30, 10, 5000), (len(found.rows), found.offset, found.total))
        lines = texts(screen(reading, ui))
        self.assertIn("192.0.2.21:40021", lines[4])
        self.assertEqual("...", lines[20])
        self.assertTrue(lines[2].endswith("  5,000 /x"))

    def test_several(self) -> None:
        """Of several instances, the first tunnels of all are sorted here."""
        tunnels = [tunnel(5), tunnel(9), tunnel(7), tunnel(8)]
        reading = Reading(status(), page=TunnelPage(Query(2), 5000, tunnels), instances=2)
        found = listing(reading, UiState(view=TUNNELS))
        self.assertEqual([5.0, 7.0], [row.values["age"] for row in found.rows])
        self.assertEqual((0, 1000, 5000), (found.offset, found.total, found.matched))

    def test_beyond(self) -> None:
        """A row that is not there yet has no details."""
        ui = UiState(view=TUNNELS, cursor=100, top=95)
        self.assertEqual(["", ""], texts(screen(self.page(30, 5000), ui))[21:23])

    def test_whole(self) -> None:
        """If all tunnels are there, they are sorted here, in both directions."""
        ui = UiState(view=TUNNELS)
        ui = attrs.evolve(ui, sorts={TUNNELS: attrs.evolve(ui.sort, descending=True)})
        found = listing(self.page(3, 3), ui)
        self.assertEqual([2.0, 1.0, 0.0], [row.values["age"] for row in found.rows])

    def test_older_release(self) -> None:
        """Without /tunnels, the tunnels of the status are filtered here."""
        found = listing(Reading(status()), UiState(view=TUNNELS, filters={TUNNELS: "abc-7"}))
        self.assertEqual((1, 0), (found.total, found.offset))
        self.assertEqual(Listing([]), listing(Reading(), UiState()))
