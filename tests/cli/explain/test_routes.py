"""Tests for sniproxy.cli.explain.routes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.routes import MAX_OTHERS, RouteChoice, RouteChooser, client_notes, shared_names
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse

LISTENERS = (
    '[[listener]]\nname = "one"\nendpoint = "tcp:1"\n[[listener]]\nname = "two"\nendpoint = "tcp:2"\n'
    '[[listener]]\nname = "plain"\nendpoint = "tcp:3:interface=127.0.0.1"\nplaintext = true\ntarget = "t"\n'
)


def configuration(*names: str, more: str = "") -> Configuration:
    """Routes of these names; ``name@listener`` is for one listener."""
    text = LISTENERS
    for number, name in enumerate(names):
        pattern, at, listener = name.partition("@")
        text += f"[[route]]\nserver_name = '{pattern}'\ntarget = \"10.0.0.{number}\"\n"
        text += f'listener = "{listener}"\n' if at else ""
    return parse(text + more, "x.toml")


DEFAULTS = '[default]\ntarget = "d"\n[no_server_name]\ntarget = "n"\n'


class ChoiceTests(SynchronousTestCase):
    """The chosen route, and why not the others."""

    def choose(self, given: Configuration, name: str | None, listener: str = "one") -> RouteChoice:
        (found,) = (each for each in given.listeners if each.name == listener)
        return RouteChooser(given).choose(name, found)

    def test_nameless(self) -> None:
        """A hello without a name takes the listener's own route, then [no_server_name]."""
        for more, expected in (("", None), (DEFAULTS, "no_server_name")):
            given = configuration("a.test", "@one", more=more)
            found = [self.choose(given, None, listener).route for listener in ("one", "two")]
            self.assertEqual(["", expected], [route and route.server_name for route in found])
            self.assertEqual("(no server name) (on one)", found[0].title if found[0] else "")
            self.assertNotIn("(no server name)", str(self.choose(given, "x.test").others))
            notes = list(client_notes(given, "nodot", {}, frozenset(), False))
            self.assertTrue(any("use [no_server_name]" in note for note in notes), notes)

    def test_taken(self) -> None:
        """Each kind of route has its reason."""
        given = configuration("a.test", "*.test", "*.b.test", "~.*[.]c", "~d.*", more=DEFAULTS)
        for name, route, why in (
            ("a.test", "a.test", "exact match"),
            ("x.b.test", "*.b.test", "this is the longest matching wildcard"),
            ("d.c", "~.*[.]c", "this is the first matching expression"),
            ("other", "default", "no route matches this name"),
            (None, "no_server_name", "the ClientHello has no server name"),
        ):
            choice = self.choose(given, name)
            assert choice.route is not None
            self.assertEqual(route, choice.route.server_name)
            self.assertIn(why, choice.why)

    def test_not_taken(self) -> None:
        """Each other route that matches or nearly matches has a reason."""
        given = configuration(
            *("a.b.test", "*.b.test", "*.test", "*.a.b.test", "~a[.]b[.]test", "~.*", "z.test", "a.b.test@two"),
            more=DEFAULTS,
        )
        others = dict(self.choose(given, "a.b.test").others)
        exact = "an exact match takes precedence"
        self.assertEqual(
            {
                "*.b.test": exact,
                "*.test": exact,
                "*.a.b.test": "a wildcard matches names below a.b.test, not a.b.test itself",
                "~a[.]b[.]test": exact,
                "~.*": exact,
                "a.b.test (on two)": "only for listener two",
                "[default]": "used only if no route matches",
            },
            others,
        )
        others = dict(self.choose(given, "c.b.test").others)
        self.assertEqual("a longer wildcard takes precedence", others["*.test"])
        self.assertEqual("wildcards take precedence over expressions", others["~.*"])
        self.assertEqual(
            "shadowed by the route of listener two with the same name",
            dict(self.choose(given, "a.b.test", "two").others)["a.b.test"],
        )
        given = configuration("~a.*", "~.*a")
        self.assertEqual(
            "an earlier expression in the file matches",
            dict(self.choose(given, "aa").others)["~.*a"],
        )

    def test_none(self) -> None:
        """Without a route: the reason and the closest name; the parent of a wildcard names the wildcard."""
        given = configuration("broker-1.eu.test", "*.us.test", "10.0.0.9")
        choice = self.choose(given, "broker-l.eu.test")
        self.assertIsNone(choice.route)
        self.assertIn("the closest is broker-1.eu.test", choice.why)
        choice = self.choose(given, "us.test")
        self.assertEqual((("*.us.test", "a wildcard matches names below us.test, not us.test itself"),), choice.others)
        self.assertIn("no [no_server_name]", self.choose(given, None).why)
        self.assertIn("no route has this name", self.choose(configuration("a.test@two"), "a.test").why)

    def test_address(self) -> None:
        """An IP address matches only an exact route."""
        given = configuration("10.0.0.9", "~.*", more=DEFAULTS)
        self.assertEqual("exact match", self.choose(given, "10.0.0.9").why)
        choice = self.choose(given, "10.0.0.8")
        self.assertIsNone(choice.route)
        self.assertEqual(
            {
                "~.*": "an IP address matches only a route with exactly this address",
                "[default]": "never used for IP addresses",
            },
            dict(choice.others),
        )

    def test_plaintext(self) -> None:
        """A plaintext listener has one target for all connections."""
        choice = self.choose(configuration("a.test"), "a.test", "plain")
        assert choice.route is not None
        self.assertEqual("plaintext", choice.route.server_name)

    def test_bounded(self) -> None:
        """The number of other routes is bounded."""
        given = configuration("a.test", *(f"~a[.](test|{number})" for number in range(MAX_OTHERS + 5)))
        self.assertEqual(MAX_OTHERS, len(self.choose(given, "a.test").others))


