"""Tests for sniproxy.admin.query."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from sniproxy.admin.query import (
    MAX_TEXT_CHARS,
    ErrorAnswer,
    addresses_of,
    number_of,
    optional_text_of,
    rate_of,
    text_of,
    texts_of,
    values_of,
)


class _Request:
    def __init__(self, **args: bytes) -> None:
        self.args = {name.encode(): [value] for name, value in args.items()} or None


def request(**args: bytes) -> Request:
    """A request with this query."""
    made: Any = _Request(**args)
    return cast(Request, made)


class QueryTests(SynchronousTestCase):
    """The values in a query."""

    def test_number(self) -> None:
        """A number is digits, and not too many; absent, it is None."""
        self.assertEqual((None, 12), (number_of(request(), b"n"), number_of(request(n=b"12"), b"n")))
        for bad in (b"", b"-1", b"1.5", b"1" * 10, b"x"):
            self.assertEqual(400, self.assertRaises(ErrorAnswer, number_of, request(n=bad), b"n").code)

    def test_text(self) -> None:
        """A text is decoded whatever its bytes; absent or too long, it is refused."""
        self.assertEqual("a\\xff", text_of(request(t=b"a\xff"), b"t"))
        for bad in (request(), request(t=b"x" * (MAX_TEXT_CHARS + 1))):
            self.assertEqual(400, self.assertRaises(ErrorAnswer, texts_of, bad, b"t").code)

    def test_addresses(self) -> None:
        """Addresses are brought into their shortest form; another text is refused with its cure."""
        made: Any = SimpleNamespace(args={b"a": [b"/[0:0:0:0:0:0:0:1]:80", b"[::1]:80", b"10.0.0.5:1"]})
        self.assertEqual(["[::1]:80", "10.0.0.5:1"], addresses_of(made, b"a"))
        for bad, shown in ((b"10.0.0.5", "10.0.0.5"), (b"a\x01:1", "a\\x01:1")):
            answer = self.assertRaises(ErrorAnswer, addresses_of, request(a=bad), b"a")
            why = f"a {shown}: write an IP address and a port, as in 10.0.0.5:43210 or [fd00::5]:43210"
            self.assertEqual((400, why), (answer.code, answer.text))
        self.assertEqual(400, self.assertRaises(ErrorAnswer, addresses_of, request(), b"a").code)

    def test_values(self) -> None:
        """All texts are given by their names; one that is too long is refused."""
        self.assertEqual({"a": "1", "b": ""}, values_of(request(a=b"1", b=b"")))
        self.assertEqual({}, values_of(request()))
        answer = self.assertRaises(ErrorAnswer, values_of, request(t=b"x" * (MAX_TEXT_CHARS + 1)))
        self.assertEqual((400, "t is missing or too long"), (answer.code, answer.text))

    def test_optional(self) -> None:
        """A text may be absent; it is one of the choices, if there are any."""
        self.assertIsNone(optional_text_of(request(), b"t", ["a", "b"]))
        self.assertEqual("b", optional_text_of(request(t=b"b"), b"t", ["a", "b"]))
        self.assertEqual("x", optional_text_of(request(t=b"x"), b"t"))
        answer = self.assertRaises(ErrorAnswer, optional_text_of, request(t=b"c"), b"t", ["a", "b"])
        self.assertEqual((400, "t must be one of a, b"), (answer.code, answer.text))

    def test_rate(self) -> None:
        """A rate is a number within bounds; absent, it is 10."""
        self.assertEqual((10.0, 0.5), (rate_of(request()), rate_of(request(rate=b"0.5"))))
        for bad in (b"x", b"0", b"nan", b"1e9"):
            self.assertEqual(400, self.assertRaises(ErrorAnswer, rate_of, request(rate=bad)).code)
