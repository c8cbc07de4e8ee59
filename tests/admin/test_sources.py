"""Tests for sniproxy.admin.sources."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.sources import ListenerStatus


class ListenerTests(SynchronousTestCase):
    """The address of a listener."""

    def test_where(self) -> None:
        """An address is written as in a URL; a listener that is not on TCP has none."""
        for address, where in ((("10.0.0.1", 4443), "10.0.0.1:4443"), (("::1", 4443), "[::1]:4443"), (None, None)):
            self.assertEqual(where, ListenerStatus("public", "tcp:4443", address).where)
