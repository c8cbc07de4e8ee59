"""Tests for docs/manpages.py and the pages that it writes. C{tests.peers.test_manpages} formats them."""

from __future__ import annotations

import argparse
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docs.manpages import FOLDER, PAGES, escaped, options_of, synopsis, words
from sniproxy import ctl
from sniproxy.cli.completion import actions
from sniproxy.tap import Options


def plain(page: str) -> str:
    """The text of a page, without the escapes of roff."""
    return re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-").replace("\\e", "\\")


class PageTests(SynchronousTestCase):
    """The pages in docs/man."""

    def test_written(self) -> None:
        """The pages are those of the current help; `make man` writes them."""
        self.assertEqual(set(PAGES), {path.name for path in FOLDER.iterdir()})
        for name, page in PAGES.items():
            self.assertEqual(page(), (FOLDER / name).read_text("ascii"), f"{name}: run make man")

    def test_sniproxyctl(self) -> None:
        """Every command and option of sniproxyctl is there, with its help."""
        page = plain(PAGES["sniproxyctl.1"]())
        for name, parser in ctl.parser()[1].items():
            self.assertIn(f"\n.SS {name}\nsniproxyctl {name} ", page)
            self.assertIn(" ".join((parser.description or "").split()), page)
        for action in actions(ctl.parser()[0]):
            for option in action.option_strings:
                self.assertIn(option, page)

    def test_proxy(self) -> None:
        """Every option of twistd sniproxy is there, with its short form and its help."""
        page = plain(PAGES["twistd-sniproxy.8"]())
        for option in Options().longOpt:
            self.assertIn(f"--{option.rstrip('=')}", page)
        self.assertIn("\n-c, --config VALUE\nThe configuration file (TOML).\n", page)
        self.assertIn("\n-l, --listen VALUE\nAccept connections", page)


class RoffTests(SynchronousTestCase):
    """Texts for roff."""

    def test_escaped(self) -> None:
        """What roff would read as a request or an escape is text."""
        self.assertEqual("\\&.TH a\\-b \\e c", escaped("  .TH\na-b \\ c "))
        self.assertEqual("\\&'x'", escaped("'x'"))

    @given(st.text(st.characters(codec="ascii")))
    def test_any(self, text: str) -> None:
        """No text begins a request or a line."""
        found = escaped(text)
        self.assertNotIn("\n", found)
        self.assertNotIn(found[:1], (".", "'"))
        self.assertEqual(" ".join(text.split()), plain(found))

    def test_options(self) -> None:
        """Arguments and options have their values, choices and defaults; what has no help is left out."""
        parser = argparse.ArgumentParser("x", add_help=False)
        parser.add_argument("file", metavar="FILE", nargs="?", help="a file")
        parser.add_argument("--shell", choices=("a", "b"), default="a", required=True, help="default: %(default)s")
        parser.add_argument("--also", nargs="*", metavar="N", help="more")
        parser.add_argument("one", nargs="+", help="ones")
        parser.add_argument("--hidden", help=argparse.SUPPRESS)
        parser.add_argument("--flag", action="store_true", help="a flag")
        self.assertEqual(["[FILE]", "{a,b}", "[N ...]", "one ...", "HIDDEN", ""], list(map(words, parser._actions)))
        self.assertEqual(
            [
                ".TP", "[FILE]", "a file", ".TP", "--shell {a,b}", "default: a", ".TP", "--also [N ...]", "more",
                ".TP", "one ...", "ones", ".TP", "--flag", "a flag",
            ],
            [plain(line) for line in options_of(parser)],
        )  # fmt: skip
        self.assertEqual("x [options] --shell {a,b} [FILE] one ...", plain(synopsis(parser)))
