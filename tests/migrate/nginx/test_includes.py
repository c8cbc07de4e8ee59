"""Tests for includes among the given files."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import MigrateError, Notes, SourceFile
from sniproxy.migrate.nginx import includes
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.includes import Loader


class IncludeTests(SynchronousTestCase):
    """Files that include each other."""

    def load(self, **files: str) -> tuple[list[str], str]:
        """The names of the stream's directives, and the report. @param files: `__` stands for a slash."""
        given = [SourceFile(f"{name.replace('__', '/')}.conf", text) for name, text in files.items()]
        report = Notes()
        stream, self.main = Loader(given, report).stream()
        return names(stream), "\n".join(
            f"{note.place} {note.text}{' !' if note.decides else ''}" for note in report.notes
        )

    def test_globs(self) -> None:
        """An include takes the files that match by name and folder, in the order of their names."""
        found, report = self.load(
            nginx="stream { include /etc/nginx/sd/*.conf; c; include one.conf; }",
            x__sd__b="b;", x__sd__a="a;", x__other__d="map x $y { }", one="e;",
        )  # fmt: skip
        self.assertEqual(found, ["a", "b", "c", "e"])
        self.assertEqual(report, "x/other/d.conf no include reads this file !")

    def test_inside_of_blocks(self) -> None:
        """Includes within blocks are followed; those of http are not."""
        found, report = self.load(
            nginx="http { include x; } stream { map a $b { include m.conf; z y; } }", m="x y;"
        )  # fmt: skip
        self.assertEqual((found, report), (["map(x z)"], ""))
        self.assertEqual(names(self.main), ["http(include)", "stream(map(x z))"])

    def test_missing_files(self) -> None:
        """A file that is not there decides only where names are looked up."""
        _, report = self.load(nginx="include modules/*.conf; stream { include names.conf; }")
        self.assertEqual(
            report,
            "nginx.conf:1 include modules/*.conf: give this file, too\n"
            "nginx.conf:1 include names.conf: give this file, too !",
        )

    def test_parts_of_a_stream_context(self) -> None:
        """Without a stream block, the files that no other one includes are the context."""
        found, _ = self.load(a="server { }", b="include c.conf;", c="map x $y { }")
        self.assertEqual(found, ["server()", "map()"])
        self.assertEqual(self.main, [])

    def test_no_stream_block(self) -> None:
        """A main file without a stream block is an error that says so."""
        error = self.assertRaises(MigrateError, self.load, nginx="events { }", other="map x $y { }")
        self.assertEqual(str(error), "nginx.conf: no stream block; give the file that has it, too")

    def test_files_that_include_themselves(self) -> None:
        """Circles end, and growth has a bound."""
        found, report = self.load(a="stream { include b.conf; }", b="x; include a.conf; include b.conf;")
        self.assertEqual(found, ["x"])
        self.assertIn("give this file", report)
        self.patch(includes, "MAX_DIRECTIVES", 3)
        self.assertRaises(MigrateError, self.load, a="stream { b; c; d; }")
        self.patch(includes, "MAX_INCLUDES", 1)
        self.patch(includes, "MAX_DIRECTIVES", 100)
        self.assertRaises(MigrateError, self.load, a="stream { include b.conf; }", b="include c.conf;", c="x;")


def names(given: Sequence[Directive]) -> list[str]:
    return [one.name if one.block is None else f"{one.name}({' '.join(names(one.block))})" for one in given]
