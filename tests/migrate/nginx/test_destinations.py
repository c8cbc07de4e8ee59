"""Tests for where values of proxy_pass lead."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import ANY, NAMELESS, Notes, Place, SourceFile
from sniproxy.migrate.nginx.cases import PORT, SERVER_NAME, Case, Value
from sniproxy.migrate.nginx.destinations import Destination, Destinations, without_repeats
from sniproxy.migrate.nginx.directives import Directive, directives
from sniproxy.migrate.nginx.upstreams import Upstreams

HERE = Place("n.conf")
RESOLVER = Directive("resolver", ["10.0.0.53", "valid=5s", "ipv6=off"], "n.conf", 1)
UPSTREAMS = (
    "upstream one { server 10.0.0.1:1; } upstream a.w { server 10.0.0.2:1; } upstream up-b { least_conn; server h:1; }"
)


class DestinationTests(SynchronousTestCase):
    """Upstreams, addresses and names."""

    def setUp(self) -> None:
        self.report = Notes()
        upstreams = Upstreams(self.report)
        for one in directives(SourceFile("n.conf", UPSTREAMS)):
            upstreams.add(one)
        self.found = Destinations(upstreams, self.report)

    def find(self, *value: str | int, resolver: Directive | None = RESOLVER, pattern: str = ANY) -> Destination:
        return self.found.find(Case(pattern, value, HERE), 443, resolver, variables=True)

    def notes(self) -> str:
        return "\n".join(f"{note.text}{' !' if note.decides else ''}" for note in self.report.notes)

    def test_texts(self) -> None:
        """An upstream in any case, an address, or a name at nginx's name servers."""
        self.assertEqual(self.find(), Destination())
        self.assertEqual(self.find("ONE"), Destination(["10.0.0.1:1"]))
        self.assertEqual(self.find("up-b"), Destination(["h:1"], "least_connections"))
        self.assertEqual(self.find("10.0.0.7:", PORT), Destination(["10.0.0.7:443"]))
        self.assertEqual(self.find("h.test:1"), Destination(resolver="dns"))
        self.assertEqual(
            self.found.dns.tables["dns"], {"type": "dns", "target": "h.test:1", "servers": ["10.0.0.53"], "ipv6": False}
        )
        found = self.found.find(Case(ANY, ("h.test:1",), HERE), 443, RESOLVER, variables=False)
        self.assertEqual(found, Destination(["h.test:1"]))
        self.assertEqual(self.notes(), "")

    def test_refused(self) -> None:
        """What nginx closes is refused; sockets decide."""
        for value in ("nothing", "unix:/x"):
            self.assertEqual(self.find(value), Destination())
        self.assertEqual(
            self.notes(),
            "nothing: no upstream, and no host and port: the names are refused, as by nginx\n"
            "unix:/x: unix sockets are no targets here; the names are refused !",
        )

    def test_names(self) -> None:
        """Targets of the name and of groups, with the ports that clients can form."""
        self.assertEqual(self.find(SERVER_NAME, ":6651", resolver=None), Destination(["{server_name}:6651"]))
        self.assertIn("nginx needs a resolver", self.notes())
        self.assertEqual(self.find("x", 1, ".w:", PORT, pattern="~(.)"), Destination(resolver="dns"))
        self.assertEqual(self.found.dns.tables["dns"]["target"], "x{1}.w:{port}")
        self.assertEqual(self.found.ports, {443, 6651})
        for pattern, text in (
            (ANY, "all other names: it has no port"),
            (NAMELESS, "hellos without a name: it"),
            ("a", "a: it"),
        ):
            self.assertEqual(self.find(SERVER_NAME, pattern=pattern), Destination())
            self.assertIn(text, self.notes())

    def test_upstreams_by_name(self) -> None:
        """Upstreams that the name or a group chooses have cases of their own."""

        def chosen(pattern: str, *value: str | int) -> Sequence[tuple[str, Value]]:
            return [(case.pattern, case.value) for case in self.found.by_name([Case(pattern, value, HERE)])][:-1]

        self.assertEqual(chosen(ANY, SERVER_NAME), [("one", ("one",)), ("a.w", ("a.w",)), ("up-b", ("up-b",))])
        self.assertEqual(chosen("*.w", SERVER_NAME), [("a.w", ("a.w",))])
        self.assertEqual(chosen(ANY, "up-", SERVER_NAME), [("b", ("up-b",))])
        self.assertEqual(chosen(r"~([ab])\.w", "up-", 1), [(r"~(b)\.w", ("up-b",))])
        for value in ((SERVER_NAME, ":1"), (SERVER_NAME, SERVER_NAME), ("a.", PORT), ("nope", SERVER_NAME)):
            self.assertEqual(chosen(ANY, *value), [], value)
        self.assertEqual(chosen("*.w", 1), [])

    def test_without_repeats(self) -> None:
        """Patterns are kept once, and nothing after all names but hellos without one."""
        cases = [Case(pattern, (str(at),), HERE) for at, pattern in enumerate(("a", "a", ANY, "b", NAMELESS, ANY))]
        self.assertEqual([case.value for case in without_repeats(cases)], [("0",), ("2",), ("4",)])
