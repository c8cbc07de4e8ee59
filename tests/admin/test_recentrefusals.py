"""Tests for sniproxy.admin.recentrefusals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.recentrefusals import MAX_REFUSALS, RecentRefusals
from sniproxy.events import Result
from sniproxy.util.text import MAX_TEXT_CHARS
from tests.admin.sample import NOW, connection, refused


class RecentRefusalsTests(SynchronousTestCase):
    """Recent refusals."""

    def test_summed(self) -> None:
        """Refusals of the same name are one entry, with the last client, time and reason."""
        refusals = RecentRefusals()
        refusals(refused(1, server_name="a.test"))
        refusals(refused(2, server_name="b.test"))
        refusals(refused(3, server_name="a.test", total_s=5.0, reason="still not"))
        newest, other = refusals.latest()
        self.assertEqual(("a.test", 2, "192.0.2.7:50003"), (newest.server_name, newest.count, newest.client))
        self.assertEqual((NOW - 55, "still not"), (newest.time, newest.reason))
        self.assertEqual(("b.test", 1), (other.server_name, other.count))

    def test_told_apart(self) -> None:
        """Two results of the same name are two entries."""
        refusals = RecentRefusals()
        refusals(refused(result=Result.NO_ROUTE))
        refusals(connection(result=Result.CONNECT_FAILED))
        self.assertEqual([Result.CONNECT_FAILED, Result.NO_ROUTE], [one.result for one in refusals.latest()])

    def test_tunnels(self) -> None:
        """Tunnels and clients that left are not refusals."""
        refusals = RecentRefusals()
        for result in (Result.OK, Result.RESET, Result.CLIENT_GONE, Result.DRAINED):
            refusals(connection(result=result))
        self.assertEqual([], refusals.latest())

    def test_bounded(self) -> None:
        """The number of entries is bounded; reasons are cut and printable."""
        refusals = RecentRefusals()
        for number in range(3 * MAX_REFUSALS):
            refusals(refused(number, server_name=f"{number}.test", reason="\x1b" + "x" * 5_000))
        latest = refusals.latest()
        self.assertEqual((MAX_REFUSALS, f"{3 * MAX_REFUSALS - 1}.test"), (len(latest), latest[0].server_name))
        self.assertEqual((MAX_TEXT_CHARS, "\\x1bxx"), (len(latest[0].reason), latest[0].reason[:6]))
