"""Tests for sniproxy.server.workers.handover."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.workers.handover import BadHandover, decode, encode
from tests.server.workers.handovers import handover, worker_state


class HandoverTests(SynchronousTestCase):
    """The document that a supervisor hands over."""

    def test_same(self) -> None:
        """It is read as it was written."""
        whole = handover()
        self.assertEqual(whole, decode(encode(whole)))

    def test_descriptors(self) -> None:
        """All descriptors that it names, once each."""
        self.assertEqual([20, 20, 21, 21, 22, 22, 23, 23, 30, 31, 32, 40, 41], sorted(handover().descriptors()))
        some = handover(workers=(worker_state(admin=None, pipes={}),), sockets={}, admin=handover().admin)
        self.assertEqual([40, 41], sorted(some.descriptors()))

    def test_version(self) -> None:
        """Another version is refused with the releases and the cure, whatever the rest of the document is."""
        other = msgspec.msgpack.encode({"version": 7, "release": "9.0", "colour": "green"})
        error = self.assertRaises(BadHandover, decode, other)
        self.assertIn("reads version 1 of a supervisor's state, the running sniproxy 9.0 writes 7; restart", str(error))

    def test_incomplete(self) -> None:
        """A document of this version without its fields is refused."""
        some = msgspec.msgpack.encode({"version": 1, "release": "1.0"})
        self.assertIn("missing required field", str(self.assertRaises(BadHandover, decode, some)))

    @given(st.binary(max_size=40))
    def test_anything(self, data: bytes) -> None:
        """Any other bytes are refused."""
        self.assertRaises(BadHandover, decode, data)
