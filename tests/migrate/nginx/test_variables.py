"""Tests for texts with variables."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Notes, Place, SourceFile
from sniproxy.migrate.nginx.cases import TooManyCases, Value, first
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.maps import read_map
from sniproxy.migrate.nginx.variables import Scope, UnknownVariable, Variables

HERE = Place("n.conf")
PREREAD = "$ssl_preread_server_name"


class VariableTests(SynchronousTestCase):
    """What texts are for names."""

    def variables(self, maps: str = "") -> Variables:
        found = Variables(Notes())
        for one in directives(SourceFile("n.conf", maps)):
            made = read_map(one, found.report)
            assert made is not None
            found.maps[made.name] = made
        return found

    def values(self, maps: str, text: str, *names: str | None, port: int = 443) -> list[Value]:
        self.found = self.variables(maps)
        cases = self.found.cases(text, HERE, Scope("10.0.0.1", port))
        return [first(cases, name).value for name in names]

    def notes(self) -> str:
        return "\n".join(f"{one.place} {one.text}{' !' if one.decides else ''}" for one in self.found.report.notes)

    def unknown(self, maps: str, text: str) -> str:
        self.found = self.variables(maps)
        return str(self.assertRaises(UnknownVariable, self.found.cases, text, HERE, Scope(port=443)))

    def test_built_in(self) -> None:
        """The name, the port, the address, and texts around them."""
        self.assertEqual(self.values("", f"{PREREAD}:443", "a", None), [("a:443",), (":443",)])
        self.assertEqual(self.values("", "x${server_port}$protocol-$server_addr", "a"), [("x", -1, "TCP-10.0.0.1")])
        self.assertEqual(self.values("", "plain", None), [("plain",)])
        self.assertEqual(self.values("", "", None), [()])
        for name in ("remote_addr", "server_addr", "ssl_server_name", "ssl_preread_protocol"):
            self.assertEqual(self.unknown("", f"${name}"), f"${name}")

    def test_scopes(self) -> None:
        """Where TLS ends, the name has another variable; without ssl_preread there is none."""
        found = self.variables()
        cases = found.cases("$ssl_server_name", HERE, Scope(ends_tls=True))
        self.assertEqual(first(cases, "a").value, ("a",))
        cases = found.cases(f"x{PREREAD}$ssl_preread_protocol", HERE, Scope(name=False))
        self.assertEqual(first(cases, "a").value, ("x",))

    def test_maps(self) -> None:
        """A map of the name, and a map of that map."""
        maps = (
            f"map {PREREAD} $x {{ a one; ~^(?<n>b.*)$ to-$n; ~^(c)(.)$ $2-$1; '' none; }} map $x $y {{ one "
            f"1; default $x; }}"
        )
        self.assertEqual(
            self.values(maps, "<$x>", "a", "b1", "cd", "z", None),
            [("<one>",), ("<to-b1>",), ("<d-c>",), ("<>",), ("<none>",)],
        )
        self.assertEqual(self.values(maps.replace("to-$n", "$x$n"), "a", "a"), [("a",)])
        maps = f"map {PREREAD} $x {{ a one; default two; }} map $x $y {{ one 1; default 2; }}"
        self.assertEqual(self.values(maps, "$y", "a", "b"), [("1",), ("2",)])

    def test_maps_of_groups(self) -> None:
        """A map of a group of an expression, maybe between texts; others are unknown."""
        one = f"map {PREREAD} $x {{ ~^(.+)\\.w$ p$1; default no; }}"
        two = "map $x $y { pa 1; pb 2; q 3; no 4; default 5; }"
        self.assertEqual(
            self.values(one + two, "$y", "a.w", "b.w", "q.w", "z.w", "other", None),
            [("1",), ("2",), ("5",), ("5",), ("4",), ("4",)],
        )
        self.assertIn("wildcards or expressions", self.unknown(one + "map $x $y { ~^pa 1; }", "$y"))
        self.assertIn("and more", self.unknown(one + f"map {PREREAD} $z {{ a.w 1; }} map $x $y {{ pa $z; }}", "$y"))
        twice = f"map {PREREAD} $x {{ ~^(.)(.)$ $1$2; }}"
        self.assertIn("a part of the name in $x", self.unknown(twice + "map $x $y { ab 1; }", "$y"))
        capture = f"map {PREREAD} $z {{ ~^.(.)$ $1; }} map {PREREAD} $x {{ ~^(.). $1$z; }}"
        self.assertIn("a capture beside", self.unknown(capture, "$x"))

    def test_maps_of_name_and_port(self) -> None:
        """A map of the name and the port has other cases for each listener."""
        maps = f"map {PREREAD}:$server_port $x {{ a:1 one; a:2 two; ~^b:\\d+$ three; default four; }}"
        self.assertEqual(
            self.values(maps, "$x", "a", "b", "c", None, port=1), [("one",), ("three",), ("four",), ("four",)]
        )
        self.assertEqual(self.values(maps, "$x", "a", port=2), [("two",)])
        self.assertEqual(self.values("map $server_port $x { 1 one; default two; }", "$x", "a", port=1), [("one",)])

    def test_map_of_a_part(self) -> None:
        """A map of the name behind an expression of another map keeps the names of both."""
        maps = f"map {PREREAD} $x {{ ~\\.w$ {PREREAD}; default none; }} "
        maps += "map $x $y { hostnames; a.w 1; *.b.w 2; ~^c 3; none 4; }"
        self.assertEqual(
            self.values(maps, "$y", "a.w", "x.b.w", "cc.w", "d.w", "cc", "a"),
            [("1",), ("2",), ("3",), (), ("4",), ("4",)],
        )

    def test_circles(self) -> None:
        """A map of itself is unknown, so its default is taken."""
        self.assertEqual(self.values("map $y $x { default 1; } map $x $y { default 2; }", "$x", "a"), [("1",)])
        self.assertIn("refers to itself", self.unknown(f"map {PREREAD} $x {{ default $x; }}", "$x"))

    def test_growth(self) -> None:
        """Texts that double have a bound, and are not worked out again and again."""
        maps = "map $server_port $x0 { default ab; }" + "".join(
            f"map $server_port $x{number + 1} {{ default $x{number}$x{number}; }}" for number in range(60)
        )
        self.assertEqual(self.values(maps, "$x2", "a"), [("abababab",)])
        self.assertRaises(TooManyCases, self.variables(maps).cases, "$x60", HERE, Scope(port=1))

    def test_set_differs(self) -> None:
        """A server's own variables are worked out anew."""
        found = self.variables("map $s $x { default $s; }")
        for text in ("one", "two"):
            found.set_texts({"s": (text, HERE)})
            self.assertEqual(first(found.cases("$x", HERE, Scope()), "a").value, (text,))

    def test_unknown_sources(self) -> None:
        """A map of what no route knows has its default, which decides."""
        self.assertEqual(self.values("map $remote_addr $x { default 1; }", "$x$x", "a"), [("11",)])
        self.assertEqual(
            self.notes(), "n.conf:1 map $x it depends on $remote_addr, which no route knows; 1 is taken for all !"
        )
        self.assertEqual(self.values("map $remote_addr $x { a 1; }", "$x", "a"), [()])

    def test_protocol(self) -> None:
        """A map that only tells TLS from other bytes has one value here."""
        self.assertEqual(
            self.values("map $ssl_preread_protocol $x { '' ssh; TLSv1.2 tls; default tls; }", "$x", "a"), [("tls",)]
        )
        self.assertIn("only TLS is taken here", self.notes())
        self.assertNotIn("!", self.notes())
        values = self.values("map $ssl_preread_protocol $x { TLSv1.2 tls; TLSv1.3 tls; default ssh; }", "$x$x", "a")
        self.assertEqual(values, [("tlstls",)])
        self.assertEqual(self.notes().count("only TLS is taken here"), 1)
        self.assertEqual(
            self.values("map $ssl_preread_protocol $x { TLSv1.2 old; TLSv1.3 new; }", "$x", "a"), [("new",)]
        )
        self.assertIn("new is taken for all !", self.notes())
        self.assertEqual(self.values("map $ssl_preread_protocol $x { '' ssh; }", "$x", "a"), [()])

    def test_set_and_geo(self) -> None:
        """set is worked out before the hello is there; what depends on the client has its usual value."""
        found = self.variables()
        found.texts["s"] = (f"[{PREREAD}]", HERE)
        found.chosen["g"] = ("usual", HERE)
        found.chosen["h"] = ("", HERE)
        cases = found.cases("$s-$g$h", HERE, Scope())
        self.assertEqual(first(cases, "a").value, ("[]-usual",))
        self.assertEqual(
            [note.text for note in found.report.notes],
            [
                "$g: it depends on the client; usual is taken for all",
                "$h: it depends on the client; nothing is taken for all",
            ],
        )
