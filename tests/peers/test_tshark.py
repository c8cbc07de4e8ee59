"""tshark reads the same captures: its reassembled streams are ours, byte for byte, and its lookup answers are ours."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from io import BytesIO
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.capture.packets import PacketReader
from sniproxy.capture.streams import Connection, Data, Reassembly
from tests.capture.building import Captured, frame, pcap, pcapng
from tests.capture.test_reading import CAPTURES, packets, reading
from tests.peers.needs import unavailable

LOOKUP_RESPONSE = 24


def ours(data: bytes) -> Counter[tuple[bytes, ...]]:
    """Both streams of each connection, in no order."""
    streams: dict[Connection, list[bytes]] = {}
    reassembly = Reassembly()
    for segment in PacketReader(BytesIO(data)):
        for piece in reassembly.feed(segment):
            if isinstance(piece, Data):
                streams.setdefault(piece.connection, [b"", b""])[piece.sender] += piece.data
    return Counter(tuple(sorted(both)) for both in streams.values())


def tsharks(path: Path, connections: int) -> Counter[tuple[bytes, ...]]:
    """The same, as tshark follows them."""
    found: Counter[tuple[bytes, ...]] = Counter()
    for number in range(connections):
        said = subprocess.run(
            ["tshark", "-r", str(path), "-q", "-z", f"follow,tcp,raw,{number}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        both = [b"", b""]
        for line in said.partition("Node 1:")[2].splitlines()[1:]:
            if line.startswith("="):
                break
            both[line.startswith("\t")] += bytes.fromhex(line)
        found[tuple(sorted(both))] += 1
    return found


def answers(streams: Counter[tuple[bytes, ...]]) -> int:
    """How many LOOKUP_RESPONSE frames these hold, by nothing but the sizes and the type's place."""
    count = 0
    for stream in (stream for both in streams for stream in both if stream[:2] == b"\0\0"):
        at = 0
        while at < len(stream):
            count += stream[at + 9] == LOOKUP_RESPONSE
            at += 4 + int.from_bytes(stream[at : at + 4], "big")
    return count


class TsharkTests(SynchronousTestCase):
    """Our reading of captures against tshark's."""

    def setUp(self) -> None:
        """Skips where there is no tshark."""
        if shutil.which("tshark") is None:
            unavailable("no tshark here: apt-get install -y --no-install-recommends tshark")

    def same(self, data: bytes) -> None:
        path = Path(self.mktemp())
        path.write_bytes(data)
        streams = ours(data)
        self.assertTrue(streams)
        theirs = tsharks(path, sum(streams.values()))
        self.assertEqual(streams, theirs)
        lookups = [event for event in reading(data)[0] if event.name == "lookup"]
        self.assertEqual(len(lookups), answers(theirs))

    def test_recorded(self) -> None:
        """Captures of real peers."""
        for path in sorted(CAPTURES.glob("*.pcap")):
            self.same(path.read_bytes())

    def test_disordered(self) -> None:
        """The same with packets that come twice and in another order, in pcapng."""
        for name in ("java-basic", "python-basic"):
            random = Random(name)
            mixed = packets(name)
            for start in range(8, len(mixed), 3):
                some = mixed[start : start + 3]
                mixed[start : start + 3] = random.sample(some, len(some)) + random.sample(some, 1)
            self.same(pcapng([Captured(at / 1000, frame(packet.data)) for at, packet in enumerate(mixed)]))

    def test_file_formats(self) -> None:
        """What our tests write is what tshark reads."""
        for file in (pcap, pcapng):
            self.same(file([Captured(packet.time, frame(packet.data)) for packet in packets("java-lookup-only")]))
