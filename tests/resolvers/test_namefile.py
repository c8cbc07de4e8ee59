"""Tests for sniproxy.resolvers.namefile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.resolvers.namefile import BadNameFile, NameTable, parse_map, parse_toml

ONE, TWO, DEFAULT = (Target("10.0.0.1", 6651),), (Target("10.0.0.2", 1), Target("::1", 6651)), (Target("d.test", 6651),)

TOML = """
# Brokers
"Broker-1.pulsar.test." = "10.0.0.1"
"*.w.test" = ["10.0.0.2:1", "[::1]:6651"]
localhost = "10.0.0.1:6651"
default = "d.test"
"""
MAP = """
# Brokers
Broker-1.pulsar.test.\t10.0.0.1
  *.w.test   10.0.0.2:1, [::1]:6651   # two

localhost pulsar+ssl://10.0.0.1:6651
default d.test
"""
NGINX = """
hostnames;
default 'd.test';
"broker-1.pulsar.test" "10.0.0.1:6651";
*.w.test 10.0.0.2:1,[::1]:6651;
localhost    10.0.0.1:6651; # one
"""


class ParseTests(SynchronousTestCase):
    """Files of all formats."""

    def check(self, names: NameTable) -> None:
        self.assertEqual(4, names.count)
        for name, targets in (
            ("broker-1.pulsar.test", ONE),
            ("a.b.w.test", TWO),
            ("localhost", ONE),
            ("w.test", DEFAULT),
            (None, DEFAULT),
        ):
            self.assertEqual(targets, names.targets(name))

    def test_forms(self) -> None:
        """TOML, HAProxy maps and nginx maps give the same table."""
        self.check(parse_toml(TOML))
        self.check(parse_map(MAP))
        self.check(parse_map(NGINX))

    def test_weights(self) -> None:
        """A target may have a weight, in all formats."""
        for names in (
            parse_toml('"a.test" = ["b.test:1 weight=2", "c.test"]\n'),
            parse_map("a.test b.test:1 weight=2, c.test # the second is small\n"),
            parse_map("a.test 'b.test:1\tweight=2,c.test';\n"),
        ):
            self.assertEqual((Target("b.test", 1, 2), Target("c.test", 6651)), names.targets("a.test"))

    def test_no_default(self) -> None:
        """Without a default other names have no targets; a file may be empty."""
        names = parse_map("a.test b.test\n")
        self.assertEqual((None, None), (names.targets("c.test"), names.targets(None)))
        self.assertEqual((0, 0), (parse_toml("").count, parse_map("").count))

    def refused(self, text: str, said: str, toml: bool = True) -> None:
        message = str(self.assertRaises(BadNameFile, parse_toml if toml else parse_map, text))
        self.assertIn(said, message)
        self.assertTrue(message.isprintable())

    def test_bad_toml(self) -> None:
        """The error has the key, the problem and the cure."""
        self.refused("a = ", "invalid TOML: ")
        self.refused('a.test = "b"', "a: a table is not allowed; quote a name with dots: ")
        self.refused('"a.test" = 7', "a.test = 7: write one target")
        self.refused('"a.test" = []', "a.test = []: write one target")
        self.refused('"a.test" = ["b", 7]', "write one target")
        self.refused('"a b" = "b"', "a b: the character ' ' is not allowed")
        self.refused('"*" = "b"', "'*' alone would match every name")
        self.refused('"a.test" = "b:0"', "a.test = b:0: bad port '0'")
        self.refused('"a.test" = "b weight=x"', "a.test = b weight=x: bad weight 'x'")
        self.refused('"a.test" = "b"\n"A.test" = "c"', "A.test: duplicate name")

    def test_bad_map(self) -> None:
        """The error has the line."""
        self.refused("\na.test\n", "line 2: a.test: write two columns", False)
        self.refused("a.test b;\na.test c;", "line 2: a.test: duplicate name", False)
        self.refused("default b\ndefault c", "line 2: default: duplicate name", False)
        self.refused("~a.* b", "line 1: ~a.*: ", False)
        self.refused("a.test http://b", "line 1: http://b: unsupported scheme 'http'", False)
        self.refused("a.test b weight=-1", "line 1: b weight=-1: bad weight '-1'", False)
        self.refused("a.test b,", "bad host: the name is empty", False)
        self.refused("a.test \x1b[1m" + "x" * 1000, "line 1: ", False)

    @given(st.text(alphabet=st.sampled_from("ab*.:;,#\" =\n[]'~\x1b"), max_size=60))
    def test_anything(self, text: str) -> None:
        """Any text is parsed or refused."""
        for parse in (parse_toml, parse_map):
            try:
                parse(text)
            except BadNameFile as error:
                self.assertTrue(str(error).isprintable())
