"""Tests for sniproxy.cli.conversation.running, with a running proxy and the demo's client and broker."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy import ctl
from sniproxy.cli.adminclient import AdminError, ErrorStatus
from sniproxy.cli.conversation import running
from sniproxy.cli.conversation.output import Output
from sniproxy.cli.conversation.record import recording_of
from sniproxy.cli.conversation.running import STOPPED, Messages, record_running
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.textform import read_conversation
from tests.cli.conversation.demo import TIMEOUT_S, Announced, DemoCase, reactor, round_trip
from tests.support.proxies import Proxy
from tests.support.sockets import in_thread

HEAD = {"conversation": 1, "client": "c:1", "broker": "b:2"}
PING = {"time": 0.5, "from": "client", "command": "PING", "fields": {}}
ANNOUNCED = "recording new connections of "


class RunningTests(DemoCase):
    """record_running."""

    def start(self, *words: str) -> tuple[Proxy, str, Announced, Deferred[int]]:
        """Start a proxy and a recording. @return: the proxy, the file, standard error, and the exit status."""
        folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, folder)
        text = (
            '[[listener]]\nname = "tap"\nendpoint = "tcp:0:interface=127.0.0.1"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{self.cluster()}"\n[admin]\nendpoint = "unix:{folder}/admin"\n'
        )
        proxy, file, error = Proxy(self, text), self.mktemp(), Announced(ANNOUNCED)
        options = ctl.parse(["record", "--admin", f"unix:{folder}/admin", "-o", file, *words])
        return proxy, file, error, in_thread(record_running, options, recording_of(options), error)

    def url(self, proxy: Proxy) -> str:
        """The service URL of the proxy."""
        return f"pulsar://127.0.0.1:{proxy.service.addresses['tap'][1]}"

    async def test_recorded(self) -> None:
        """A connection that is opened meanwhile is recorded, without credentials, until it ends."""
        proxy, file, error, done = self.start("--connections", "1", "--listener", "tap")
        await error.url.addTimeout(TIMEOUT_S, reactor)
        await round_trip(self.url(proxy))
        self.assertEqual(0, await done.addTimeout(TIMEOUT_S, reactor))
        found = read_conversation(Path(file).read_text().splitlines())
        commands = [line.entry["command"] for line in found.lines]
        self.assertEqual(["CONNECT", "CONNECTED"], commands[:2])
        self.assertIn("LOOKUP_RESPONSE", commands)
        self.assertEqual("the client ended first", found.end)
        self.assertTrue(found.client.startswith("127.0.0.1:") and found.broker.startswith("127.0.0.1:"))
        frames, peers = len(found.lines), f"{found.client} -> {found.broker}"
        self.assertIn(f"{file}: {frames} frames, {peers}, persistent:", error.getvalue())

    async def test_proxy_ends(self) -> None:
        """If the proxy ends, the files are complete."""
        proxy, file, error, done = self.start()
        await error.url.addTimeout(TIMEOUT_S, reactor)
        opened = round_trip(self.url(proxy))
        await opened
        await proxy.service.stopService()
        self.assertEqual(0, await done.addTimeout(TIMEOUT_S, reactor))
        self.assertTrue(read_conversation(Path(file).read_text().splitlines()).end)

    async def test_nothing(self) -> None:
        """Without a client, nothing is recorded when the time is over."""
        _, file, _, done = self.start("--seconds", "0.05")
        failure = await self.assertFailure(done, CommandFailed)
        self.assertIn("nothing was recorded: no new client", str(failure))
        self.assertFalse(Path(file).exists())

    async def test_refused(self) -> None:
        """The reason of the proxy is shown."""
        _, _, _, done = self.start("--listener", "other")
        failure = await self.assertFailure(done, ErrorStatus)
        self.assertIn("'other' is no inspected listener; inspected: tap", str(failure))


class MessageTests(DemoCase):
    """Messages, and Ctrl-C."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.file = Path(self.mktemp())
        self.messages = Messages(Output(str(self.file), frozenset(), self.said.append), self.said.append)

    def test_stop(self) -> None:
        """Connections that are open at the end get a last line."""
        for line in (HEAD, PING):
            self.messages.take({"connection": 7, "line": line})
        self.messages.stop()
        found = read_conversation(self.file.read_text().splitlines())
        self.assertEqual((1, STOPPED), (len(found.lines), found.end))
        self.assertEqual([f"{self.file}: 1 frame, c:1 -> b:2; ended: {STOPPED}"], self.said)

    def test_end(self) -> None:
        """The reason is in the last line once, with the topics in the summary."""
        for how, last in (("closed", None), ("limit", {"time": 1.0, "end": "limit"})):
            self.said.clear()
            for line in (HEAD, PING, *([] if last is None else [last])):
                self.messages.take({"connection": 1, "line": line})
            self.messages.take({"connection": 1, "ended": how, "topics": ["t\n"]})
            name = self.said[0].partition(":")[0]
            self.assertEqual([f"{name}: 1 frame, c:1 -> b:2, t\\n; ended: {how}"], self.said)
            self.assertEqual(1, Path(name).read_text().count('"end"'))
        self.assertEqual(2, self.messages.ended)

    def test_wrong(self) -> None:
        """What another release says is refused."""
        wrong: tuple[dict[str, Any], ...] = (
            {},
            {"connection": 9, "ended": "x"},
            {"recording": 5},
            {"skipped": "x"},
            {"connection": [], "line": PING},
            {"connection": 1, "line": {"conversation": 1}},
        )
        for message in wrong:
            self.assertRaises(AdminError, self.messages.take, message)

    def test_interrupted(self) -> None:
        """Ctrl-C ends the recording: the files are complete, and what is missing is said."""

        class Stream:
            def __init__(self, *words: Any) -> None:
                asked.append(words)

            def messages(self, seconds: float | None) -> Any:
                yield {"skipped": 3}
                yield {"connection": 1, "line": HEAD}
                yield {"connection": 1, "line": PING}
                raise KeyboardInterrupt

            def close(self) -> None:
                asked.append("closed")

        asked: list[Any] = []
        self.patch(running, "AdminStream", Stream)
        words = ["record", "--admin", "unix:/x", "-o", str(self.file), "--topic", "a*", "--payloads", "--listener", "b"]
        options = ctl.parse(words)
        error = io.StringIO()
        self.assertEqual(INTERRUPTED, record_running(options, recording_of(options), error))
        query = [("max_frames", "100000"), ("max_bytes", "67108864"), ("keep", "payloads"), ("listener", "b")]
        self.assertEqual([("unix:/x", "record", [*query, ("topic", "a*")], None), "closed"], asked)
        self.assertIn("3 connections not recorded: too many at once, or not read fast enough", error.getvalue())
        self.assertEqual([HEAD, PING], [json.loads(line) for line in self.file.read_text().splitlines()[:2]])
