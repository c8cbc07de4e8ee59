"""Tests for sniproxy.cli.top.sources."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.rates import Rates
from sniproxy.cli.top import sources as sources_module
from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.reading import Query, Reading, TunnelPage
from sniproxy.cli.top.sources import Answer, Sources, combined, merged_page, next_answer, query_endpoint
from tests.support.sockets import TIMEOUT_S
from tests.support.statusfixture import status, tunnel
from tests.support.statusserver import StatusServer

NOWHERE = "http://127.0.0.1:1"


def page(*tunnels: dict[str, Any], **query: Any) -> TunnelPage:
    return TunnelPage(Query(10, **query), len(tunnels), tunnels)


class AnswerTests(SynchronousTestCase):
    """One endpoint's answers, one after the other."""

    def test_rates(self) -> None:
        """Rates are those between two answers a second or more apart, of tunnels, too."""
        first = next_answer(Answer(), status(), page(tunnel(1, bytes_up=0)), 10.0)
        self.assertEqual(Rates(), first.rates)
        totals = {**status()["totals"], "bytes_up": 30_000_100}
        second = next_answer(first, status(totals=totals), page(tunnel(1, bytes_up=50)), 12.0)
        self.assertEqual(50.0, second.rates.up)
        assert second.page is not None
        self.assertEqual(25.0, second.page.tunnels[0]["up_per_s"])

    def test_soon(self) -> None:
        """An answer soon after another one keeps its rates, because bytes of some milliseconds say nothing."""
        first = next_answer(Answer(), status(live=100), page(tunnel(1, bytes_up=0)), 10.0)
        second = next_answer(first, status(live=120), page(tunnel(1, bytes_up=100)), 12.0)
        third = next_answer(second, status(live=121), page(tunnel(1, bytes_up=1000), tunnel(2)), 12.1)
        self.assertEqual((10.0, 121), (third.rates.new, (third.status or {})["live"]))
        assert third.page is not None
        self.assertEqual([50.0, None], [one["up_per_s"] for one in third.page.tunnels])
        fourth = next_answer(third, status(live=140), None, 14.0)
        self.assertEqual((10.0, None), (fourth.rates.new, fourth.page))
        unasked = next_answer(second, status(), None, 12.1)
        self.assertIsNone(unasked.page)
        self.assertIsNotNone(next_answer(unasked, status(), page(tunnel(1)), 12.2).page)


class QueryTests(SynchronousTestCase):
    """query_endpoint: over HTTP."""

    def ask(self, answers: Any, query: Query = Query(), before: Answer = Answer()) -> tuple[Answer, StatusServer]:  # noqa: B008
        server = StatusServer(self, answers)
        return query_endpoint(server.url, query, before, lambda: 5.0), server

    def test_status(self) -> None:
        """Tunnels are asked for only where they are shown."""
        answer, server = self.ask(lambda path, query: status())
        self.assertEqual((status(), 5.0, None, None), (answer.status, answer.time, answer.page, answer.error))
        self.assertEqual([("/status", {"tunnels": "0"})], server.asked)

    def test_tunnels(self) -> None:
        """The filter, the order and the part go along."""

        def answers(path: str, query: dict[str, str]) -> Any:
            return status() if path == "/status" else {"matched": 5000, "tunnels": [tunnel(1)]}

        query = Query(20, "a&b", "bytes", 40)
        answer, server = self.ask(answers, query)
        self.assertEqual(TunnelPage(query, 5000, [tunnel(1)], 40), answer.page)
        asked = {"filter": "a&b", "sort": "bytes", "limit": "20", "offset": "40"}
        self.assertEqual({"/status", "/tunnels"}, {path for path, _ in server.asked})
        self.assertLessEqual(asked.items(), dict(server.asked)["/tunnels"].items())

    def test_older_release(self) -> None:
        """A release without /tunnels is no error."""
        answer, server = self.ask(lambda path, query: status() if path == "/status" else None, Query(20))
        self.assertEqual((None, None), (answer.page, answer.error))
        self.assertEqual(("/status", {}), server.asked[-1])

    def test_error(self) -> None:
        """If the endpoint does not answer, the last answer is kept, with the error."""
        before = next_answer(Answer(), status(), None, 1.0)
        answer = query_endpoint(NOWHERE, Query(), before, lambda: 5.0)
        self.assertIn("Connection refused", answer.error or "")
        self.assertEqual(attrs.evolve(before, error=answer.error), answer)

    def test_strange(self) -> None:
        """An answer of another form is an error, never an exception."""
        strange: Any
        for strange in ({}, {"targets": 5}, {**status(), "targets": [5]}, {**status(), "totals": None}, [], "x"):
            answer, _ = self.ask(lambda path, query, strange=strange: strange)
            self.assertIsNotNone(answer.error, strange)
            self.assertIsNone(answer.status)


