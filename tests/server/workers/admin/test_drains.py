"""Tests for sniproxy.server.workers.admin.drains."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.query import MIN_RATE, ErrorAnswer
from sniproxy.server.workers.admin import drains
from sniproxy.server.workers.admin.channel import DRAINS_VARIABLE
from sniproxy.server.workers.admin.drains import MAX_WAITING, RETRY_INTERVAL_S, DrainKeeper, KeptDrain
from sniproxy.server.workers.admin.link import NoReply, Reply
from sniproxy.server.workers.admin.queries import WorkerQueries
from tests.server.workers.admin.fakes import AskedWorker, drain_state, draining

SENT = ("POST", "/drain", {"name": "a.test", "rate": "4"})
EXACT = ("POST", "/drain", {"kind": "route", "name": "a.test", "rate": "4"})
UNKNOWN = Reply(404, b"a.test: no such route or target\n")


class KeeperTests(SynchronousTestCase):
    """DrainKeeper: the drains of all workers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers: list[Any] = [
            AskedWorker(index, drain=draining(since=50.0 + index), undrain=drain_state("a.test", 4.0))
            for index in (0, 1)
        ]
        queries = WorkerQueries(lambda: self.workers, lambda: 2)
        self.keeper = DrainKeeper(self.clock, queries, lambda: self.workers, lambda: 2)
        for worker in self.workers:
            self.keeper.started(worker, {})

    def drained(self, name: str = "a.test", rate: float = 8.0) -> dict[str, Any]:
        return self.successResultOf(self.keeper.drain(name, rate))

    def refused(self, asked: Deferred[Any]) -> tuple[int, str]:
        error = self.failureResultOf(asked, ErrorAnswer).value
        assert isinstance(error, ErrorAnswer)
        return error.code, error.text

    def asked(self) -> list[list[Any]]:
        """What each worker was asked since the last call."""
        found = [worker.asked for worker in self.workers]
        for worker in self.workers:
            worker.asked = []
        return found

    def test_drain(self) -> None:
        """Each worker gets its share of the rate; the answer adds up what they say. The rate may change."""
        self.assertEqual(
            {
                **drain_state("a.test", 8.0, left=6),
                "closed": 2,
                "refused": 4,
                "clients": ["192.0.2.1:5"] * 2,
                "missing": {},
            },
            self.drained(),
        )
        self.assertEqual([[SENT], [SENT]], self.asked())
        self.workers[1].answers["/drain"] = draining(since=1.0)
        changed = self.drained(rate=2.0)
        self.assertEqual((2.0, 50.0), (changed["rate"], changed["since"]))
        self.assertEqual([2.0], [drain.rate for drain in self.keeper.drains.values()])
        self.clock.advance(RETRY_INTERVAL_S)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(MIN_RATE, self.drained(rate=MIN_RATE)["rate"])

    def test_learn(self) -> None:
        """The drains that a worker has begun by itself are those of all, which get their shares."""
        self.keeper.learn(self.workers[0], [drain_state("a.test", 8.0)])
        self.assertEqual({("route", "a.test"): KeptDrain(8.0, 50.0)}, self.keeper.drains)
        self.assertEqual([[EXACT], [EXACT]], self.asked())
        self.keeper.learn(self.workers[1], [])
        self.assertEqual([[], []], self.asked())

    def test_undrain(self) -> None:
        """A drain is cancelled in all workers, also in those that do not know it."""
        self.drained()
        self.workers[1].answers["/undrain"] = UNKNOWN
        self.asked()
        self.assertEqual(8.0, self.successResultOf(self.keeper.undrain("a.test"))["rate"])
        self.assertEqual([[("POST", "/undrain", {"name": "a.test"})]] * 2, self.asked())
        self.assertEqual({}, self.keeper.drains)
        self.assertEqual([], self.clock.getDelayedCalls())
        # One that a worker has, but the supervisor does not know.
        self.assertEqual(4.0, self.successResultOf(self.keeper.undrain("a.test"))["rate"])

    def test_unknown(self) -> None:
        """A name that no worker knows; workers that do not answer."""
        for worker in self.workers:
            worker.answers.update({"/drain": UNKNOWN, "/undrain": UNKNOWN})
        for change in (self.keeper.drain("a.test", 1.0), self.keeper.undrain("a.test")):
            self.assertEqual((404, "a.test: no such route or target"), self.refused(change))
        for worker in self.workers:
            worker.ready = False
        self.assertEqual(
            (503, "no worker has answered to /drain: try again"), self.refused(self.keeper.drain("a", 1.0))
        )
        self.assertEqual(503, self.refused(self.keeper.undrain("a"))[0])
        self.assertEqual({}, self.keeper.drains)

    def test_unknown_to_one(self) -> None:
        """A target that only one worker has dialled is drained in the others by its exact name."""
        known = draining()
        self.workers[0].answers["/drain"] = lambda query: known(query) if "kind" in query else UNKNOWN
        drained = self.drained()
        self.assertEqual((6, {}), (drained["left"], drained["missing"]))
        self.assertEqual([[SENT, EXACT], [SENT]], self.asked())

    def test_late(self) -> None:
        """A worker that does not answer is named, and gets the drain or its end later."""
        self.workers[1].answers["/drain"] = NoReply("is blocked")
        drained = self.drained()
        self.assertEqual((3, {"1": "has not begun"}), (drained["left"], drained["missing"]))
        self.clock.advance(RETRY_INTERVAL_S)
        self.workers[1].answers["/drain"] = draining()
        self.asked()
        self.clock.advance(RETRY_INTERVAL_S)
        self.assertEqual([[], [EXACT]], self.asked())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.workers[1].answers["/undrain"] = NoReply("is blocked")
        self.assertEqual({"1": "is blocked"}, self.successResultOf(self.keeper.undrain("a.test"))["missing"])
        self.workers[1].answers["/undrain"] = UNKNOWN
        self.asked()
        self.clock.advance(RETRY_INTERVAL_S)
        self.assertEqual([[], [("POST", "/undrain", {"name": "a.test"})]], self.asked())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_restart(self) -> None:
        """A worker starts with the drains of that moment, and gets later ones when it is ready."""
        self.drained()
        environment = self.keeper.environment()
        self.assertEqual({DRAINS_VARIABLE: '[["route", "a.test", 4.0]]'}, environment)
        self.keeper.ended(self.workers[1])
        self.workers[1] = AskedWorker(1, drain=draining())
        self.workers[1].ready = False
        self.keeper.started(self.workers[1], environment)
        self.drained("b.test")
        self.asked()
        self.workers[1].ready = True
        self.keeper.ready(self.workers[1])
        self.assertEqual([[], [("POST", "/drain", {"kind": "route", "name": "b.test", "rate": "4"})]], self.asked())
        self.keeper.ready(self.workers[1])
        self.assertEqual([[], []], self.asked())

    def test_ended_meanwhile(self) -> None:
        """A worker that ends while it answers is forgotten."""
        late: Deferred[Any] = Deferred()
        self.workers[1].answers["/drain"] = late
        asked = self.keeper.drain("a.test", 8.0)
        gone = self.workers.pop()
        self.keeper.ended(gone)
        late.callback(Reply(200, json.dumps(drain_state("a.test", 4.0)).encode()))
        self.successResultOf(asked)
        self.assertNotIn(gone, self.keeper._confirmed)

    def test_environment_bound(self) -> None:
        """The environment is bounded: later drains are sent when the worker is ready."""
        self.assertEqual({}, self.keeper.environment())
        self.drained()
        self.drained("b.test")
        self.patch(drains, "MAX_PASSED_BYTES", 30)
        self.assertEqual('[["route", "a.test", 4.0]]', self.keeper.environment()[DRAINS_VARIABLE])
        self.patch(drains, "MAX_PASSED_BYTES", 3)
        self.assertEqual({}, self.keeper.environment())

    def test_bounds(self) -> None:
        """Drains, and changes that wait, are bounded; one change is made after the other."""
        late: Deferred[Any] = Deferred()
        self.workers[0].answers["/drain"] = late
        waiting = [self.keeper.drain("a.test", 8.0) for _ in range(MAX_WAITING + 1)]
        self.assertEqual(503, self.assertRaises(ErrorAnswer, self.keeper.drain, "a.test", 1.0).code)
        self.assertEqual([1, 1], [len(found) for found in self.asked()])
        self.workers[0].answers["/drain"] = draining()
        late.callback(Reply(200, json.dumps(drain_state("a.test", 4.0)).encode()))
        for one in waiting:
            self.successResultOf(one)
        self.patch(drains, "MAX_DRAINS", 1)
        self.assertIn("1 drains already", self.refused(self.keeper.drain("b.test", 1.0))[1])
        self.drained(rate=1.0)

    def test_stop(self) -> None:
        """At the stop nothing more is sent."""
        self.workers[1].answers["/drain"] = NoReply("is blocked")
        self.drained()
        self.keeper.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.keeper.stop()

    def test_fault(self) -> None:
        """An answer that is no JSON object is none."""
        self.workers[1].answers["/drain"] = NoReply("is blocked")
        self.drained()
        for body in (b"x", b"[]"):
            self.workers[1].answers["/drain"] = Reply(200, body)
            self.clock.advance(RETRY_INTERVAL_S)
            self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_restored(self) -> None:
        """Another program continues with the drains, and knows what each worker has."""
        self.drained()
        self.asked()
        before = self.keeper
        queries = WorkerQueries(lambda: self.workers, lambda: 2)
        self.keeper = DrainKeeper(self.clock, queries, lambda: self.workers, lambda: 2)
        self.keeper.restore((*key, one.rate, one.since) for key, one in before.drains.items())
        self.keeper.adopt(self.workers[0], before.confirmed(self.workers[0]))
        self.keeper.adopt(self.workers[1], ())
        self.assertEqual(before.drains, self.keeper.drains)
        for worker in self.workers:
            self.keeper.ready(worker)
        self.assertEqual([[], [EXACT]], self.asked())
