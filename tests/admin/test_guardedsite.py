"""Tests for sniproxy.admin.guardedsite, over real sockets."""

from __future__ import annotations

import json
import socket
from io import BytesIO

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs
from twisted.web.test.requesthelper import DummyChannel

from sniproxy.admin.guard import HEADERS
from sniproxy.admin.guardedsite import AdminRequest
from sniproxy.admin.page import PAGE
from sniproxy.admin.upgrades import NO_UPGRADE, UpgradeReport
from tests.admin.sample import SampleSite
from tests.admin.sitecase import SiteTestCase
from tests.admin.token import TOKEN
from tests.support.sockets import TIMEOUT_S, in_thread, read_to_end


def held_upgrade(sample: SampleSite) -> tuple[Deferred[None], Deferred[UpgradeReport]]:
    """Let the upgrade of a proxy wait. @return: fires when it has begun; and its result, which the caller fires."""
    begun: Deferred[None] = Deferred()
    report: Deferred[UpgradeReport] = Deferred()

    def upgrade() -> Deferred[UpgradeReport]:
        begun.callback(None)
        return report

    sample.proxy.upgrade = upgrade
    return begun, report


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

    async def test_upgrade(self) -> None:
        """POST to /upgrade needs the token, and answers when the upgrade has ended; GET is refused."""
        sample = self.serve()
        self.assertEqual(405, (await self.ask("/upgrade")).code)
        self.assertEqual(403, (await self.ask("/upgrade", "POST")).code)
        sample.site.token = TOKEN.encode()
        secret = {"Authorization": f"Bearer {TOKEN}"}
        answer = await self.ask("/upgrade", "POST", secret)
        self.assertEqual((409, f"{NO_UPGRADE}\n".encode()), (answer.code, answer.body))
        sample.proxy.upgrade = lambda: succeed(UpgradeReport(None, 7, 300, 2, 0.8))
        answer = await self.ask("/upgrade", "POST", secret)
        self.assertEqual((200, "application/json"), (answer.code, answer.headers["Content-Type"]))
        self.assertEqual(7, json.loads(answer.body)["pid"])
        sample.proxy.upgrade = lambda: succeed(UpgradeReport("the new process hangs"))
        answer = await self.ask("/upgrade", "POST", secret)
        self.assertEqual((500, b"the new process hangs\n"), (answer.code, answer.body))
        self.assertIn("text/plain", answer.headers["Content-Type"])

    async def test_upgrade_outlives_the_port(self) -> None:
        """The answer comes from this process, although its port is closed by then."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        begun, report = held_upgrade(sample)
        asked = Deferred.fromCoroutine(self.ask("/upgrade", "POST", {"Authorization": f"Bearer {TOKEN}"}))
        await begun
        await self.port.stopListening()
        settled = sample.site.connections.settled()
        self.assertNoResult(settled)
        report.callback(UpgradeReport(None, 7))
        await settled
        self.assertEqual(200, (await asked).code)

    async def test_upgrade_client_leaves(self) -> None:
        """A client that leaves stops neither the upgrade nor the next one."""
        sample = self.serve()
        sample.site.token = TOKEN.encode()
        begun, report = held_upgrade(sample)
        secret = {"Authorization": f"Bearer {TOKEN}"}
        with socket.create_connection(("127.0.0.1", self.number), timeout=TIMEOUT_S) as client:
            client.sendall(
                f"POST /upgrade HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            await begun
        await sample.site.connections.settled()
        answer = await self.ask("/upgrade", "POST", secret)
        self.assertEqual((409, b"an upgrade is running\n"), (answer.code, answer.body))
        report.callback(UpgradeReport(None, 7))
        sample.proxy.upgrade = lambda: succeed(UpgradeReport(None, 8))
        self.assertEqual(200, (await self.ask("/upgrade", "POST", secret)).code)

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
        for path in (*PAGE, "/status", "/topics", "/flows", "/metrics", "/ready", "/nothing"):
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
