"""Tests for sniproxy.util.gcpause."""

from __future__ import annotations

import gc
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.gcpause import gc_paused, unfreeze
from tests.support.sockets import freeze_loaded


class CollectingTests(SynchronousTestCase):
    """The collector is disabled for a while, then as before."""

    def setUp(self) -> None:
        self.addCleanup(gc.enable if gc.isenabled() else gc.disable)
        self.addCleanup(freeze_loaded.cache_clear)
        self.addCleanup(unfreeze)
        gc.enable()
        unfreeze()  # tests of sockets freeze what is loaded

    def test_off(self) -> None:
        """The collector is disabled inside, and enabled afterwards, also after an exception."""
        with gc_paused():
            self.assertFalse(gc.isenabled())
        self.assertTrue(gc.isenabled())
        with self.assertRaises(SystemExit), gc_paused(keep=True):
            raise SystemExit
        self.assertEqual((True, 0), (gc.isenabled(), gc.get_freeze_count()))

    def test_was_off(self) -> None:
        """If it was disabled before, it stays so."""
        gc.disable()
        with gc_paused():
            pass
        self.assertFalse(gc.isenabled())

    def test_keep(self) -> None:
        """Kept objects are frozen until the next pause; otherwise nothing is frozen."""
        with gc_paused():
            pass
        self.assertEqual(0, gc.get_freeze_count())
        with gc_paused(keep=True):
            pass
        self.assertGreater(gc.get_freeze_count(), 0)
        unfreeze()
        self.assertEqual(0, gc.get_freeze_count())

    def test_kept_before(self) -> None:
        """What is frozen stays so during a later pause that keeps nothing."""
        with gc_paused(keep=True):
            pass
        frozen = gc.get_freeze_count()
        with gc_paused():
            pass
        self.assertEqual(frozen, gc.get_freeze_count())

    def test_not_counted(self) -> None:
        """A reload does not visit the frozen objects of all routes."""
        with gc_paused(keep=True):
            pass
        with mock.patch.object(gc, "get_freeze_count", side_effect=AssertionError), gc_paused():
            pass
