"""Tests for sniproxy.cli.who.logs."""

from __future__ import annotations

import gzip
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.who.logs import LogError, find
from sniproxy.events import Connection, packed_address
from sniproxy.logs.access import json_line


def line(number: int, address: str = "10.0.0.5", reason: str = "", client: str = "c:1", sent: bool = False) -> str:
    """A line of an access log; its number is the port towards the target. C{sent}: the target got a header."""
    upstream = packed_address(address, number)
    return json_line(
        Connection(f"id-{number}", 0.0, "public", client, upstream=upstream, reason=reason, header_sent=sent)
    )


class FindTests(SynchronousTestCase):
    """find."""

    def found(self, data: bytes, *addresses: str) -> list[str]:
        path = Path(self.mktemp())
        path.write_bytes(data)
        self.calls: list[tuple[int, int]] = []
        return [one["id"] for one in find(str(path), addresses, lambda done, size: self.calls.append((done, size)))]

    def test_addresses(self) -> None:
        """Records of exactly these addresses are found, in the file's order."""
        text = "\n".join([line(1), line(12), line(2), line(1, "fd00::5"), line(1)]).encode()
        self.assertEqual(["id-1", "id-1"], self.found(text, "10.0.0.5:1"))
        self.assertEqual(["id-12", "id-2"], self.found(text, "10.0.0.5:2", "10.0.0.5:12"))
        self.assertEqual(["id-1"], self.found(text, "[fd00::5]:1"))
        self.assertEqual([], self.found(text, "10.0.0.5:3", "10x0.0.5:1"))
        self.assertEqual([], self.found(text))

    def test_client(self) -> None:
        """A record is found by its client if the target got a PROXY protocol header, and only then."""
        text = "\n".join(line(number, client="[fd00::5]:9", sent=number == 2) for number in (1, 2, 3)).encode()
        self.assertEqual(["id-2"], self.found(text, "[fd00::5]:9"))
        self.assertEqual(["id-2", "id-3"], self.found(text, "10.0.0.5:3", "[fd00::5]:9"))

    def test_gzip(self) -> None:
        """A rotated, compressed log is read as well."""
        self.assertEqual(["id-2"], self.found(gzip.compress("\n".join([line(1), line(2)]).encode()), "10.0.0.5:2"))

    def test_other_lines(self) -> None:
        """Lines that are no JSON object are skipped, also a line that is being written."""
        good = line(1).encode()
        self.assertEqual(
            ["id-1"], self.found(b"\n\x00\xff\n[" + good + b"]\n" + good + b"\n" + good[:-9], "10.0.0.5:1")
        )

    def test_hostile(self) -> None:
        """A text that quotes the field, as a client could send it, is no record of that address."""
        hostile = line(2, reason='"upstream_local": "10.0.0.5:1"')
        self.assertEqual([], self.found(hostile.encode(), "10.0.0.5:1"))

    def test_progress(self) -> None:
        """The progress is told with the size of the file."""
        data = (line(1) + "\n").encode() * 5000
        self.assertEqual(5000, len(self.found(data, "10.0.0.5:1")))
        self.assertEqual(3, len(self.calls))
        self.assertEqual({len(data)}, {size for _, size in self.calls})

    def test_errors(self) -> None:
        """A missing file and a damaged archive are errors."""
        self.assertRaises(LogError, list, find("/nowhere/x", ["a:1"], lambda done, size: None))
        packed = gzip.compress(line(1).encode() * 100)
        self.assertRaises(LogError, self.found, packed[:-20], "10.0.0.5:1")
        self.assertRaises(LogError, self.found, packed[:30] + bytes(30) + packed[60:], "10.0.0.5:1")
