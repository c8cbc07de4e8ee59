"""Tests for sniproxy.server.workers.admin.site, over real sockets."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.faults import faults_document
from sniproxy.admin.metrics import CONTENT_TYPE
from sniproxy.admin.slices import finish
from sniproxy.config.parser import parse
from sniproxy.server.workers.admin.drains import DrainKeeper
from sniproxy.server.workers.admin.link import NoReply, Reply
from sniproxy.server.workers.admin.queries import TIMEOUT_S, WorkerQueries
from sniproxy.server.workers.admin.site import SCRAPE_SHARE, WorkersSite, scrape_timeout
from sniproxy.server.workers.admin.state import SupervisorState
from sniproxy.util.offload import at_once
from tests.admin.sample import NOW, SampleSite
from tests.admin.sitecase import Answer, SiteTestCase
from tests.admin.token import TOKEN
from tests.server.workers.admin.fakes import AskedWorker, drain_state, draining
from tests.support.reactor import reactor

CONFIGURATION = 'workers = 2\n[[listener]]\nname = "public"\nendpoint = "tcp:4443"\n'


class WorkersSiteTests(SiteTestCase):
    """WorkersSite: one endpoint for two workers."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.samples = [SampleSite(reactor, instance=index) for index in (0, 1)]
        self.workers: list[Any] = []
        for index, sample in enumerate(self.samples):
            sample.fill()
            worker = AskedWorker(index, drain=draining(), undrain=drain_state("a.test", 4.0))
            site = sample.site
            worker.answers.update(
                {
                    "/metrics": lambda _, site=site: Reply(200, site.metrics.text()),
                    "/status": lambda query, site=site: reply(
                        site.status_steps(int(query["limit"]), int(query["tunnels"]))
                    ),
                    "/tunnels": lambda query, site=site: reply(
                        site.tunnels_steps(query.get("filter", ""), query["sort"], int(query["limit"]), 0)
                    ),
                    "/history": lambda query, site=site: reply(site.history_steps(int(query["seconds"]))),
                    "/topics": lambda query, site=site: reply(site.topics_steps(0, int(query["limit"]))),
                    "/flows": lambda _, site=site: reply(site.flows_steps()),
                    "/faults": lambda _, proxy=sample.proxy: faults_document(proxy, NOW),
                    "/who": lambda query, site=site: reply(site.who_steps([query["address"]])),
                }
            )
            self.workers.append(worker)
        self.state = SupervisorState(parse(CONFIGURATION, "a.toml"), lambda: NOW)
        self.state.ready = True
        queries = WorkerQueries(lambda: self.workers, lambda: 2)
        self.drains = DrainKeeper(reactor, queries, lambda: self.workers, lambda: 2)
        self.addCleanup(self.drains.stop)
        for worker in self.workers:
            self.drains.started(worker, {})
        self.site = WorkersSite(reactor, self.state, lambda: self.workers, queries, self.drains, lambda: NOW, at_once)
        self.port = reactor.listenTCP(0, cast(Any, self.site), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    async def document(self, path: str) -> dict[str, Any]:
        answer = await self.ask(path)
        self.assertEqual((200, "application/json"), (answer.code, answer.headers["Content-Type"]), answer.body)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def said(self, path: str, **more: Any) -> tuple[int, str]:
        """The status and the text of an error."""
        answer: Answer = await self.ask(path, **more)
        return answer.code, answer.body.decode().rstrip("\n")

    async def test_ready(self) -> None:
        """The supervisor knows whether a worker is ready, and which listeners there are."""
        self.assertEqual((200, "ready"), await self.said("/ready"))
        self.assertEqual((200, "ready"), await self.said("/ready?listener=public"))
        self.assertEqual((404, "no listener is named x"), await self.said("/ready?listener=x"))
        for worker in self.workers:
            worker.ready = False
        self.assertEqual((503, "no worker is ready"), await self.said("/ready"))
        self.state.ready = False
        self.assertEqual((503, "draining"), await self.said("/ready"))

    async def test_metrics(self) -> None:
        """The metrics of both, those of the supervisor, and those of each; also if a worker or none answers."""
        answer = await self.ask("/metrics")
        self.assertEqual((200, CONTENT_TYPE), (answer.code, answer.headers["Content-Type"]))
        self.assertIn(b'sniproxy_worker_up{worker="1"} 1.0\n', answer.body)
        self.assertIn(b"sniproxy_workers 2.0\n", answer.body)
        self.assertIn(b"sniproxy_tunnels{", answer.body)
        self.assertEqual(1, answer.body.count(b"sniproxy_info{"))
        self.workers[1].answers["/metrics"] = NoReply("is blocked")
        self.assertIn(b'sniproxy_worker_up{worker="1"} 0.0\n', (await self.ask("/metrics")).body)
        self.site.ended(self.workers.pop())
        self.workers[0].answers["/metrics"] = Reply(500, b"internal error\n")
        answer = await self.ask("/metrics")
        self.assertEqual(200, answer.code)
        self.assertIn(b'sniproxy_worker_up{worker="0"} 0.0\n', answer.body)
        self.assertIn(b"sniproxy_bytes_total{", answer.body)

    async def test_status(self) -> None:
        """One status for all, and what each worker is; one that does not answer is named."""
        found = await self.document("/status?limit=50&tunnels=3")
        self.assertEqual(
            ([None, None], [100, 101]), tuple([one[key] for one in found["workers"]] for key in ("error", "pid"))
        )
        self.assertEqual((3, 2, "ready"), (len(found["tunnels"]), found["configuration"]["workers"], found["state"]))
        self.assertEqual(("GET", "/status", {"limit": "50", "tunnels": "3"}), self.workers[0].asked[-1])
        ended = found["totals"]["ended"]
        self.workers[1].answers["/status"] = NoReply("is blocked")
        self.state.ready = False
        found = await self.document("/status")
        self.assertEqual(("is blocked", ended), (found["workers"][1]["error"], found["totals"]["ended"]))
        self.assertEqual("worker 1 is blocked: it is left out", found["warnings"][0])
        self.assertEqual("draining", found["state"])
        self.assertEqual(("GET", "/status", {"limit": "1000", "tunnels": "1000"}), self.workers[0].asked[-1])

    async def test_lists(self) -> None:
        """The other documents are those of both workers."""
        live = 2 * len(self.samples[0].proxy.tunnels)
        found = await self.document("/tunnels?limit=5&offset=2&sort=bytes&filter=a")
        self.assertEqual((live, 5), (found["live"], len(found["tunnels"])))
        self.assertEqual({"limit": "7", "sort": "bytes", "filter": "a"}, self.workers[0].asked[-1][2])
        self.assertEqual(live, (await self.document("/tunnels"))["matched"])
        self.assertEqual([], (await self.document("/history"))["series"]["tunnels"])
        self.assertEqual([], (await self.document("/history?seconds=60"))["series"]["tunnels"])
        self.assertTrue((await self.document("/topics?fold=1&limit=5"))["inspecting"])
        self.assertTrue((await self.document("/topics"))["inspecting"])
        self.assertLess(0, (await self.document("/flows"))["connections"])
        self.assertEqual([], (await self.document("/who?address=192.0.2.1:1"))["tunnels"])
        self.assertEqual(400, (await self.ask("/who?address=192.0.2.1")).code)
        self.assertEqual(
            (400, "sort must be one of newest, age, bytes, name, client, target"), await self.said("/tunnels?sort=x")
        )
        self.assertEqual(404, (await self.ask("/nothing")).code)

    async def test_page(self) -> None:
        """The page is that of one process."""
        self.assertEqual(200, (await self.ask("/")).code)

    async def test_no_answer(self) -> None:
        """If no worker answers, the reasons are named; an error of all is passed on."""
        for worker in self.workers:
            worker.answers["/status"] = NoReply("is blocked")
        self.assertEqual(
            (503, "no worker answers: worker 0 is blocked, worker 1 is blocked"), await self.said("/status")
        )
        for worker in self.workers:
            worker.answers["/status"] = Reply(400, b"limit must be a number\n")
        self.assertEqual((400, "limit must be a number"), await self.said("/status"))

    async def test_other_release(self) -> None:
        """Documents that cannot be merged are no internal error."""
        self.workers[0].answers["/flows"] = {"other": 1}
        with capturedLogs() as events:
            code, text = await self.said("/flows")
        self.assertEqual(502, code)
        self.assertIn("cannot merge the answers of the workers", text)
        self.assertEqual([], [event for event in events if "log_failure" in event])

    async def test_shared(self) -> None:
        """Equal requests at the same time ask the workers once."""
        late: Deferred[Any] = Deferred()
        self.workers[0].answers["/flows"] = late
        asked = [Deferred.fromCoroutine(self.ask("/flows")) for _ in range(2)]
        while len(self.site.connections._busy) < 2:  # both requests have arrived
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.001, turn.callback, None)
            await turn
        late.callback(Reply(200, finish(self.samples[0].site.flows_steps())))
        for one in asked:
            self.assertEqual(200, (await one).code)
        self.assertEqual([("GET", "/flows", {})], self.workers[0].asked)

    async def test_faults(self) -> None:
        """The faults of workers are shown as one, with their sums; a command changes none."""
        for sample in self.samples:
            sample.proxy.add_fault({"action": "cut", "name": "a"})
            sample.proxy.faults.rules[0].matched = 3
            sample.proxy.faults.counts["cut"] = 2
        for path in ("/faults", "/status"):
            document = await self.document(path)
            [fault] = document["faults"]
            self.assertEqual(("a", 6), (fault["name"], fault["matched"]))
        self.assertEqual({"cut": 4}, (await self.document("/faults"))["counts"])
        self.site.token = TOKEN.encode()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/faults/add?action=cut", "/faults/remove?name=a"):
            code, text = await self.said(path, method="POST", headers=headers)
            self.assertEqual((409, True), (code, text.startswith("with workers, a command changes no faults")), text)

    async def test_record(self) -> None:
        """Workers are not recorded."""
        self.site.token = TOKEN.encode()
        code, text = await self.said("/record", method="POST", headers={"Authorization": f"Bearer {TOKEN}"})
        self.assertEqual((409, True), (code, text.startswith("a recording is of one process")), text)

    async def test_faults_of_one(self) -> None:
        """The faults of the only worker are shown and changed there, as its answer says."""
        self.state.use(parse(CONFIGURATION.replace("workers = 2\n", ""), "a.toml"))
        worker = self.workers[0]
        del self.workers[1]
        worker.answers["/faults"] = {
            "time": NOW,
            "faults": [{"name": "a", "action": "cut", "trigger": "", "matched": 1, "applied": 1}],
            "counts": {"cut": 1},
        }
        self.assertEqual(worker.answers["/faults"], await self.document("/faults"))
        self.site.token = TOKEN.encode()
        given: dict[str, Any] = {"method": "POST", "headers": {"Authorization": f"Bearer {TOKEN}"}}
        self.assertEqual((404, "not found"), await self.said("/faults/add?action=cut", **given))
        worker.answers["/faults/add"] = {"name": "fault-1"}
        self.assertEqual((200, '{"name": "fault-1"}'), await self.said("/faults/add?action=cut", **given))
        self.assertEqual(("POST", "/faults/add", {"action": "cut"}), worker.asked[-1])
        worker.answers["/faults/add"] = NoReply("is blocked")
        self.assertEqual(
            (503, "the worker has not answered: try again"), await self.said("/faults/add?action=cut", **given)
        )

    async def test_drain(self) -> None:
        """A drain needs the token, reaches both workers, and is shown as one."""
        path = "/drain?name=a.test&rate=8"
        self.assertEqual(403, (await self.ask(path, "POST")).code)
        self.site.token = TOKEN.encode()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = await self.ask(path, "POST", headers)
        self.assertEqual((200, 8.0, 6), (answer.code, json.loads(answer.body)["rate"], json.loads(answer.body)["left"]))
        for worker in self.workers:
            self.assertEqual([("POST", "/drain", {"name": "a.test", "rate": "4"})], worker.asked)
        answer = await self.ask("/undrain?name=a.test", "POST", headers)
        self.assertEqual((200, "route"), (answer.code, json.loads(answer.body)["kind"]))
        self.assertEqual(400, (await self.ask("/drain?name=a.test&rate=x", "POST", headers)).code)
        for worker in self.workers:
            worker.answers["/drain"] = Reply(404, b"no such route\n")
        self.assertEqual((404, "no such route"), await self.said(path, method="POST", headers=headers))


class TimeoutTests(SynchronousTestCase):
    """scrape_timeout: what Prometheus waits for."""

    def test_header(self) -> None:
        """Workers have a part of the time that Prometheus waits; without a valid header, that of other requests."""
        for sent, expected in (
            ([], TIMEOUT_S),
            ([b"1.5"], 1.5 * SCRAPE_SHARE),
            (["2"], 2 * SCRAPE_SHARE),
            (["60"], TIMEOUT_S),
            (["x"], TIMEOUT_S),
            (["0"], TIMEOUT_S),
            (["-1"], TIMEOUT_S),
            (["nan"], TIMEOUT_S),
            (["inf"], TIMEOUT_S),
        ):
            self.assertEqual(expected, scrape_timeout(sent), sent)


def reply(steps: Any) -> Reply:
    """The answer of a worker with a document."""
    return Reply(200, finish(steps))
