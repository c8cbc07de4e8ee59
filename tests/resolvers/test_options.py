"""Tests for sniproxy.resolvers.options."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import BadOption, Kind, Option
from sniproxy.resolvers.options import checked

DESCRIBED = (
    Option("url", Kind.TEXT, "where to ask"),
    Option("servers", Kind.TEXTS, "who is asked", ["a"]),
    Option("port", Kind.INTEGER, "its port", 53),
    Option("every", Kind.NUMBER, "seconds", None),
    Option("again", Kind.FLAG, "whether", False),
    Option("file", Kind.PATH, "its file", None),
)


class CheckedTests(SynchronousTestCase):
    """A table against its description."""

    def refused(self, **options: Any) -> BadOption:
        error = self.assertRaises(BadOption, checked, {"url": "u", **options}, DESCRIBED, "/etc/sniproxy")
        assert isinstance(error, BadOption)
        return error

    def test_defaults(self) -> None:
        """What is not written has its default."""
        defaults = {"servers": ["a"], "port": 53, "every": None, "again": False, "file": None}
        self.assertEqual({"url": "u", **defaults}, checked({"url": "u"}, DESCRIBED, ""))

    def test_kinds(self) -> None:
        """A text is a list of one, a whole number a number; a path starts from the configuration's folder."""
        given = {"url": "u", "servers": "b", "port": 1, "every": 2, "again": True, "file": "x/y"}
        found = checked(given, DESCRIBED, "/etc/sniproxy")
        self.assertEqual({**given, "servers": ["b"], "every": 2.0, "file": "/etc/sniproxy/x/y"}, found)
        self.assertIsInstance(found["every"], float)
        self.assertEqual("/x", checked({"url": "u", "file": "/x"}, DESCRIBED, "/etc")["file"])
        self.assertEqual(os.path.abspath("x"), checked({"url": "u", "file": "x"}, DESCRIBED, "")["file"])

    def test_unknown(self) -> None:
        """An unknown key is refused; a close one is named, else all."""
        self.assertEqual("there is no such option; did you mean servers?", self.refused(server="b").cure)
        error = self.refused(zzz=7)
        self.assertEqual(("zzz", 7), (error.key, error.value))
        self.assertIn("known here: url, servers", error.cure)

    def test_missing(self) -> None:
        """What is needed and not there is refused, with its kind and help."""
        error = self.assertRaises(BadOption, checked, {}, DESCRIBED, "")
        self.assertEqual(("url", None, "it is needed, a text: where to ask"), (error.key, error.value, error.cure))

    def test_wrong_kinds(self) -> None:
        """A value of another kind is refused."""
        for options in (
            {"url": 1},
            {"servers": ["a", 1]},
            {"servers": 1},
            {"port": True},
            {"port": 1.5},
            {"every": "1"},
            {"every": True},
            {"every": float("nan")},
            {"again": 1},
            {"file": ""},
            {"file": "a\0b"},
        ):
            error = self.refused(**options)
            [key] = options
            self.assertEqual((key, options[key]), (error.key, error.value))
