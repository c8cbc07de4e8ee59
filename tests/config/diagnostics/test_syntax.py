"""Tests for sniproxy.config.diagnostics.syntax."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.syntax import read


class ReadTests(SynchronousTestCase):
    """read: text that is not TOML."""

    def said(self, text: str, *expected: tuple[int, str]) -> None:
        """Assert all faults and their lines. The rest of the text is read."""
        found = read(text, ["timeouts", "access_log"])
        self.assertEqual([line for line, _ in expected], sorted(line for line, _ in found.faults), found.faults)
        for (_, cure), (_, message) in zip(expected, sorted(found.faults), strict=True):
            self.assertIn(cure, message)
        self.assertIsNotNone(found.data)

    def test_brackets(self) -> None:
        """Repeated tables need two brackets, others one; both mistakes are found everywhere."""
        self.said("[route]\na = 1\n[route]\na = 2", (1, "write [[route]]"), (3, "with two brackets"))
        self.said("[listener]\n[[bridge]]\n[bridge]", (1, "write [[listener]]"), (3, "write [[bridge]]"))
        self.said("[[timeouts]]\n[[resolver.x]]", (1, "write [timeouts], with one bracket"), (2, "[resolver.x]"))
        self.said("[[route]\n[timeouts", (1, "write [[route]]"), (2, "write [timeouts]"))

    def test_values(self) -> None:
        """For an invalid value the message shows the probable one, and the next fault is found, too."""
        self.said(
            'a = b.test\nb = "~x-(\\d)\\.y"\nidle = 5m\nc = Yes\nd = none\ne = “x”\nf: 1\ng = "x\nh = [a:1, b:2]\n'
            "i = [\n10.0.0.7:1,\n]\n// j\n",
            (1, 'write strings in quotes: a = "b.test"'),
            (2, "use single quotes for expressions: b = '~x-(\\d)\\.y'"),
            (3, "a number of seconds, without a unit: idle = 300"),
            (4, "write c = true"),
            (5, "remove d"),
            (6, 'straight quotes: e = "x"'),
            (7, "write f = "),
            (8, "the closing quote is missing"),
            (9, 'h = ["a:1", "b:2"]'),
            (11, '"10.0.0.7:1"'),
            (13, "a comment begins with #"),
        )

    def test_twice(self) -> None:
        """For a duplicate key or table, the message has the line of the first."""
        self.said(
            "[timeouts]\nidle = 1\nidle = 2\n[access_log]\n[timeouts]\nhello = 1\n",
            (3, "idle is set twice, first on line 2"),
            (5, "[timeouts] appears twice, first on line 1; merge the two"),
        )

    def test_twice_elsewhere(self) -> None:
        """The first line is not named if it is spelt in another way, or in another table."""
        self.said('c = 1\n"a" = 1\na = 2', (3, "a is set twice; remove one"))
        self.said('a = 0\n[timeouts]\n"a" = 1\na = 2', (4, "a is set twice; remove one"))

    def test_keys(self) -> None:
        """A key with spaces gets underscores."""
        self.said("server name = 1\nhost  name= 1", (1, "server name = 1: invalid TOML: "), (2, "write host_name"))

    def test_no_value(self) -> None:
        """A value that is missing is asked for; the reading ends, for nothing can take its place."""
        found = read("a =\nb = c", [])
        self.assertIsNone(found.data)
        ((line, message),) = found.faults
        self.assertEqual(1, line)
        self.assertTrue(message.endswith("write a value after ="), message)

    def test_not_understood(self) -> None:
        """A fault that cannot be repaired ends the reading, with the parser's message and its line."""
        for text in (
            "a = {b",
            "a = [",
            "a = [b,",
            "[a]\nb = 1\n[a.b]",
            '{"a": 1}',
            "a = " + "9" * 5000,
            "a = " + "[" * 5000,
            '"""',
        ):
            found = read(f"{text}\nb = c", [])
            self.assertIsNone(found.data, text)
            self.assertIn("invalid TOML", found.faults[0][1])