class CombinedTests(SynchronousTestCase):
    """combined: several endpoints as one."""

    def answered(self, time: float = 8.0, **fields: Any) -> Answer:
        return attrs.evolve(next_answer(Answer(), status(**fields), None, time), rates=Rates(1.0, 2.0, 3.0, 4.0))

    def test_nothing(self) -> None:
        """Before an answer nothing is known but errors."""
        self.assertEqual(Reading(), combined({"a": Answer()}, 9.0))
        self.assertEqual(Reading(errors={"a": "no"}), combined({"a": Answer(error="no")}, 9.0))

    def test_several(self) -> None:
        """Counts and rates are added up; those of endpoints that do not answer do not count."""
        lost = attrs.evolve(self.answered(live=1000), error="gone")
        reading = combined({"a": self.answered(live=1), "b": self.answered(live=2), "c": lost}, 9.0)
        assert reading.status is not None
        self.assertEqual(3, reading.status["live"])
        self.assertEqual((Rates(2.0, 4.0, 6.0, 8.0), 2, {"c": "gone"}, 0.0), (
            reading.rates, reading.instances, reading.errors, reading.stale_s
        ))  # fmt: skip

    def test_all_lost(self) -> None:
        """If none answers any longer, the last answers are shown, with their age, and no rates."""
        reading = combined({"a": attrs.evolve(self.answered(live=7), error="gone")}, 20.0)
        self.assertEqual((Rates(), 0, 12.0), (reading.rates, reading.instances, reading.stale_s))
        self.assertEqual(7, (reading.status or {})["live"])

    def test_unlike(self) -> None:
        """Answers that cannot be merged, of two releases, are an error."""
        reading = combined({"a": self.answered(), "b": self.answered(totals={"other": 1})}, 9.0)
        self.assertIsNone(reading.status)
        self.assertIn("cannot be merged", reading.errors["all"])

    def test_pages(self) -> None:
        """The tunnels of several instances are one list."""
        found = merged_page([page(tunnel(1)), page(tunnel(2), tunnel(3))])
        self.assertEqual((3, ["abc-1", "abc-2", "abc-3"]), (found.matched, [one["id"] for one in found.tunnels]))
        one = attrs.evolve(self.answered(), page=page(tunnel(1)))
        self.assertEqual(1, (combined({"a": one}, 9.0).page or page()).matched)


class ThreadTests(SynchronousTestCase):
    """Sources: the threads."""

    def test_queries(self) -> None:
        """Endpoints are queried at once, and again at an interval; one that does not answer delays no other."""
        server = StatusServer(self, lambda path, query: status())
        sources = Sources([server.url, NOWHERE], 0.01)
        self.addCleanup(sources.stop)
        self.assertEqual(Reading(), sources.reading())
        sources.start()
        version = 0
        while len(server.asked) < 3 or not sources.reading().errors:
            self.assertTrue(sources.wait_for(version, TIMEOUT_S))
            version = sources.version
        reading = sources.reading()
        self.assertEqual((1, [NOWHERE]), (reading.instances, list(reading.errors)))

    def test_asks_at_once(self) -> None:
        """A new query, or a request to query again, does not wait for the interval; the same query does."""
        server = StatusServer(self, lambda path, query: status() if path == "/status" else {"tunnels": []})
        sources = Sources([server.url], 3600.0)
        self.addCleanup(sources.stop)
        sources.start()
        self.assertTrue(sources.wait_for(0, TIMEOUT_S))
        sources.ask(Query())
        sources.ask(Query(5))
        self.assertTrue(sources.wait_for(1, TIMEOUT_S))
        self.assertIsNotNone(sources.reading().page)
        sources.ask(Query(5), again=True)
        self.assertTrue(sources.wait_for(2, TIMEOUT_S))
        self.assertEqual(["/status", "/tunnels", "/status", "/tunnels", "/status"], [path for path, _ in server.asked])

    def test_returns(self) -> None:
        """An endpoint that comes back is shown again."""
        server = StatusServer(self, lambda path, query: status())
        sources = Sources([server.url], 0.01)
        self.addCleanup(sources.stop)
        sources.start()
        self.assertTrue(sources.wait_for(0, TIMEOUT_S))
        server.stop()
        self.wait(sources, lambda reading: bool(reading.errors))
        self.assertEqual(0, sources.reading().instances)
        StatusServer(self, lambda path, query: status(live=5), server.port)
        self.wait(sources, lambda reading: reading.instances == 1)
        self.assertEqual((5, {}), ((sources.reading().status or {})["live"], sources.reading().errors))

    def wait(self, sources: Sources, wanted: Any) -> None:
        version = sources.version
        while not wanted(sources.reading()):
            self.assertTrue(sources.wait_for(version, TIMEOUT_S))
            version = sources.version

    def test_change(self) -> None:
        """A change is made at once; its result is shown for some seconds, and the values are asked for again."""
        server = StatusServer(self, lambda path, query: status())
        clock = Clock()
        self.patch(sources_module, "carry_out", lambda *asked: f"done {asked}")
        sources = Sources([server.url], 3600.0, clock.seconds, "secret")
        self.addCleanup(sources.stop)
        sources.start()
        self.wait(sources, lambda reading: reading.status is not None)
        change = Change("a:1", False)
        sources.change(change)
        self.wait(sources, lambda reading: reading.notice and len(server.asked) > 1)
        self.assertEqual(f"done {(change, [server.url], 'secret')}", sources.reading().notice)
        clock.advance(10.0)
        self.assertEqual("", sources.reading().notice)

    def test_stale(self) -> None:
        """The age of the last answer is that of the clock."""
        clock = Clock()
        sources = Sources([NOWHERE], 1.0, clock.seconds)
        self.assertFalse(sources.wait_for(0, 0.0))
        self.assertEqual(0.0, sources.reading().stale_s)
