"""Tests for sniproxy.util.text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.text import MAX_QUOTED_CHARS, MAX_TEXT_CHARS, amount, bounded, counted, duration, printable, quoted


class TextTests(SynchronousTestCase):
    """Texts and numbers."""

    def test_duration(self) -> None:
        """A time has the largest unit of which there are at least two."""
        for seconds, said in ((0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")):
            self.assertEqual(said, duration(seconds))

    def test_amount(self) -> None:
        """Bytes have the unit that leaves one to three digits."""
        for count, said in (
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4_700, "4.7 kB"),
            (999_949, "999.9 kB"),
            (999_999, "1.0 MB"),
            (2_500_000_000, "2.5 GB"),
            (7_000_000_000_000, "7.0 TB"),
        ):
            self.assertEqual(amount(count), said)

    def test_bounded(self) -> None:
        """Printable ASCII stays; other characters are escaped; a cut shows as three dots."""
        self.assertEqual(bounded('it\'s "plain"'), 'it\'s "plain"')
        self.assertEqual(bounded("\xe9\n\u20ac\U0001f600\x7f"), "\\xe9\\n\\u20ac\\U0001f600\\x7f")
        self.assertEqual(bounded("x" * MAX_TEXT_CHARS), "x" * MAX_TEXT_CHARS)
        for text in ("x" * (MAX_TEXT_CHARS + 1), "x" * 10**6, "\0" * MAX_TEXT_CHARS):
            self.assertEqual((len(bounded(text)), bounded(text)[-3:]), (MAX_TEXT_CHARS, "..."))

    def test_quoted(self) -> None:
        """Text is in quotes; quotes inside are escaped; a cut shows as three dots."""
        self.assertEqual(r"'a\n\xe9\\'", quoted("a\n\xe9\\"))
        self.assertEqual('"it\'s"', quoted("it's"))
        self.assertEqual(
            ("'" + "x" * MAX_QUOTED_CHARS + "'", "'ab'..."), (quoted("x" * MAX_QUOTED_CHARS), quoted("abc", 2))
        )

    def test_printable(self) -> None:
        """The text is one line of ASCII; escaped text is not escaped again."""
        once = printable("a\x1b[2J\n\u20ac\\n")
        self.assertEqual("a\\x1b[2J\\n\\u20ac\\n", once)
        self.assertEqual(once, printable(once))

    def test_counted(self) -> None:
        """Singular and plural."""
        self.assertEqual(["0 tunnels", "1 tunnel", "2 tunnels"], [counted(count, "tunnel") for count in range(3)])
