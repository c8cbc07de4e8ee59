"""Tests for L{sniproxy.migrate.haproxy.lists}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.lists import Files, read_list, read_map
from tests.support.haproxyconfig import source


class ListTests(SynchronousTestCase):
    """Map and list files."""

    def test_find(self) -> None:
        """A path finds the file with the longest common end."""
        files = Files([source("", "other/names.map"), source("", "maps/names.map"), source("", "x.lst")])
        for path, expected in (
            ("/etc/haproxy/maps/names.map", "maps/names.map"),
            ("names.map", "other/names.map"),
            ("opt@/etc/x.lst", "x.lst"),
            ("/etc/y.lst", None),
        ):
            found = files.find(path)
            self.assertEqual(None if found is None else found.name, expected)

    def test_map(self) -> None:
        """The key of a map ends at the first space; comments and keys alone are skipped."""
        found = read_map(source("# c\n a.test \t b1 b2 \r\n\nalone\n#x y\n", "m"))
        self.assertEqual([(one.key, one.value, one.place.line) for one in found], [("a.test", "b1 b2", 2)])

    def test_list(self) -> None:
        """A list has a pattern in each line."""
        found = read_list(source("a.test\n  b.test  \n# c\n", "l"))
        self.assertEqual([(one.key, one.place.line) for one in found], [("a.test", 1), ("b.test", 2)])
