"""Tests for sniproxy.admin.tunnellist."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.admin.tunnellist import BATCH, SORTS, tunnel_list_steps
from sniproxy.events import Proxied, packed_address
from tests.admin.sample import NOW, SampleLive, connection


def found(live: list[SampleLive], **options: Any) -> tuple[int, list[str]]:
    """How many connections are found, and the ids of those that are listed."""
    matched, listed = finish(tunnel_list_steps(live, NOW, **options))
    return matched, [one["id"].partition("-")[2] for one in listed]


class TunnelListTests(SynchronousTestCase):
    """tunnel_list_steps()."""

    def setUp(self) -> None:
        self.live = [
            SampleLive(connection(1, server_name="b.test", target="t2:1", client="192.0.2.9:1"), 5, 5),
            SampleLive(connection(2, server_name="A.test", target=None, client="192.0.2.8:1"), 0, 100, "hello"),
            SampleLive(connection(3, server_name=None, target="t1:1", client="192.0.2.7:1"), 50, 0),
        ]

    def test_sort(self) -> None:
        """Each order; equal connections are in the order of their age, and missing texts come last."""
        expected = {"newest": "321", "age": "123", "bytes": "231", "name": "213", "client": "321", "target": "312"}
        self.assertEqual(set(SORTS), set(expected))
        for sort, order in expected.items():
            self.assertEqual((3, list(order)), found(self.live, sort=sort), sort)

    def test_filter(self) -> None:
        """A connection is found by a part of any of its fields, in any case."""
        self.live[0].record.proxied = Proxied("203.0.113.5:1", {"authority": "other.test"})
        self.live[0].record.upstream = packed_address("10.9.9.9", 7)
        for text in ("ab12cd34-1", "B.TEST", "T2", "192.0.2.9:", "203.0.113", "Other", "10.9.9.9:7"):
            self.assertEqual((1, ["1"]), found(self.live, wanted=text), text)
        self.assertEqual((1, ["2"]), found(self.live, wanted="hello"))
        self.assertEqual((3, ["3", "2", "1"]), found(self.live, wanted="public"))
        self.assertEqual((3, ["3", "2", "1"]), found(self.live, wanted="*.pulsar"))
        self.assertEqual((0, []), found(self.live, wanted="nothing"))

    def test_pages(self) -> None:
        """Limit and offset select a part of what is found; its number is that of all."""
        self.assertEqual((3, ["3"]), found(self.live, limit=1))
        self.assertEqual((3, ["2", "1"]), found(self.live, limit=5, offset=1))
        self.assertEqual((3, []), found(self.live, limit=5, offset=9))
        self.assertEqual((3, []), found(self.live, limit=0))

    def test_steps(self) -> None:
        """A step reads or lists few connections."""
        live = [SampleLive(connection(number)) for number in range(4 * BATCH)]
        self.assertEqual(8, len(list(tunnel_list_steps(live, NOW, limit=1000))))

    @given(st.lists(st.integers(0, 9), max_size=3 * BATCH), st.integers(0, 99), st.integers(0, 99))
    def test_merged(self, sizes: list[int], limit: int, offset: int) -> None:
        """The order is that of all connections together, whatever the batches."""
        live = [SampleLive(connection(number), size) for number, size in enumerate(sizes)]
        ordered = sorted(range(len(sizes)), key=lambda number: -sizes[number])
        expected = [str(number) for number in ordered[offset : offset + limit]]
        self.assertEqual((len(sizes), expected), found(live, sort="bytes", limit=limit, offset=offset))
