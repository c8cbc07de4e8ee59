"""Tests for sniproxy.admin.sources."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import ListenerStatus, Reloads


class ListenerTests(SynchronousTestCase):
    """The address of a listener."""

    def test_where(self) -> None:
        """An address is written as in a URL; a listener that is not on TCP has none."""
        for address, where in ((("10.0.0.1", 4443), "10.0.0.1:4443"), (("::1", 4443), "[::1]:4443"), (None, None)):
            self.assertEqual(where, ListenerStatus("public", "tcp:4443", address).where)


class ReloadTests(SynchronousTestCase):
    """The record of reloads."""

    def test_last(self) -> None:
        """The last failure is kept until a reload succeeds; both kinds are counted."""
        reloads = Reloads().with_failure("first", 1.0).with_failure("second", 2.0)
        self.assertEqual(Reloads(0, 2, "second", 2.0), reloads)
        self.assertEqual(Reloads(1, 2), reloads.with_success())
