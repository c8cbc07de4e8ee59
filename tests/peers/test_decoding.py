"""Tests for tests.peers.decoding; what is kept of the recorded captures is what Pulsar's own classes say today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from tests.inspector.capture.building import captured, pcap, segment
from tests.inspector.capture.recorded import CAPTURES
from tests.peers import decoding, provide, versions
from tests.peers.cluster import java_command
from tests.peers.needs import require, unavailable


class CutTests(SynchronousTestCase):
    """Frames in a capture."""

    def setUp(self) -> None:
        """Skip the test without tshark."""
        if shutil.which("tshark") is None:
            unavailable("no tshark here: apt-get install -y --no-install-recommends tshark")

    def capture(self, *pieces: tuple[int, bytes]) -> Path:
        """A capture of segments that a client sends: each with its sequence number and data."""
        path = Path(self.mktemp())
        path.write_bytes(pcap(captured([segment(data, at) for at, data in pieces])))
        return path

    def test_split(self) -> None:
        """A frame may be in two segments, and two frames in one."""
        ping, pong = write(pb.CommandPing()), write(pb.CommandPong())
        sent = ping + pong + ping
        path = self.capture((1, sent[:5]), (6, sent[5:]))
        self.assertEqual([ping, pong, ping], [one.data for one in decoding.cut_frames(path)])

    def test_missing(self) -> None:
        """Missing bytes are an error."""
        path = self.capture((1, b"\0"), (3, b"\0"))
        with self.assertRaisesRegex(ValueError, "byte 2 expected, not 3"):
            list(decoding.cut_frames(path))

    def test_payload(self) -> None:
        """The checksum and the metadata of messages do not count."""
        metadata = b"\0\0\0\3abc"
        self.assertEqual(0, decoding.payload_size(b""))
        self.assertEqual(5, decoding.payload_size(metadata + b"hello"))
        self.assertEqual(5, decoding.payload_size(b"\x0e\x01sums" + metadata + b"hello"))
        self.assertEqual(5, decoding.payload_size(b"\x0e\x02\0\0\0\2xy\x0e\x01sums" + metadata + b"hello"))


class RecordedTests(SynchronousTestCase):
    """The recorded captures of Pulsar 5.0."""

    def test_same(self) -> None:
        """What is kept equals what Pulsar's own classes read."""
        newest = versions.ALL[-1]
        require("java", "setpriv", parts=provide.needed(newest))
        if shutil.which("tshark") is None:
            unavailable("no tshark here: apt-get install -y --no-install-recommends tshark")
        command = java_command("PulsarDecode", "160m", "off", newest)
        kept = sorted(CAPTURES.glob("*.jsonl"))
        self.assertTrue(kept)
        said = decoding.decode([path.with_suffix(".pcap") for path in kept], command)
        for path, frames in zip(kept, said, strict=True):
            self.assertEqual([json.loads(line) for line in path.read_text().splitlines()], frames, path.name)
