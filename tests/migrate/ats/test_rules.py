"""Tests for sniproxy.migrate.ats.rules."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.ats.entries import read_entries
from sniproxy.migrate.ats.files import Files
from sniproxy.migrate.ats.ports import Port
from sniproxy.migrate.ats.rules import RuleMaker, listed
from sniproxy.migrate.model import ANY, NAMELESS, Kind, Note, Notes, Place, Rule, SourceFile
from sniproxy.migrate.yamlnodes import documents

PLACE = Place("r")
ONE = [Port(PLACE, 443, ListenerTable(endpoint="tcp:443"))]
TWO = [Port(PLACE, number, ListenerTable(endpoint=f"tcp:{number}", name=f"p{number}")) for number in (443, 444)]
HEADERS = [Port(PLACE, 443, ListenerTable(endpoint="tcp:443", name="p443", proxy_protocol="optional")), TWO[1]]
LISTS = Files(others=[SourceFile("etc/ips.txt", "10.0.0.0/8\n# c\n192.0.2.1, 192.0.2.2\n")])


def made(
    text: str, ports: Sequence[Port] = ONE, ending: Sequence[str] = (), has_certificates: bool = True
) -> tuple[list[Rule], list[Note]]:
    """The rules of a list of entries, and the notes."""
    notes = Notes()
    (node,) = documents(SourceFile("sni.yaml", text))
    maker = RuleMaker(ports, LISTS, frozenset(ending), has_certificates, notes)
    return list(listed(maker.make(read_entries(node, notes)))), notes.notes


def shape(rules: Sequence[Rule]) -> list[tuple[str, str | None, str | None]]:
    """Pattern, listener and target of rules."""
    return [(rule.pattern, rule.listener, rule.targets[0] if rule.targets else None) for rule in rules]


class PatternTests(SynchronousTestCase):
    """Patterns of names."""

    def test_patterns(self) -> None:
        """Names, wildcards, all names, no name, and expressions."""
        for fqdn, patterns in (
            ("A.test", ["A.test"]),
            ("10.0.0.7", ["10.0.0.7"]),
            ("'2001:db8::7'", ["2001:db8::7"]),
            ("*.a.b.test", ["*.a.b.test"]),
            ("'*'", [ANY, NAMELESS]),
            ("''", [NAMELESS]),
            ("a*.b.test", [r"~a(.*)\.b\.test"]),
            ("a.*.test", [r"~a\.(.*)\.test"]),
            ("'*.*.test'", [r"~(.*)\.(.*)\.test"]),
            ("b[0-9]+.test", [r"~b[0-9]+\.test"]),
            ("'b(.test'", [r"~b(\.test"]),
        ):
            rules, _ = made(f"- fqdn: {fqdn if fqdn[0] != '*' else repr(fqdn)}\n  tunnel_route: b:1\n")
            self.assertEqual(patterns, [rule.pattern for rule in rules], fqdn)

    def test_captures(self) -> None:
        """The star of all names is the whole name; a hello without a name has none."""
        rules, _ = made("- fqdn: '*'\n  tunnel_route: $1.b:1\n")
        self.assertEqual([(ANY, None, "{server_name}.b:1"), (NAMELESS, None, None)], shape(rules))
        rules, _ = made("- fqdn: '*.x'\n  tunnel_route: $1.b:1\n")
        self.assertEqual([("*.x", None, "{1}.b:1")], shape(rules))
        rules, _ = made("- fqdn: 'x(a)*y'\n  tunnel_route: $2.$1.b:1\n")
        self.assertEqual([("~x(a)(.*)y", None, "{2}.{1}.b:1")], shape(rules))


class RefusalTests(SynchronousTestCase):
    """Entries that lead nowhere here."""

    def test_kept(self) -> None:
        """A refusal stays if it keeps names from a later rule, and only then."""
        route = "  tunnel_route: b:1\n"
        for first, later, kept in (
            ("a.x", "'*.x'", True), ("a.x", "'*'", True), ("A.X", "a.x", True), ("a.x", "b.x", False),
            ("a.x", "'*.y'", False), ("'*.x'", "a.x", True), ("'*.x'", "a.y", False), ("'*.x'", "'*.y'", True),
            ("''", "'*'", True), ("'*'", "a.x", True), ("'*'", "''", True),
            ("''", "a", False), ("a.x", "'[a]*.x'", True), ("'[a]*.x'", "a.x", True),
            ("'(*.x'", "a.x", False), ("a.x", "''", False),
        ):  # fmt: skip
            rules, notes = made(f"- fqdn: {first}\n  http2: off\n- fqdn: {later}\n{route}")
            self.assertEqual(kept, not rules[0].targets, (first, later))
            self.assertTrue(any("ends TLS itself" in note.text for note in notes))
        self.assertEqual([], made("- fqdn: a.x\n- fqdn: '*.x'\n")[0])

    def test_destinations(self) -> None:
        """What has no counterpart is refused, and reported."""
        end = "\n- fqdn: '*.test'\n  tunnel_route: b:1\n"
        for keys, decides in (
            ("forward_route: b:1", True),
            ("partial_blind_route: b:1", True),
            ("tunnel_route: $1.b:1", False),
            ("tunnel_route: b:x", True),
            ("{tunnel_route: b:1, ip_allow: '@none.txt'}", True),
            ("{tunnel_route: b:1, ip_allow: '10.0.0.0/8,x'}", True),
        ):
            rules, notes = made(f"- {{fqdn: a.test, {keys.strip('{}')}}}{end}")
            self.assertEqual([("a.test", None, None), ("*.test", None, "b:1")], shape(rules), keys)
            (note,) = [note for note in notes if note.kind == Kind.LEFT_OUT]
            self.assertEqual(decides, note.decides, note)
            self.assertIn("efused here", note.text)

    def test_no_certificate(self) -> None:
        """The report says whether a certificate is missing, or a listener."""
        text = "- fqdn: a.test\n  partial_blind_route: b:1\n"
        for has, said in ((True, "[[listener]] of their own"), (False, "ssl_multicert.config")):
            _, (note,) = made(text, has_certificates=has)
            self.assertIn(said, note.text)


class PortTests(SynchronousTestCase):
    """Listeners of rules."""

    def test_ports(self) -> None:
        """An entry for some ports has a rule for each listener there; one for no listener is noted."""
        rules, notes = made(
            "- fqdn: a\n  tunnel_route: b:1\n- fqdn: b\n  inbound_port_ranges: 443\n  tunnel_route: b:2\n"
            "- fqdn: c\n  inbound_port_ranges: 1-65535\n  tunnel_route: b:3\n"
            "- fqdn: d\n  inbound_port_ranges: 1\n  tunnel_route: b:4\n",
            TWO,
        )
        self.assertEqual([("a", None, "b:1"), ("b", "p443", "b:2"), ("c", None, "b:3")], shape(rules))
        self.assertTrue(any("no listener has one of its ports" in note.text for note in notes))

    def test_partial(self) -> None:
        """partial_blind_route is for listeners that end TLS, and refused on others."""
        text = "- fqdn: a\n  partial_blind_route: b:1\n- fqdn: '*'\n  tunnel_route: c:1\n"
        rules, _ = made(text, TWO, ["p443"])
        self.assertEqual([("a", "p443", "b:1"), ("a", "p444", None)], shape(rules)[:2])
        rules, notes = made(text, TWO, ["p443", "p444"])
        self.assertEqual(("a", None, "b:1"), shape(rules)[0])
        self.assertFalse(any(note.decides for note in notes))

    def test_header_port(self) -> None:
        """The header's port where headers are read; elsewhere it is the listener's, as in Traffic Server."""
        text = "- fqdn: a\n  tunnel_route: b:{proxy_protocol_port}\n"
        rules, _ = made(text, HEADERS[:1])
        self.assertEqual([("a", None, "b:{proxy_protocol_port}")], shape(rules))
        rules, _ = made(text, HEADERS)
        self.assertEqual([("a", "p443", "b:{proxy_protocol_port}"), ("a", "p444", "b:{port}")], shape(rules))
        rules, notes = made(text, TWO)
        self.assertEqual([("a", None, "b:{port}")], shape(rules))
        self.assertTrue(any("no port has pp" in note.text for note in notes))


class ClientTests(SynchronousTestCase):
    """ip_allow."""

    def test_clients(self) -> None:
        """Lists, files of lists, and empty ones."""
        for value, found in (
            ("10.0.0.0/8", ["10.0.0.0/8"]),
            ("'@ips.txt'", ["10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32"]),
            ("[10.0.0.0/8, 192.0.2.1]", ["10.0.0.0/8", "192.0.2.1/32"]),
            ("''", None),
        ):
            (rule,), _ = made(f"- fqdn: a\n  tunnel_route: b:1\n  ip_allow: {value}\n")
            self.assertEqual(found, rule.only_from)

    def test_headers(self) -> None:
        """With PROXY protocol headers the client is another one."""
        _, notes = made("- fqdn: a\n  tunnel_route: b:1\n  ip_allow: 10.0.0.0/8\n", HEADERS)
        self.assertTrue(any("believed PROXY protocol header" in note.text for note in notes))


class KeyTests(SynchronousTestCase):
    """Other keys are reported, each with its line."""

    def test_keys(self) -> None:
        """What they are about."""
        keys = "  http2: off\n  verify_client: STRICT\n  tunnel_prewarm: true\n  bogus: 1\n"
        for route, said in (
            ("tunnel_route", ["unknown", "about HTTP", "no effect", "no effect"]),
            ("partial_blind_route", ["unknown", "about HTTP", "not here", "no certificate"]),
            ("forward_route", ["unknown", "about HTTP", "that Traffic Server ends", "that Traffic Server ends"]),
        ):
            _, notes = made(f"- fqdn: a\n{keys}  {route}: b:1\n", ending=[""])
            found = {note.place.key: note for note in notes if note.place.key in keys}
            self.assertEqual({"bogus": 5, "http2": 2, "tunnel_prewarm": 4, "verify_client": 3}, {
                key: note.place.line for key, note in found.items()
            })  # fmt: skip
            for text, key in zip(said, sorted(found), strict=True):
                self.assertIn(text, found[key].text)
            self.assertEqual(route == "partial_blind_route", found["verify_client"].decides)
        _, notes = made("- fqdn: a\n  verify_client: none\n  partial_blind_route: b:1\n", ending=[""])
        self.assertFalse(any(note.decides for note in notes))
