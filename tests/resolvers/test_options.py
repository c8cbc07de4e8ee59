"""Tests for sniproxy.resolvers.options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import BadOption, Kind, Option
from sniproxy.resolvers.options import bad_file, check_options, check_server_url, find_errors

DESCRIBED = (
    Option("url", Kind.TEXT, "where to ask"),
    Option("servers", Kind.TEXTS, "who is asked", ["a"]),
    Option("port", Kind.INTEGER, "its port", 53),
    Option("every", Kind.NUMBER, "seconds", None),
    Option("again", Kind.FLAG, "whether", False),
    Option("file", Kind.PATH, "its file", None),
)


class CheckOptionsTests(SynchronousTestCase):
    """A table is checked against its description."""

    def refused(self, **options: Any) -> BadOption:
        error = self.assertRaises(BadOption, check_options, {"url": "u", **options}, DESCRIBED, "/etc/sniproxy")
        assert isinstance(error, BadOption)
        return error

    def test_defaults(self) -> None:
        """A missing option gets its default."""
        defaults = {"servers": ["a"], "port": 53, "every": None, "again": False, "file": None}
        self.assertEqual({"url": "u", **defaults}, check_options({"url": "u"}, DESCRIBED, ""))

    def test_kinds(self) -> None:
        """A text becomes a list, a whole number a float, and a relative path starts from the configuration's folder."""
        given = {"url": "u", "servers": "b", "port": 1, "every": 2, "again": True, "file": "x/y"}
        found = check_options(given, DESCRIBED, "/etc/sniproxy")
        self.assertEqual({**given, "servers": ["b"], "every": 2.0, "file": "/etc/sniproxy/x/y"}, found)
        self.assertIsInstance(found["every"], float)
        self.assertEqual("/x", check_options({"url": "u", "file": "/x"}, DESCRIBED, "/etc")["file"])
        self.assertEqual(os.path.abspath("x"), check_options({"url": "u", "file": "x"}, DESCRIBED, "")["file"])

    def test_unknown(self) -> None:
        """An unknown key is refused; the error names a similar one, else all."""
        self.assertEqual("unknown option; did you mean servers?", self.refused(server="b").cure)
        error = self.refused(zzz=7)
        self.assertEqual(("zzz", 7), (error.key, error.value))
        self.assertIn("known options: url, servers", error.cure)

    def test_missing(self) -> None:
        """A missing required option is refused, with its kind and help."""
        error = self.assertRaises(BadOption, check_options, {}, DESCRIBED, "")
        self.assertEqual(("url", None, "required, a text: where to ask"), (error.key, error.value, error.cure))

    def test_wrong_kinds(self) -> None:
        """A value of the wrong kind is refused."""
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


class CheckServerURLTests(SynchronousTestCase):
    """check_server_url."""

    def test_good(self) -> None:
        """Scheme, host and port, or the scheme's own port."""
        for url in ("http://a.test", "https://a.test:8443/", "https://[2001:db8::1]:1"):
            check_server_url("url", url, "write another")

    def test_bad(self) -> None:
        """More or less than that. A password is not shown."""
        for url in (
            "a.test",
            "ftp://a.test",
            "http://",
            "http://a.test/b",
            "http://a.test:x",
            "http://a.test?b",
            "http://ä.test",
        ):
            error = self.assertRaises(BadOption, check_server_url, "url", url, "write another")
            self.assertEqual(("url", url), (error.key, error.value), url)
        error = self.assertRaises(BadOption, check_server_url, "url", "http://me:secret@a.test", "write another")
        self.assertNotIn("secret", f"{error} {error.value}")


class BadFileTests(SynchronousTestCase):
    """bad_file: an invalid file."""

    def test_option(self) -> None:
        """The error of a file becomes that of its option."""
        options = {"trust": "a.pem", "token_file": "b"}
        for key, path in options.items():
            error = bad_file(options, ValueError(f"{key} {path}: no such file"))
            self.assertEqual((key, path, f"{key} {path}: no such file"), (error.key, error.value, error.cure))


class FindErrorsTests(SynchronousTestCase):
    """find_errors: all errors of a table."""

    def keys(self, options: Mapping[str, Any]) -> list[str]:
        def make(given: Mapping[str, Any]) -> None:
            found = check_options(given, DESCRIBED, "")
            if found["port"] > 65535:
                raise BadOption("port", found["port"], "it is too large")
            if found["every"] is not None and found["every"] <= 0:
                raise BadOption("every", found["every"], "it is more than 0")
            if found["again"] and found["every"] is None:
                raise BadOption("again", True, "it needs every")
            if found["file"] == "/fault":
                raise KeyError("a plugin's own fault")

        return [error.key for error in find_errors(make, options, DESCRIBED)]

    def test_all(self) -> None:
        """Errors of kinds and names, and the errors that the resolver raises one at a time."""
        bad = {"odd": 1, "url": 2, "servers": 3, "port": 70000, "every": -1}
        self.assertEqual(["odd", "url", "servers"], self.keys(bad))
        self.assertEqual(["odd", "servers", "port", "every"], self.keys({**bad, "url": "u"}))
        self.assertEqual([], self.keys({"url": "u"}))

    def test_followers(self) -> None:
        """An error that follows from a removed option is not reported, nor is an unexpected error of the plugin."""
        self.assertEqual(["every"], self.keys({"url": "u", "every": -1, "again": True}))
        self.assertEqual(["port"], self.keys({"url": "u", "port": 70000, "file": "/fault"}))
