"""Tests for sniproxy.cli.watch."""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import struct
import termios
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.rates import Rates
from sniproxy.cli.watch import Readings, run_watch
from tests.support.sockets import TIMEOUT_S
from tests.support.statusfixture import status
from tests.support.statusserver import StatusServer

NOWHERE = "http://127.0.0.1:1"


class ReadingsTests(SynchronousTestCase):
    """Readings: rates between two of them."""

    def test_rates(self) -> None:
        """The rates of each endpoint are those since its last answer; they are added up."""
        clock, live, lost = Clock(), {"a": 10, "b": 10}, set[str]()

        def query(url: str) -> dict[str, Any]:
            if url in lost:
                raise AdminError("gone")
            return status(live=live[url])

        readings = Readings(["a", "b"], query, clock.seconds)
        found, rates, errors = readings.read()
        self.assertEqual((["a", "b"], None, []), (list(found), rates, errors))
        clock.advance(2)
        live |= {"a": 20, "b": 14}
        self.assertEqual(7.0, (readings.read()[1] or Rates()).new)
        lost.add("b")
        clock.advance(2)
        found, rates, errors = readings.read()
        self.assertEqual((["a"], 0.0, ["b: gone"]), (list(found), (rates or Rates()).new, list(map(str, errors))))
        lost.clear()
        live["b"] = 30
        clock.advance(2)
        self.assertEqual(4.0, (readings.read()[1] or Rates()).new)


class WatchTests(SynchronousTestCase):
    """The command."""

    def watch(self, waits: list[Callable[[], object] | None], out: Any, *urls: str, as_json: bool = False) -> str:
        """Run it with what happens in each interval; then Ctrl-C. @return: what it prints to standard error."""
        error = io.StringIO()

        def wait(seconds: float) -> None:
            self.assertEqual(5.0, seconds)
            if not waits:
                raise KeyboardInterrupt
            event = waits.pop(0)
            if event is not None:
                event()

        options = argparse.Namespace(urls=list(urls), json=as_json, watch=5.0)
        self.assertEqual(130, run_watch(options, out, error, wait))
        return error.getvalue()

    def test_blocks(self) -> None:
        """Where the output is no terminal, blocks with an empty line in between, and rates from the second on."""
        server, out = StatusServer(self, lambda path, query: status()), io.StringIO()
        self.assertEqual("", self.watch([None, None], out, server.url))
        blocks = out.getvalue().split("\n\n")
        self.assertEqual(3, len(blocks))
        for number, block in enumerate(blocks):
            self.assertRegex(block, r"\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\nsniproxy 1.0, ready")
            self.assertEqual(bool(number), "per second: 0 new" in block)
            self.assertIn("10.0.0.3:6651  down", block)
            self.assertNotIn("timeouts: ", block)
        self.assertNotIn("\x1b", out.getvalue())

    def test_json(self) -> None:
        """With --json one document a line; of several endpoints an array."""
        server, out = StatusServer(self, lambda path, query: status()), io.StringIO()
        self.watch([None], out, server.url, as_json=True)
        self.assertEqual([status()] * 2, [json.loads(line) for line in out.getvalue().splitlines()])
        out = io.StringIO()
        self.watch([], out, server.url, f"{server.url}/", as_json=True)
        self.assertEqual([status()] * 2, json.loads(out.getvalue()))

    def test_error(self) -> None:
        """Without a first answer it ends; later errors are printed, and it goes on."""
        with self.assertRaises(AdminError):
            self.watch([], io.StringIO(), NOWHERE)
        server, out = StatusServer(self, lambda path, query: status()), io.StringIO()
        again: list[Callable[[], object] | None] = [
            server.stop, lambda: StatusServer(self, lambda path, query: status(), server.port)
        ]  # fmt: skip
        error = self.watch(again, out, server.url)
        self.assertRegex(error, r"\Asniproxyctl: .*Connection refused.*; retrying\n\Z")
        self.assertEqual(2, len(out.getvalue().split("\n\n")))

    def test_one_of_two(self) -> None:
        """If one of several endpoints does not answer, it is named, and the others are shown."""
        server, out = StatusServer(self, lambda path, query: status()), io.StringIO()
        error = self.watch([], out, server.url, NOWHERE)
        self.assertRegex(error, rf"\Asniproxyctl: {NOWHERE}: .*; retrying\n\Z")
        self.assertIn("sniproxy 1.0, ready", out.getvalue())

    def on_terminal(self, height: int, width: int, waits: list[Callable[[], object] | None]) -> str:
        """What a terminal of this size gets."""
        controller, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        pieces: list[bytes] = []

        def read() -> None:
            try:
                while piece := os.read(controller, 65536):
                    pieces.append(piece)
            except OSError:
                pass  # the other side is closed

        reading = threading.Thread(target=read)
        reading.start()
        server = StatusServer(self, lambda path, query: status())
        with os.fdopen(terminal, "w") as out:
            self.watch(waits, out, server.url)
            termios.tcdrain(terminal)
        reading.join(TIMEOUT_S)
        os.close(controller)
        return b"".join(pieces).decode()

    def test_terminal(self) -> None:
        """On a terminal the lines are replaced, and cut to its size."""
        screens = self.on_terminal(10, 30, [None]).split("\x1b[H")[1:]
        self.assertEqual(["\x1b[J", 9, 9], [screens[0], *(len(screen.split("\r\n")) - 1 for screen in screens[1:])])
        lines = [line.removesuffix("\x1b[K") for line in screens[1].split("\r\n")]
        self.assertEqual("\x1b[J", lines.pop())
        self.assertEqual(30, max(map(len, lines)))
        self.assertRegex(lines[-1], r"^\d+ more lines; enlarge")

    def test_high_terminal(self) -> None:
        """On a terminal with room for all lines none is cut off."""
        seen = self.on_terminal(90, 300, [])
        self.assertNotIn("more lines", seen)
        self.assertIn("warning: ", seen)

    def test_command(self) -> None:
        """A URL may follow --watch, which argparse would take for its interval."""
        server = StatusServer(self, lambda path, query: None)
        for words in (["--watch", server.url], [server.url, "--watch"], ["--watch", "3", server.url]):
            error = io.StringIO()
            self.assertEqual(1, ctl.main(["status", *words], ctl.Streams(io.BytesIO(), io.StringIO(), error)))
            self.assertIn("HTTP 404", error.getvalue())
        self.assertEqual(3, len(server.asked))
