"""C{/record} of the admin endpoint."""

from __future__ import annotations

import http.client
import json

from twisted.internet.defer import Deferred

from sniproxy.admin.messagestream import MAX_QUEUED_BYTES
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.schema import Secrecy
from tests.admin.sitecase import SiteTestCase
from tests.support.sockets import TIMEOUT_S, in_thread

HEADERS = {"Authorization": "Bearer secret"}


class RecordTests(SiteTestCase):
    """Over HTTP."""

    async def test_stream(self) -> None:
        """Messages come as lines, until the client leaves; then the recording ends."""
        sample = self.serve()
        sample.site.token = b"secret"
        client = http.client.HTTPConnection("127.0.0.1", self.number, timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        path = "/record?listener=a&listener=b&keep=payloads&keep=properties&topic=x*&max_frames=5&max_bytes=77"

        def begun() -> http.client.HTTPResponse:
            client.request("POST", path, headers=HEADERS)
            return client.getresponse()

        answer = await in_thread(begun)
        self.assertEqual((200, "application/jsonl"), (answer.status, answer.getheader("Content-Type")))
        self.assertEqual({"recording": ["a", "b"]}, json.loads(await in_thread(answer.readline)))
        [(what, send)] = sample.proxy.recordings
        kept = frozenset({Secrecy.CONTENT, Secrecy.PRIVATE})
        self.assertEqual(Recording(kept, ["x*"], max_frames=5, max_bytes=77), what)
        self.assertTrue(send('{"connection": 1}', False))
        self.assertEqual({"connection": 1}, json.loads(await in_thread(answer.readline)))
        answer.close()
        client.close()
        while sample.proxy.recordings:
            await in_thread(int)

    async def test_slow(self) -> None:
        """For a client that does not read, a bounded number of bytes waits; it gets all that was not dropped."""
        sample = self.serve()
        sample.site.token = b"secret"
        client = http.client.HTTPConnection("127.0.0.1", self.number, timeout=TIMEOUT_S)
        self.addCleanup(client.close)

        def begun() -> http.client.HTTPResponse:
            client.request("POST", "/record", headers=HEADERS)
            return client.getresponse()

        answer = await in_thread(begun)
        [(_, send)] = sample.proxy.recordings
        line = json.dumps("x" * 65_536)
        sent = 0
        while send(line, False):
            sent += 1
            self.assertLess(sent, 2_000)
            await in_thread(int)
        self.assertGreaterEqual(sent * len(line), MAX_QUEUED_BYTES - len(line))

        def read() -> None:
            answer.readline()
            for _ in range(sent):
                self.assertEqual(len(line) + 1, len(answer.readline()))

        await in_thread(read)
        self.assertTrue(send(line, False))
        answer.close()
        client.close()
        while sample.proxy.recordings:
            await in_thread(int)

    async def test_defaults(self) -> None:
        """Without a query, the defaults apply. The end of the endpoint ends the recording."""
        sample = self.serve()
        sample.site.token = b"secret"
        running = Deferred.fromCoroutine(self.ask("/record", "POST", HEADERS))
        while not sample.proxy.recordings:
            await in_thread(int)
        self.assertEqual([Recording(topics=[])], [what for what, _ in sample.proxy.recordings])
        sample.site.connections.stop()
        await self.assertFailure(running, http.client.IncompleteRead, ConnectionError)
        self.assertEqual([], sample.proxy.recordings)

    async def test_refused(self) -> None:
        """A recording needs the token and a POST; errors have the cure."""
        sample = self.serve()
        self.assertEqual(403, (await self.ask("/record", "POST")).code)
        self.assertEqual(405, (await self.ask("/record")).code)
        sample.site.token = b"secret"
        for query, code, text in (
            ("keep=all", 400, b"keep = all: write one of credentials, payloads, properties\n"),
            ("max_frames=x", 400, b"max_frames must be a number\n"),
            ("listener=none", 409, b"no listener is inspected\n"),
        ):
            answer = await self.ask(f"/record?{query}", "POST", HEADERS)
            self.assertEqual((code, text), (answer.code, answer.body))
        self.assertEqual([], sample.proxy.recordings)
