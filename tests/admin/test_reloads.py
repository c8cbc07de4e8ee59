"""Tests for sniproxy.admin.reloads."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.reloads import Reloads


class ReloadTests(SynchronousTestCase):
    """The record of reloads."""

    def test_last(self) -> None:
        """The last failure is kept until a reload succeeds; both kinds are counted."""
        reloads = Reloads().with_failure("first", 1.0).with_failure("second", 2.0)
        self.assertEqual(Reloads(0, 2, "second", 2.0), reloads)
        self.assertEqual(Reloads(1, 2), reloads.with_success())
