"""Tests for sniproxy.routing.randoms."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.routing.randoms import LiveRandoms


class LiveRandomsTests(SynchronousTestCase):
    """The randoms of live connections."""

    def test_comes_back(self) -> None:
        """The random of a live connection is a loop, and counted; that of an ended one is not, and is not kept."""
        randoms = LiveRandoms()
        self.assertTrue(randoms.enter(b"a" * 32))
        self.assertTrue(randoms.enter(b"b" * 32))
        self.assertFalse(randoms.enter(b"a" * 32))
        self.assertEqual((1, 2), (randoms.loops, len(randoms)))
        randoms.leave(b"a" * 32)
        randoms.leave(b"a" * 32)
        self.assertTrue(randoms.enter(b"a" * 32))
        randoms.leave(b"a" * 32)
        randoms.leave(b"b" * 32)
        self.assertEqual((1, 0), (randoms.loops, len(randoms)))
