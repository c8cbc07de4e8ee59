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
HOUSE = LazyResolverMaker("house", "our own", "x.y", f"{__name__}.OPTIONS", "sniproxy[house]", ("no_such_module",))


class DescribeTests(SynchronousTestCase):
    """The texts of --help-resolvers and --help-resolver."""

    def test_all(self) -> None:
        """One a line, name first, in order; what is not installed is listed with the command."""
        lines = describe_all([OldMaker(), HOUSE]).splitlines()
        self.assertEqual(["house  our own  (needs: pip install 'sniproxy[house]')", "old    from before"], lines)

    def test_one(self) -> None:
        """Each option with its kind, default and meaning; and what is needed first."""
        text = describe_one(HOUSE)
        rows = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
        self.assertEqual([option.name for option in OPTIONS], [name for name, _ in rows])
        for said in (
            "house: our own",
            "It needs what is not installed: pip install 'sniproxy[house]'",
            'text or list of texts  ["a", "b"]  who is asked',
            "number                 2.5         seconds",
            "false",
            '"x"',
            "53",
            "none",
            "needed",
            "deadline",
        ):
            self.assertIn(said, text)

    def test_undescribed(self) -> None:
        """A maker that does not describe itself is shown all the same."""
        self.assertIn("It does not describe its options.", describe_one(OldMaker()))

    def test_ours(self) -> None:
        """All of ours can be described, in lines that fit."""
        for maker in makers():
            for line in describe_one(maker).splitlines():
                self.assertLess(len(line), 150)