class NoteTests(SynchronousTestCase):
    """Notes on clients."""

    def notes(self, name: str | None, *own: str, more: str = "", certificates: bool = False) -> str:
        led = {"vip.test": frozenset({"a:1", "b:1"}), "b.test": frozenset({"a:1"})}
        return "\n".join(client_notes(configuration(more=more), name, led, frozenset(own), certificates))

    def test_java(self) -> None:
        """Java sends no server name for a name without a dot or an IP address; the note has the consequence."""
        self.assertIn("Java sends no server name for a name without a dot", self.notes("b1"))
        self.assertIn("these connections are refused", self.notes("b1"))
        self.assertIn("these connections use [no_server_name]", self.notes("b1", more=DEFAULTS))
        self.assertIn("for an IP address", self.notes("10.0.0.1"))
        self.assertIn("refuses a service URL with '_'", self.notes("b_1.test"))

    def test_internal_listener(self) -> None:
        """Names that Java does not send may come from a broker's internal listener; other names do not."""
        for name in (None, "10.0.0.1", "b1"):
            self.assertIn("advertise them by dotted names", self.notes(name))
        self.assertNotIn("internal", self.notes("b.test"))

    def test_go(self) -> None:
        """Go may pin the service name, if another name leads to this broker and to others."""
        self.assertIn("such as vip.test", self.notes("b.test", "a:1"))
        for name, *own in (("vip.test", "a:1", "b:1"), ("c.test", "c:1"), ("nobody.test",), ("10.0.0.1", "a:1")):
            self.assertNotIn("Go with", self.notes(name, *own))

    def test_cpp(self) -> None:
        """C++ verifies the name of the proxy: the note is shown only if certificates were checked."""
        self.assertIn("C++ in proxy mode", self.notes("b.test", "a:1", certificates=True))
        self.assertNotIn("C++", self.notes("b.test", "a:1"))
        self.assertNotIn("C++", self.notes("10.0.0.1", "a:1", certificates=True))

    def test_shared_names(self) -> None:
        """Other names that lead to the same broker."""
        led = {"vip.test": frozenset({"a:1", "b:1"}), "a.test": frozenset({"a:1"}), "c.test": frozenset[str]()}
        self.assertEqual(("vip.test",), shared_names(led, "a.test", "a:1"))
        self.assertEqual(("a.test",), shared_names(led, "vip.test", "a:1"))
        self.assertEqual((), shared_names(led, "vip.test", "b:1"))
