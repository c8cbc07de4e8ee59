"""Tests for sniproxy.cli.conversation.captured."""

from __future__ import annotations

import json
from io import BytesIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.conversation.captured import CapturedConversations, as_text
from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.inspector.capture.files import CaptureError
from tests.inspector.capture.building import Captured, pcap
from tests.inspector.capture.recorded import framed_packets, recorded


@attrs.define
class Written:
    """A writer that keeps the lines."""

    lines: list[str] = attrs.Factory(list)
    how: str = ""

    def write(self, line: str) -> None:
        self.lines.append(line)

    def end(self, recorder: Recorder, peers: str) -> None:
        self.how = f"{peers} {recorder.how}"


class CapturedTests(SynchronousTestCase):
    """CapturedConversations."""

    def read(self, data: bytes, *ports: int) -> CapturedConversations:
        self.written: list[Written] = []

        def writer() -> Written:
            self.written.append(Written())
            return self.written[-1]

        capture = CapturedConversations(Recording(), ports, writer)
        capture.read(BytesIO(data))
        return capture

    def commands(self, number: int) -> list[str]:
        return [json.loads(line).get("command", "") for line in self.written[number].lines]

    def test_all(self) -> None:
        """Each connection is recorded, with its addresses, its time and its end."""
        capture = self.read(recorded("python-basic"))
        self.assertEqual(2, len(self.written))
        head = json.loads(self.written[0].lines[0])
        self.assertEqual(("127.0.0.1:38322", "127.0.0.1:6650"), (head["client"], head["broker"]))
        self.assertTrue(head["started"].startswith("2026-"))
        self.assertEqual(["", "CONNECT", "CONNECTED"], self.commands(0)[:3])
        self.assertIn(" closed", self.written[0].how)
        self.assertFalse(capture.incomplete)
        self.assertEqual("153 packets, 2 connections", capture.summary())

    def test_ports(self) -> None:
        """With ports, other connections are left out."""
        self.read(recorded("python-basic"), 6660)
        self.assertEqual(1, len(self.written))

    def test_tls(self) -> None:
        """TLS has no frames, so nothing is written."""
        self.read(recorded("java-tls-no-name"))
        self.assertEqual([[]] * len(self.written), [each.lines for each in self.written])

    def cut(self, packets: list[Captured]) -> bytes:
        return pcap(packets)

    def test_without_syn(self) -> None:
        """Without its SYN, a connection is recorded if CONNECT is there, and else counted."""
        packets = framed_packets("python-basic")
        with_syn = self.read(self.cut(packets))
        lines = [each.lines for each in self.written]
        flags = 14 + 20 + 13
        capture = self.read(self.cut([each for each in packets if not each.data[flags] & 2]))
        self.assertEqual(lines[0][1], self.written[0].lines[1])
        self.assertEqual(0, with_syn.skipped + capture.skipped)
        late = self.read(self.cut(packets[20:]))
        self.assertEqual(2, late.skipped)
        self.assertIn("2 connections not captured from the beginning", late.summary())

    def test_gap(self) -> None:
        """Missing bytes end the recording of a connection."""
        packets = framed_packets("python-basic")
        begin = next(at for at, each in enumerate(packets) if b"py10" in each.data)
        capture = self.read(self.cut([*packets[:begin], *packets[begin + 1 :]]))
        self.assertTrue(capture.incomplete)
        self.assertIn("are missing in the capture", self.written[0].how)
        self.assertIn("1 connection with missing bytes", capture.summary())
        self.assertIn("`sniproxyctl inspect`", capture.summary())

    def test_cut_short(self) -> None:
        """A capture that ends early has its beginning recorded; so has one that is damaged."""
        self.read(recorded("python-basic")[:4000])
        self.assertIn("the capture ends", self.written[0].how)
        data = recorded("python-basic")[:4000] + b"\xff" * 400
        self.assertRaises(CaptureError, self.read, data)
        self.assertTrue(self.written[0].lines)
        self.assertRaises(CaptureError, self.read, b"text")
        capture = CapturedConversations(Recording(), (), Written)
        self.assertFalse(capture.incomplete)
        self.assertEqual("0 packets, 0 connections", capture.summary())

    def test_times(self) -> None:
        """A time that no calendar has is left out."""
        self.assertEqual("1970-01-01T00:00:00+00:00", as_text(0.0))
        self.assertEqual("", as_text(1e18))
        self.assertEqual("", as_text(float("inf")))
