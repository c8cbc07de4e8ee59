"""Tests for sniproxy.config.diagnostics.lines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.lines import LineIndex, path_of

TEXT = '''# a comment with = and [brackets]
workers = 2
[[route]]
server_name = "a # b"
target = [
  "x:1",  # one
  'y:2',
]
[[route]]
"server_name" = """two
lines"""
[resolver."a.b"]
type = "static"
inline = {x = 1, y = [1, 2]}
[a]
b.c = 3
'''


class LinesTests(SynchronousTestCase):
    """Lines: the line of a key."""

    def test_find(self) -> None:
        """Tables, keys, dotted keys, list items and inline tables have the line in which they begin."""
        lines = LineIndex(TEXT)
        for path, line in (
            (("workers",), 2), (("route", 0), 3), (("route", 0, "server_name"), 4), (("route", 0, "target", 0), 6),
            (("route", 0, "target", 1), 7), (("route", 1), 9), (("route", 1, "server_name"), 10),
            (("resolver", "a.b", "type"), 13), (("resolver", "a.b", "inline", "y", 1), 14), (("a", "b", "c"), 16),
        ):  # fmt: skip
            self.assertEqual(line, lines.find(path), path)

    def test_missing(self) -> None:
        """A missing key has the line of its table; without a table there is no line."""
        self.assertEqual(9, LineIndex(TEXT).find(("route", 1, "target")))
        self.assertIsNone(LineIndex(TEXT).find(("timeouts", "idle")))

    def test_no_toml(self) -> None:
        """Text that cannot be scanned ends the scan without an exception."""
        for text in ("[", "a", "a = ", "[[x", "a = {", "a = [1", '"', "a = " + "[" * 5000):
            LineIndex(text)

    def test_rename(self) -> None:
        """The lines of a misspelt table are also found by its right name."""
        lines = LineIndex("[[rout]]\nx = 1\n")
        lines.rename(("rout",), ("route",))
        self.assertEqual(2, lines.find(("route", 0, "x")))

    def test_path_of(self) -> None:
        """A key in a message is split into steps; names may contain dots."""
        data = {"resolver": {"a.b": {"type": 1}}, "route": [{"target": ["x", 7]}]}
        self.assertEqual(("resolver", "a.b", "type"), path_of(data, "resolver.a.b.type"))
        self.assertEqual(("route", 0, "target", 1), path_of(data, "route[0].target[1]"))
        self.assertEqual(("route", 0, "absent"), path_of(data, "route[0].absent"))
