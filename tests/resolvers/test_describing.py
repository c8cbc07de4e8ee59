"""Tests for sniproxy.resolvers.describing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Kind, Option
from sniproxy.resolvers import LazyResolverMaker, makers
from sniproxy.resolvers.describing import describe_all, describe_one
from tests.resolvers.oldmaker import OldMaker

OPTIONS = (
    Option("url", Kind.TEXT, "where to ask"),
    Option("servers", Kind.TEXTS, "who is asked", ["a", "b"]),
    Option("every", Kind.NUMBER, "seconds", 2.5),
    Option("again", Kind.FLAG, "whether", False),
    Option("name", Kind.TEXT, "a name", "x"),
    Option("port", Kind.INTEGER, "a port", 53),
    Option("file", Kind.PATH, "a file", None),
)
CUSTOM = LazyResolverMaker(
    "custom", "a custom type", "x.y", f"{__name__}.OPTIONS", "sniproxy[custom]", ("no_such_module",)
)


class DescribeTests(SynchronousTestCase):
    """The texts of --help-resolvers and --help-resolver."""

    def test_all(self) -> None:
        """One line for each type, sorted; a type with a missing dependency has the command."""
        lines = describe_all([OldMaker(), CUSTOM]).splitlines()
        self.assertEqual(
            ["custom  a custom type  (requires: pip install 'sniproxy[custom]')", "old     from before"], lines
        )

    def test_one(self) -> None:
        """Each option has its kind, default and help; a missing dependency is named."""
        text = describe_one(CUSTOM)
        rows = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
        self.assertEqual([option.name for option in OPTIONS], [name for name, _ in rows])
        for said in (
            "custom: a custom type",
            "A dependency is not installed; run pip install 'sniproxy[custom]'",
            'text or list of texts  ["a", "b"]  who is asked',
            "number                 2.5         seconds",
            "false",
            '"x"',
            "53",
            "none",
            "required",
            "deadline",
        ):
            self.assertIn(said, text)

    def test_undescribed(self) -> None:
        """A maker without described options is shown, too."""
        self.assertIn("This type does not describe its options.", describe_one(OldMaker()))

    def test_ours(self) -> None:
        """All built-in types are described, in lines of bounded length."""
        for maker in makers():
            for line in describe_one(maker).splitlines():
                self.assertLess(len(line), 150)
