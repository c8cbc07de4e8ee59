"""Tests for sniproxy.inspector.capture.headers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.headers import MalformedHeader, number, rest


class HeaderTests(SynchronousTestCase):
    """number and rest: reads within bounds."""

    def test_number(self) -> None:
        """Two bytes in network order, or an error if they are missing."""
        self.assertEqual(number(b"\1\2\3", 1), 0x0203)
        self.assertRaises(MalformedHeader, number, b"\1\2\3", 2)

    def test_rest(self) -> None:
        """The bytes after a header may be empty; a truncated header is an error."""
        self.assertEqual((rest(b"abc", 2), rest(b"abc", 3)), (b"c", b""))
        self.assertRaises(MalformedHeader, rest, b"abc", 4)
