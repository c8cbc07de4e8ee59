"""Which certificate is shown for a server name."""

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
        """An exact name goes before a wildcard; none covers: None."""
        exact, wild = issued("a.w.test"), issued("*.w.test")
        for shown in ([exact, wild], [wild, exact]):
            self.assertIs(exact, choose(shown, "a.w.test", NOW))
            self.assertIs(wild, choose(shown, "b.w.test", NOW))
            self.assertIsNone(choose(shown, "w.test", NOW))

    def test_valid_first(self) -> None:
        """One that is valid now goes before one that is not, though the latter is the exact one."""
        old = issued("a.w.test", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
        future = issued("a.w.test", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=9))
        wild = issued("*.w.test")
        self.assertIs(wild, choose([old, wild, future], "a.w.test", NOW))
        self.assertIs(old, choose([old], "a.w.test", NOW))

    def test_renewed(self) -> None:
        """Of two that are valid, the one that was issued last is shown."""
        before = issued("a.test", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=9))
        renewed = issued("a.test", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=9))
        for shown in ([before, renewed], [renewed, before]):
            self.assertIs(renewed, choose(shown, "a.test", NOW))
