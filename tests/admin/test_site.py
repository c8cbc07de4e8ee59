"""Tests for sniproxy.admin.site, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path

import sniproxy.admin
from sniproxy.admin.history import Step
from sniproxy.admin.page import PAGE
from sniproxy.admin.site import DEFAULT_TUNNELS, MAX_LISTED
from sniproxy.events import packed_address
from tests.admin.sample import SampleLive, connection, lookup
from tests.admin.sitecase import SiteTestCase
from tests.admin.token import TOKEN
from tests.support.reference import keys, rows, words
from tests.support.sockets import in_thread


class PathTests(SiteTestCase):
    """The paths of the endpoint."""

    async def test_who(self) -> None:
        """/who has the connections behind addresses; without an address and port it is 400."""
        sample = self.serve()
        sample.proxy.tunnels.append(SampleLive(connection(upstream=packed_address("10.0.0.5", 7))))
        for address in ("10.0.0.5:7", "/10.0.0.5:7", "[::ffff:10.0.0.5]:7"):
            answer = await self.ask(f"/who?address={address}&address=10.0.0.5:8")
            (found,) = json.loads(answer.body)["tunnels"]
            self.assertEqual((200, "10.0.0.5:7"), (answer.code, found["upstream_local"]))
        answer = await self.ask("/who")
        self.assertEqual((400, b"address is missing or too long\n"), (answer.code, answer.body))
        answer = await self.ask("/who?address=10.0.0.5")
        self.assertEqual(
            (400, True), (answer.code, answer.body.startswith(b"address 10.0.0.5: write an IP address and"))
        )

    async def test_ready(self) -> None:
        """/ready is 200, and 503 while the proxy drains."""
        sample = self.serve()
        answer = await self.ask("/ready")
        self.assertEqual((200, b"ready\n"), (answer.code, answer.body))
        for closed, code, body in (((), 200, b"ready\n"), (("public",), 503, b"closed: no target of its")):
            sample.proxy.closed = set(closed)
            answer = await self.ask("/ready?listener=public")
            self.assertEqual((code, True), (answer.code, answer.body.startswith(body)))
        answer = await self.ask("/ready?listener=x")
        self.assertEqual((404, b"no listener is named x\n"), (answer.code, answer.body))
        sample.proxy.ready = False
        answer = await self.ask("/ready")
        self.assertEqual((503, b"draining\n"), (answer.code, answer.body))

    async def test_status(self) -> None:
        """/status is JSON of the current state, with at most the requested number of entries."""
        sample = self.serve()
        sample.proxy.tunnels.extend(SampleLive(connection(number)) for number in range(MAX_LISTED + 5))
        sample.ended(connection(bytes_up=3))
        answer = await self.ask("/status")
        self.assertEqual("application/json", answer.headers["Content-Type"])
        document = json.loads(answer.body)
        self.assertEqual((MAX_LISTED + 5, MAX_LISTED), (document["live"], len(document["tunnels"])))
        self.assertEqual((1, 3), (document["totals"]["ended"], document["totals"]["bytes_up"]))
        for limit in (0, 7):
            document = json.loads((await self.ask(f"/status?limit={limit}")).body)
            self.assertEqual((limit, limit), (len(document["tunnels"]), document["configuration"]["most"]))
        for query, number in (("tunnels=0", 0), ("limit=7&tunnels=3", 3), ("limit=7&tunnels=9", 7)):
            document = json.loads((await self.ask(f"/status?{query}")).body)
            self.assertEqual((number, MAX_LISTED + 5), (len(document["tunnels"]), document["live"]))

    async def test_flows(self) -> None:
        """/flows counts the open connections by client, route and target."""
        sample = self.serve()
        sample.proxy.tunnels.extend(SampleLive(connection(number)) for number in range(3))
        document = json.loads((await self.ask("/flows")).body)
        self.assertEqual((set(rows("/flows")), set()), (set(document), set(keys(document)) - words("/flows")))
        self.assertEqual(
            (3, [{"client": "192.0.2.7", "connections": 3}]), (document["connections"], document["clients"])
        )

    async def test_tunnels(self) -> None:
        """/tunnels finds, sorts and pages the open connections; an unknown order is 400."""
        sample = self.serve()
        for number in range(DEFAULT_TUNNELS + 5):
            sample.proxy.tunnels.append(SampleLive(connection(number), number))
        document = json.loads((await self.ask("/tunnels")).body)
        self.assertEqual((DEFAULT_TUNNELS + 5,) * 2, (document["live"], document["matched"]))
        self.assertEqual(DEFAULT_TUNNELS, len(document["tunnels"]))
        document = json.loads((await self.ask("/tunnels?filter=:5010&sort=age&limit=2&offset=1")).body)
        self.assertEqual((5, set(rows("/tunnels"))), (document["matched"], set(document)))
        self.assertEqual(["192.0.2.7:50101", "192.0.2.7:50102"], [one["client"] for one in document["tunnels"]])
        answer = await self.ask("/tunnels?sort=x")
        self.assertEqual((400, True), (answer.code, answer.body.startswith(b"sort must be one of newest, age")))
        self.assertEqual(400, (await self.ask("/tunnels?filter=" + "x" * 400)).code)

    async def test_tunnels_of_a_worker(self) -> None:
        """A worker lists more connections, because the supervisor shows a part of them."""
        for instance, most in ((None, MAX_LISTED), (0, MAX_LISTED + 5)):
            sample = self.serve(instance=instance)
            sample.proxy.tunnels += [SampleLive(connection(number), number) for number in range(MAX_LISTED + 5)]
            document = json.loads((await self.ask("/tunnels?limit=5000")).body)
            self.assertEqual((most, instance), (len(document["tunnels"]), document["instance"]))

    async def test_drain_of_a_worker(self) -> None:
        """The supervisor names the kind of a drain that only another worker knows."""
        for instance, code in ((None, 404), (0, 200)):
            sample = self.serve(instance=instance)
            sample.site.token = TOKEN.encode()
            secret = {"Authorization": f"Bearer {TOKEN}"}
            answer = await self.ask("/drain?name=nobody&kind=route", "POST", secret)
            self.assertEqual(code, answer.code)
            self.assertEqual(
                400 if instance == 0 else 404, (await self.ask("/drain?name=nobody&kind=x", "POST", secret)).code
            )
        self.assertEqual(["route"], [one.kind for one in sample.proxy.drains])

    async def test_actions(self) -> None:
        """Each action has its path."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        secret = {"Authorization": f"Bearer {TOKEN}"}
        await self.ask("/drain?name=broker", "POST", secret)
        for path, code in (
            ("/undrain?name=broker", 200),
            ("/faults/remove?name=nobody", 404),
        ):
            self.assertEqual(code, (await self.ask(path, "POST", secret)).code, path)
        self.assertEqual(404, (await self.ask("/nothing")).code)
        self.assertEqual({}, json.loads((await self.ask("/faults")).body)["counts"])

    async def test_history(self) -> None:
        """/history has the steps that were sampled."""
        sample = self.serve()
        while not sample.proxy.forgets:  # the first sample begins when the endpoint listens
            await in_thread(int)
        sample.site.sampler.history.add(Step(3, 4), {"t": 1.0}, 7.0)
        document = json.loads((await self.ask("/history")).body)
        self.assertEqual(set(rows("/history")), set(document))
        self.assertEqual(([3], [4], 7.0), (*(document["series"][name] for name in ("tunnels", "new")), document["end"]))
        self.assertEqual(set(), set(keys(document)) - words("/history") - {"t"})
        self.assertEqual([], json.loads((await self.ask("/history?seconds=0")).body)["series"]["new"])

    async def test_topics(self) -> None:
        """/topics is JSON of all topics, of fewer with a limit, or of folded topics."""
        sample = self.serve()
        for number in "123":
            sample.event(lookup(topic=f"persistent://a/b/t-partition-{number}"))
        self.assertEqual(3, len(json.loads((await self.ask("/topics")).body)["topics"]))
        self.assertEqual(1, len(json.loads((await self.ask("/topics?limit=1")).body)["topics"]))
        self.assertEqual(1, len(json.loads((await self.ask("/topics?fold=1")).body)["topics"]))

    async def test_topics_bounded(self) -> None:
        """Without a limit, the topics with the most lookups are listed, with the number of topics left out."""
        sample = self.serve()
        for number in range(MAX_LISTED + 7):
            sample.event(lookup(topic=f"persistent://a/b/t{number}"))
        sample.event(lookup(topic=f"persistent://a/b/t{MAX_LISTED + 6}"))
        document = json.loads((await self.ask("/topics")).body)
        self.assertEqual((MAX_LISTED + 7, MAX_LISTED), (document["count"], len(document["topics"])))
        self.assertEqual({"topics": 7, "namespaces": 0, "scalable_topics": 0}, document["left_out"])
        self.assertEqual(f"persistent://a/b/t{MAX_LISTED + 6}", document["topics"][0]["topic"])
        document = json.loads((await self.ask("/topics?limit=999999999")).body)
        self.assertEqual((MAX_LISTED + 7, 0), (len(document["topics"]), document["left_out"]["topics"]))

    async def test_status_bounded(self) -> None:
        """No limit lists more than the default."""
        sample = self.serve()
        sample.proxy.tunnels.extend(SampleLive(connection(number)) for number in range(MAX_LISTED + 5))
        document = json.loads((await self.ask("/status?limit=999999999")).body)
        self.assertEqual((MAX_LISTED, MAX_LISTED), (len(document["tunnels"]), document["configuration"]["most"]))

    async def test_nothing_inspected(self) -> None:
        """Without an inspector, /topics says that nothing is inspected."""
        self.serve(inspecting=False)
        self.assertFalse(json.loads((await self.ask("/topics")).body)["inspecting"])

    async def test_metrics(self) -> None:
        """/metrics is in Prometheus's text format."""
        sample = self.serve()
        sample.ended(connection())
        answer = await self.ask("/metrics")
        self.assertEqual("text/plain; version=0.0.4; charset=utf-8", answer.headers["Content-Type"])
        line = b'sniproxy_connections_total{listener="public",result="ok",route="*.pulsar.test"} 1.0\n'
        self.assertIn(line, answer.body)

    async def test_page(self) -> None:
        """The site serves the page and its files, and no other file of the package."""
        self.serve()
        static = Path(sniproxy.admin.__file__).parent / "static"
        self.assertEqual({path.name for path in static.iterdir()}, {name for name, _ in PAGE.values()})
        for path, (name, kind) in PAGE.items():
            answer = await self.ask(path)
            self.assertEqual((200, kind), (answer.code, answer.headers["Content-Type"]))
            self.assertEqual((static / name).read_bytes(), answer.body)
        for path in ("/static/page.js", "/../site.py", "/%2e%2e/site.py", "//page.js", "/page.js/", "/index.html"):
            self.assertEqual(404, (await self.ask(path)).code, path)

    async def test_numbers(self) -> None:
        """A limit that is not a number is answered with 400."""
        self.serve()
        for limit in ("x", "-1", "1e9", "9" * 5_000, "%C2%B2"):
            self.assertEqual(400, (await self.ask(f"/topics?limit={limit}")).code, limit)
