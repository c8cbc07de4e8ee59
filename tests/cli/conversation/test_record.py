"""Tests for sniproxy.cli.conversation.record."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy import ctl
from sniproxy.cli.commands import Streams
from sniproxy.cli.conversation import record
from sniproxy.cli.conversation.record import record_live, recording_of
from sniproxy.cli.exitstatus import INCOMPLETE, INTERRUPTED
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.schema import Secrecy
from sniproxy.conversation.textform import read_conversation
from tests.cli.conversation.demo import TIMEOUT_S, Announced, DemoCase, reactor, round_trip
from tests.inspector.capture.building import pcap
from tests.inspector.capture.recorded import CAPTURES, framed_packets

PYTHON = str(CAPTURES / "python-basic.pcap")


class Terminal(io.BytesIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


class Interrupted(io.BytesIO):
    """Standard input on which Ctrl-C comes after 4000 bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 4000:
            raise KeyboardInterrupt
        return super().read(size)


class CaptureTests(DemoCase):
    """``record FILE``."""

    def run_record(self, *words: str, data: bytes = b"") -> int:
        return self.run_from(io.BytesIO(data), *words)

    def run_from(self, source: io.BytesIO, *words: str) -> int:
        streams = Streams(source, io.StringIO(), io.StringIO())
        status = ctl.main(["record", *words], streams)
        self.out, self.error = streams.out.getvalue(), streams.error.getvalue()  # type: ignore[attr-defined]
        return status

    def test_standard_output(self) -> None:
        """One connection goes to standard output."""
        self.assertEqual(0, self.run_record(PYTHON, "--connection", "2"))
        self.assertEqual(61, len(read_conversation(self.out.splitlines()).lines))
        self.assertEqual("153 packets, 2 connections\n", self.error)
        whole = Path(PYTHON).read_bytes()
        self.assertEqual(0, self.run_record("-", "--port", "6660", data=whole))
        self.assertEqual(61, len(read_conversation(self.out.splitlines()).lines))

    def test_several(self) -> None:
        """Several are listed for a choice, or written to files."""
        self.assertEqual(1, self.run_record(PYTHON))
        self.assertEqual("", self.out)
        self.assertIn("2 connections; choose one with --connection N", self.error)
        self.assertIn("1: 58 frames, 127.0.0.1:38322 -> 127.0.0.1:6650, persistent", self.error)
        name = self.mktemp()
        self.assertEqual(0, self.run_record(PYTHON, "-o", name))
        for file, frames in ((name, 58), (f"{name}-2", 61)):
            self.assertEqual(frames, len(read_conversation(Path(file).read_text().splitlines()).lines))
        self.patch(record, "MAX_LISTED", 1)
        self.assertEqual(1, self.run_record(PYTHON))
        self.assertNotIn("2: ", self.error)

    def test_filters(self) -> None:
        """Topics and bounds apply."""
        self.assertEqual(0, self.run_record(PYTHON, "--topic", "part4-partition-2", "--max-frames", "30"))
        self.assertEqual("limit of 30 frames reached", json.loads(self.out.splitlines()[-1])["end"])
        self.assertEqual(1, self.run_record(PYTHON, "--topic", "other"))
        self.assertIn("no plaintext Pulsar connection", self.error)
        self.assertEqual(1, self.run_record(PYTHON, "--connection", "9"))
        self.assertIn("nothing to record among 2 connections", self.error)
        self.assertEqual(1, self.run_record(PYTHON, "--connection", "9", "-o", self.mktemp()))
        self.assertIn("nothing to record among 2 connections", self.error)

    def test_incomplete(self) -> None:
        """Missing packets give a status of their own."""
        packets = framed_packets("python-basic")
        begin = next(at for at, each in enumerate(packets) if b"py10" in each.data)
        data = pcap([*packets[:begin], *packets[begin + 1 :]])
        self.assertEqual(INCOMPLETE, self.run_record("-", "--connection", "1", data=data))

    def test_bad_files(self) -> None:
        """A file that cannot be read, and one that is no capture, are errors in one line."""
        for name, reason in (
            ("/nowhere", "No such file"),
            ("a\0b", "not a path"),
            (__file__, "neither pcap nor pcapng"),
        ):
            self.assertEqual(1, self.run_record(name))
            self.assertIn(reason, self.error)
            self.assertEqual(1, self.error.count("\n"))

    def test_input(self) -> None:
        """A terminal is no capture; Ctrl-C ends the reading, and the files are complete."""
        self.assertEqual(1, self.run_from(Terminal(), "-"))
        self.assertIn("standard input is a terminal", self.error)
        name = self.mktemp()
        self.assertEqual(INTERRUPTED, self.run_from(Interrupted(Path(PYTHON).read_bytes()), "-", "-o", name))
        self.assertEqual("the capture ends", read_conversation(Path(name).read_text().splitlines()).end)

    def test_usage(self) -> None:
        """A source is needed, and its own options."""
        for words in (
            [],
            ["x.pcap", "--target", "a:1"],
            ["x.pcap", "--listen", "tcp:0"],
            ["--target", "a:1"],
            ["--target", "a:1", "-o", "x", "--port", "6650"],
            ["--target", ":::", "-o", "x"],
            ["x.pcap", "--admin", "unix:a"],
            ["x.pcap", "--connections", "1"],
            ["--admin", "unix:a"],
            ["--admin", "unix:a", "--target", "a:1", "-o", "x"],
            ["--admin", "unix:a", "-o", "x", "--keep-urls"],
            ["--admin", "unix:a", "-o", "x", "--port", "6650"],
            ["--target", "a:1", "-o", "x", "--listener", "tap"],
            ["--target", "a:1", "-o", "x", "--token-file", "t"],
        ):
            self.patch(sys, "stderr", io.StringIO())
            self.assertEqual(2, self.assertRaises(SystemExit, self.run_record, *words).code, words)

    def test_live(self) -> None:
        """With a target, the relay runs in the reactor, by default to the port of Pulsar."""
        called: list[Any] = []

        def run(command: Any) -> int:
            called.append(command)
            return 0

        self.patch(record, "run_in_reactor", run)
        self.assertEqual(0, self.run_record("--target", "broker", "-o", "x"))
        [command] = called
        assert isinstance(command, partial)
        self.assertEqual(("broker", 6650), command.args[1])

    def test_running(self) -> None:
        """With an admin endpoint, the proxy records."""
        called: list[Any] = []

        def run(*words: Any) -> int:
            called.append(words)
            return 0

        self.patch(record, "record_running", run)
        self.assertEqual(0, self.run_record("--admin", "127.0.0.1:9090", "-o", "x", "--connections", "2"))
        [(options, recording, _)] = called
        self.assertEqual(("http://127.0.0.1:9090", recording_of(options)), (options.admin, recording))

    def test_kept(self) -> None:
        """Each option keeps one kind of secret."""
        for option, kept in (
            ("--payloads", Secrecy.CONTENT),
            ("--properties", Secrecy.PRIVATE),
            ("--credentials", Secrecy.CREDENTIAL),
        ):
            self.assertEqual({kept}, recording_of(ctl.parse(["record", "x", option])).keep)


