"""Tables and their places in documents."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.table import markdown, replaced, write_into

DOCUMENT = "# Title\n\n<!-- bench:one -->\nold\n<!-- end -->\n\n<!-- bench:two -->\n<!-- end -->\nlast\n"


class TableTests(SynchronousTestCase):
    """Tables."""

    def test_aligned(self) -> None:
        """Columns are as wide as their widest cell, and numbers are aligned to the right."""
        expected = "| what |   n |\n| ---- | --: |\n| a    | 100 |\n| long |   1 |\n"
        self.assertEqual(markdown(("what", "n"), [("a", "100"), ("long", "1")]), expected)

    def test_uneven(self) -> None:
        """A row with a missing cell is an error."""
        self.assertRaises(ValueError, markdown, ("a", "b"), [("1",)])


class PlaceTests(SynchronousTestCase):
    """Replacement between the comments."""

    def test_replaced(self) -> None:
        """Only the named place changes, and it can be written again."""
        once = replaced(DOCUMENT, "one", "new\n")
        self.assertEqual(once, DOCUMENT.replace("old", "new"))
        self.assertEqual(replaced(once, "one", "old\n"), DOCUMENT)
        self.assertEqual(replaced(DOCUMENT, "two", "x\n"), DOCUMENT.replace("two -->\n", "two -->\nx\n"))

    def test_no_place(self) -> None:
        """A document without the comments is refused with the cure."""
        for document in ("", "<!-- bench:one -->\n", DOCUMENT.replace("one", "three")):
            error = self.assertRaises(ValueError, replaced, document, "one", "x")
            self.assertIn("<!-- bench:one -->", str(error))

    def test_file(self) -> None:
        """A file is written in place."""
        path = Path(self.mktemp())
        path.write_text(DOCUMENT)
        write_into(path, "one", "new\n")
        self.assertEqual(path.read_text(), DOCUMENT.replace("old", "new"))
