"""Tests for sniproxy.resolvers.http.request."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Request
from sniproxy.resolvers.http.request import BadRequestTemplate, check_placeholders, fill, parse_body, parse_url


def asked(name: str | None = "b.test", *captures: str, listener: str = "public", port: int | None = 4443) -> Request:
    return Request(name, (), "192.0.2.7:1", listener, captures, port)


class FillTests(SynchronousTestCase):
    """Placeholders in a text."""

    def test_places(self) -> None:
        """Each placeholder gets the value of the connection."""
        request = asked("b.a.test", "b", "a")
        self.assertEqual("b.a.test public 4443 a b", fill("{server_name} {listener} {port} {2} {1}", request))
        self.assertEqual("<b.a.test>", fill("{server_name}", request, "<{}>".format))

    def test_missing(self) -> None:
        """The error names a placeholder without a value."""
        for text, request in (
            ("{server_name}", asked(None)),
            ("{2}", asked("a.test", "a")),
            ("{port}", asked(port=None)),
        ):
            self.assertEqual(f"no value for {text}", str(self.assertRaises(BadRequestTemplate, fill, text, request)))

    def test_unknown(self) -> None:
        """Unknown placeholders and unmatched braces are found when the text is checked."""
        for text, words in {
            "{name}": "unknown placeholder {name}",
            "{0}": "placeholder {0}",
            "{": "unmatched",
            "a}": "unmatched",
        }.items():
            self.assertIn(words, str(self.assertRaises(BadRequestTemplate, check_placeholders, text)))
        check_placeholders("a {1} {9} {port} b")


class URLTests(SynchronousTestCase):
    """The URL."""

    def test_filled(self) -> None:
        """Values are percent-encoded in path and query; the rest is unchanged."""
        url = parse_url("https://registry.test:8443/a%20b/{server_name}/x?on={listener}&port={port}")
        filled = url.fill(asked("b_1.test", listener="a/b ?&"))
        self.assertEqual("https://registry.test:8443/a%20b/b_1.test/x?on=a%2Fb%20%3F%26&port=4443", filled)
        self.assertEqual("http://[::1]:1/", parse_url("http://[::1]:1/").fill(asked(None)))

    def test_bad(self) -> None:
        """An invalid URL, or one that lets clients choose the server, is refused with the cure."""
        for text, words in {
            "registry.test/x": "write scheme",
            "ftp://a.test/": "write scheme",
            "http://": "write scheme",
            "http://a.test:x/": "write scheme",
            "http://a.test/a b": "write scheme",
            "http://a.test/\u00e4": "write scheme",
            "http://me:hunter2@a.test/": "token_file",
            "http://a.test/#{1}": "remove the user or fragment",
            "http://a.test:{port}/": "write scheme",
            "http://{1}.test/": "write scheme",
            "http://a.test/{x}": "unknown placeholder {x}",
            "http://a.test/../{1}": "'.' and '..'",
        }.items():
            error = self.assertRaises(BadRequestTemplate, parse_url, text)
            self.assertIn(words, str(error), text)
            self.assertNotIn("hunter2", str(error))

    def test_path_stays(self) -> None:
        """A value cannot change the path."""
        url = parse_url("http://a.test/v1/{1}/x")
        for part in (".", ".."):
            self.assertIn("'.' and '..'", str(self.assertRaises(BadRequestTemplate, url.fill, asked("b.test", part))))
        self.assertEqual("http://a.test/v1/..%2Fb/x", url.fill(asked("b.test", "../b")))

    @given(st.text(min_size=1))
    def test_any_value(self, text: str) -> None:
        """With any value, host, path and query keep their number of parts, and the value can be decoded."""
        try:
            filled = parse_url("http://a.test/x/{1}?y={1}&z=1").fill(asked("b.test", text))
        except UnicodeEncodeError:  # half of a surrogate pair: no name has any
            return
        except BadRequestTemplate:
            self.assertIn(text, (".", ".."))
            return
        parts = urlsplit(filled)
        _, x, value = parts.path.split("/")
        self.assertEqual(("a.test", "x", text), (parts.netloc, x, unquote(value)))
        self.assertEqual(2, len(parts.query.split("&")))


class BodyTests(SynchronousTestCase):
    """The body of a POST."""

    def test_filled(self) -> None:
        """Nested texts in JSON are filled; other values are unchanged."""
        body = parse_body('{"{1}": ["{server_name}", 1, true, null, {"x": "a {listener}"}]}', False)
        filled = json.loads(body.fill(asked(listener='"}')))
        self.assertEqual({"{1}": ["b.test", 1, True, None, {"x": 'a "}'}]}, filled)

    def test_base64(self) -> None:
        """Filled texts are sent in base64 if configured."""
        body = parse_body('{"key": "names/{server_name}", "limit": 1}', True)
        self.assertEqual({"key": "bmFtZXMvYi50ZXN0", "limit": 1}, json.loads(body.fill(asked())))

    def test_bad(self) -> None:
        """Invalid JSON and unknown placeholders are refused."""
        for text, words in {
            "{": "write JSON",
            "[" * 10_000: "write JSON",
            '{"a": ["{x}"]}': "unknown placeholder {x}",
        }.items():
            self.assertIn(words, str(self.assertRaises(BadRequestTemplate, parse_body, text, False)))