class LiveTests(DemoCase):
    """record_live."""

    def start(self, *words: str) -> tuple[Announced, Deferred[int], str]:
        name = self.mktemp()
        target = self.cluster()
        options = ctl.parse(["record", "--target", target, "-o", name, *words])
        error = Announced()
        host, _, port = target.partition(":")
        command = record_live(options, (host, int(port)), recording_of(options), error, reactor)
        running = Deferred.fromCoroutine(command)
        self.addCleanup(running.cancel)
        return error, running, name

    async def test_payloads(self) -> None:
        """A payload is kept on request only."""
        for words, kept in (((), False), (("--payloads",), True)):
            file = await self.record(*words)
            self.assertEqual(kept, '"base64": "aGVsbG8="' in file.read_text())

    async def test_cancelled(self) -> None:
        """Ctrl-C ends the recording; its file is complete."""
        error, running, name = self.start()
        url = await error.url.addTimeout(TIMEOUT_S, reactor)
        await round_trip(url)
        running.cancel()
        self.assertEqual(0, await running)
        self.assertTrue(read_conversation(Path(name).read_text().splitlines()).end)

    async def test_nothing(self) -> None:
        """Without a client, nothing is recorded when the time is over."""
        _, running, name = self.start("--seconds", "0.01")
        failure = await self.assertFailure(running, CommandFailed)
        self.assertIn("nothing was recorded", str(failure))
        self.assertFalse(Path(name).exists())

    async def test_time(self) -> None:
        """A recording that ends before its time leaves no call behind."""
        error, running, _ = self.start("--seconds", "1000", "--connections", "1")
        await round_trip(await error.url.addTimeout(TIMEOUT_S, reactor))
        self.assertEqual(0, await running.addTimeout(TIMEOUT_S, reactor))

    async def test_unix(self) -> None:
        """An endpoint without a port is relayed, and announced by nothing."""
        name = self.mktemp()[-40:]
        error, running, _ = self.start("--listen", f"unix:{name}", "--seconds", "0.01")
        await self.assertFailure(running, CommandFailed)
        self.assertEqual("", error.getvalue())

    async def test_bad_endpoint(self) -> None:
        """An endpoint that is none, or in use, is an error in one line."""
        for text in ("nonsense", "tcp:x", "tcp:0:interface=192.0.2.1"):
            _, running, _ = self.start("--listen", text)
            failure = await self.assertFailure(running, CommandFailed)
            self.assertIn(f"cannot listen on {text}: ", str(failure))
