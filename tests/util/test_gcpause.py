"""Tests for sniproxy.util.gcpause."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.gcpause import gc_paused, unfreeze


class CollectingTests(SynchronousTestCase):
    """The collector is off for a while, and then as it was."""

    def setUp(self) -> None:
        self.addCleanup(gc.enable if gc.isenabled() else gc.disable)
        self.addCleanup(gc.unfreeze)
        gc.enable()

    def test_off(self) -> None:
        """It is off inside, and on afterwards, after an error too."""
        with gc_paused():
            self.assertFalse(gc.isenabled())
        self.assertTrue(gc.isenabled())
        with self.assertRaises(SystemExit), gc_paused(keep=True):
            raise SystemExit
        self.assertEqual((True, 0), (gc.isenabled(), gc.get_freeze_count()))

    def test_was_off(self) -> None:
        """Where it was off it stays off."""
        gc.disable()
        with gc_paused():
            pass
        self.assertFalse(gc.isenabled())

    def test_keep(self) -> None:
        """What is kept is not looked at, and later it is again; else nothing is kept."""
        with gc_paused():
            pass
        self.assertEqual(0, gc.get_freeze_count())
        with gc_paused(keep=True):
            pass
        self.assertGreater(gc.get_freeze_count(), 0)
        unfreeze()
        self.assertEqual(0, gc.get_freeze_count())
