"""Tests for sniproxy.admin.site, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.logger import capturedLogs
from twisted.web.test.requesthelper import DummyChannel

import sniproxy.admin
from sniproxy.admin.guard import HEADERS
from sniproxy.admin.site import MAX_LISTED, PAGE, AdminRequest
from sniproxy.events import packed_address
from tests.admin.sample import SampleLive, SampleSite, connection, lookup
from tests.admin.token import TOKEN
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_to_end


@attrs.frozen
class Answer:
    """The answer of the server."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes


class SiteTestCase(SocketTestCase):
    """A site that listens, and its client."""

    def serve(self, **options: Any) -> SampleSite:
        sample = SampleSite(reactor, **options)
        self.port: Any = reactor.listenTCP(0, cast(Any, sample.site), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        return sample

    @property
    def number(self) -> int:
        number: int = self.port.getHost().port
        return number

    async def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request on its own connection."""

        def asked() -> Answer:
            client = http.client.HTTPConnection("127.0.0.1", self.number, timeout=TIMEOUT_S)
            try:
                client.request(method, path, headers=headers or {})
                response = client.getresponse()
                return Answer(response.status, response.headers, response.read())
            finally:
                client.close()

        return await in_thread(asked)


class PathTests(SiteTestCase):
    """The paths of the endpoint."""

    async def test_who(self) -> None:
        """/who has the connections behind addresses; without an address it is 400."""
        sample = self.serve()
        sample.proxy.tunnels.append(SampleLive(connection(upstream=packed_address("10.0.0.5", 7))))
        answer = await self.ask("/who?address=10.0.0.5:7&address=10.0.0.5:8")
        (found,) = json.loads(answer.body)["tunnels"]
        self.assertEqual((200, "10.0.0.5:7"), (answer.code, found["upstream_local"]))
        answer = await self.ask("/who")
        self.assertEqual((400, b"address is missing or too long\n"), (answer.code, answer.body))

    async def test_ready(self) -> None:
        """/ready is 200, and 503 while the proxy drains."""
        sample = self.serve()
        answer = await self.ask("/ready")
        self.assertEqual((200, b"ready\n"), (answer.code, answer.body))
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


class GuardTests(SiteTestCase):
    """Which requests are answered, and with which headers."""

    async def test_only_shows(self) -> None:
        """Every method but GET and HEAD is refused, with or without a body."""
        self.serve()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            answer = await self.ask("/status", method)
            self.assertEqual((405, "GET, HEAD"), (answer.code, answer.headers["Allow"]), method)

    async def test_drain(self) -> None:
        """POST to /drain and /undrain needs a valid name and rate; GET is refused."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        for path in ("/drain", "/undrain"):
            answer = await self.ask(f"{path}?name=a.test")
            self.assertEqual((405, "POST"), (answer.code, answer.headers["Allow"]))
        self.assertEqual([], sample.proxy.drains)
        secret = {"Authorization": f"Bearer {TOKEN}"}
        answer = await self.ask("/drain?name=10.0.0.1:6651&rate=2.5", "POST", secret)
        self.assertEqual(200, answer.code)
        said = json.loads(answer.body)
        self.assertEqual(("10.0.0.1:6651", 2.5, 3), (said["name"], said["rate"], said["left"]))
        self.assertEqual([said], json.loads((await self.ask("/status")).body)["drains"])
        for query, code in (("", 400), ("name=a&rate=x", 400), ("name=a&rate=0", 400), ("name=a&rate=nan", 400)):
            self.assertEqual(code, (await self.ask(f"/drain?{query}", "POST", secret)).code, query)
        self.assertEqual(400, (await self.ask(f"/drain?name={'x' * 500}", "POST", secret)).code)
        answer = await self.ask("/drain?name=nobody", "POST", secret)
        self.assertEqual((404, b"there is no nobody\n"), (answer.code, answer.body))
        self.assertEqual(200, (await self.ask("/undrain?name=a", "POST", secret)).code)
        self.assertEqual([], sample.proxy.drains)

    async def test_drain_foreign(self) -> None:
        """A request from a page of another site, or without a Host, changes nothing, even with a valid token."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        secret = {"Authorization": f"Bearer {TOKEN}"}
        for headers in ({"Host": "evil.test"}, {"Origin": "http://evil.test"}, {"Origin": "null"}):
            self.assertEqual(403, (await self.ask("/drain?name=a", "POST", {**headers, **secret})).code)
        said = await self.exchange(f"POST /drain?name=a HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        self.assertTrue(said.startswith(b"HTTP/1.0 403"), said[:100])
        self.assertEqual([], sample.proxy.drains)

    async def test_drain_without_token(self) -> None:
        """A change over TCP needs the token, also from this machine. Its refusal is logged once, with the cure."""
        sample = self.serve()
        with capturedLogs() as logged:
            answers = [await self.ask(f"/{path}?name=a", "POST") for path in ("drain", "undrain", "drain")]
            sample.site.token = TOKEN.encode()
            answers.append(await self.ask("/drain?name=a", "POST", {"Authorization": "Bearer no-such-token"}))
        self.assertEqual([403] * 4, [answer.code for answer in answers])
        self.assertIn(b"token_file in [admin]", answers[0].body)
        self.assertIn(b"--token-file", answers[3].body)
        self.assertEqual([], sample.proxy.drains)
        self.assertEqual({"change": 4}, dict(sample.site.rejections.counts))
        self.assertEqual(1, len(logged))
        self.assertNotIn("no-such-token", str(logged))

    async def test_head(self) -> None:
        """HEAD has the headers of GET, and no body."""
        self.serve()
        answer, whole = await self.ask("/ready", "HEAD"), await self.ask("/ready")
        self.assertEqual((200, b"", "6"), (answer.code, answer.body, answer.headers["Content-Length"]))
        self.assertEqual(whole.headers.keys(), answer.headers.keys())

    async def test_body_is_dropped(self) -> None:
        """The body of a request is discarded, and the connection can be used again."""
        self.serve()
        body = b"x" * 3_000_000
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
        said = await self.exchange(
            b"POST /ready HTTP/1.1\r\nHost: localhost\r\n" + form + body
            + b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        self.assertTrue(said.startswith(b"HTTP/1.1 405"), said[:100])
        self.assertTrue(said.endswith(b"\r\n\r\nready\n"), said[-100:])

    def test_body_is_not_kept(self) -> None:
        """A body is kept neither in memory nor in a file, as Twisted does with a long one."""
        request = AdminRequest(DummyChannel(), False)
        request.gotLength(10_000_000)
        request.handleContentChunk(b"x" * 1_000)
        kept = request.content
        assert isinstance(kept, BytesIO)
        self.assertEqual(b"", kept.getvalue())

    async def test_quiet(self) -> None:
        """Repeated requests of the page are not logged."""
        self.serve()
        with capturedLogs() as logged:
            for method in ("GET", "HEAD", "POST"):
                await self.ask("/status", method)
        self.assertEqual([], logged)

    async def exchange(self, sent: bytes) -> bytes:
        """Send these bytes. @return: everything that the server sends."""

        def exchanged() -> bytes:
            with socket.create_connection(("127.0.0.1", self.number), timeout=TIMEOUT_S) as client:
                client.sendall(sent)
                return read_to_end(client)

        return await in_thread(exchanged)

    async def test_foreign(self) -> None:
        """A request for another host, or from another site, is refused for every path; the answer has the cure."""
        self.serve()
        for path in (*PAGE, "/status", "/topics", "/metrics", "/ready", "/nothing"):
            for headers in ({"Host": "evil.test"}, {"Origin": "http://evil.test"}):
                answer = await self.ask(path, headers=headers)
                self.assertEqual(403, answer.code, (path, headers))
        self.assertIn(b"[admin] hosts", (await self.ask("/ready", headers={"Host": "evil.test"})).body)

    async def test_hosts(self) -> None:
        """A configured name is accepted in upper and lower case."""
        self.serve(hosts=["Proxy-1.Example.com"])
        self.assertEqual(200, (await self.ask("/ready", headers={"Host": "proxy-1.example.COM:9090"})).code)

    async def test_headers(self) -> None:
        """Every answer, also an error, has headers against caching, sniffing, framing and foreign scripts."""
        self.serve()
        for path, headers in (("/", {}), ("/status", {}), ("/nothing", {}), ("/", {"Host": "evil.test"})):
            answer = await self.ask(path, headers=headers)
            for name, value in HEADERS.items():
                self.assertEqual([value.decode()], answer.headers.get_all(name.decode()), (path, name))

    async def test_fault(self) -> None:
        """An exception of a source gives status 500 without its traceback."""
        sample = self.serve()

        def fault() -> None:
            raise ZeroDivisionError("secret")

        sample.proxy.look = fault
        answer = await self.ask("/status")
        self.assertEqual(500, answer.code)
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_stop(self) -> None:
        """A stop of the site closes open connections."""
        self.serve()

        def connected() -> socket.socket:
            client = socket.create_connection(("127.0.0.1", self.number), timeout=TIMEOUT_S)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.recv(1)
            return client

        client = await in_thread(connected)
        self.addCleanup(client.close)
        await self.port.stopListening()
        try:
            await in_thread(read_to_end, client)
        except ConnectionResetError:
            pass
