"""The choice of the certificate for a server name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.selection import choose, covers
from tests.tls.material import issued

NOW = datetime.now(UTC)


class ChoiceTests(SynchronousTestCase):
    """covers and choose."""

    def test_covers(self) -> None:
        """A star matches exactly one label, the leftmost."""
        for pattern, name, good in (
            ("a.test", "a.test", True),
            ("a.test", "b.a.test", False),
            ("*.w.test", "a.w.test", True),
            ("*.w.test", "b.a.w.test", False),
            ("*.w.test", "w.test", False),
            ("*.w.test", ".w.test", False),
            ("*.w.test", "xw.test", False),
        ):
            self.assertEqual(good, covers(pattern, name), (pattern, name))

    def test_choose(self) -> None:
        """An exact name precedes a wildcard; without a match the result is None."""
        exact, wild = issued("a.w.test"), issued("*.w.test")
        for shown in ([exact, wild], [wild, exact]):
            self.assertIs(exact, choose(shown, "a.w.test", NOW))
            self.assertIs(wild, choose(shown, "b.w.test", NOW))
            self.assertIsNone(choose(shown, "w.test", NOW))

    def test_valid_first(self) -> None:
        """A currently valid certificate precedes an invalid one, even if that has the exact name."""
        old = issued("a.w.test", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
        future = issued("a.w.test", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=9))
        wild = issued("*.w.test")
        self.assertIs(wild, choose([old, wild, future], "a.w.test", NOW))
        self.assertIs(old, choose([old], "a.w.test", NOW))

    def test_renewed(self) -> None:
        """Of two valid certificates, the one issued last is used."""
        before = issued("a.test", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=9))
        renewed = issued("a.test", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=9))
        for shown in ([before, renewed], [renewed, before]):
            self.assertIs(renewed, choose(shown, "a.test", NOW))
