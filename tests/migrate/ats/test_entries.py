"""Tests for sniproxy.migrate.ats.entries."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.entries import ALL_PORTS, Entry, read_entries
from sniproxy.migrate.model import Notes, Place, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents


def entries(text: str) -> tuple[list[Entry], list[str]]:
    """The entries, and the notes."""
    notes = Notes()
    (node,) = documents(SourceFile("sni.yaml", text))
    found = read_entries(node, notes)
    return found, [f"{note.place}: {note.text}" for note in notes.notes]


class ReadEntriesTests(SynchronousTestCase):
    """read_entries."""

    def test_entry(self) -> None:
        """Name, ports, destination, other keys; with lines."""
        (entry,), notes = entries(
            "- fqdn: 'A.test'\n  inbound_port_ranges: [443, 8080-8090]\n  tunnel_route: b:1\n  http2: off\n"
        )
        self.assertEqual(("A.test", Place("sni.yaml", 1, "fqdn")), (entry.fqdn, entry.place))
        self.assertEqual([(443, 443), (8080, 8090)], entry.ports)
        self.assertEqual(("tunnel_route", "b:1", "false"), (entry.route, entry.destination, entry.text("http2")))
        self.assertEqual(Place("sni.yaml", 4, "http2"), entry.place_of("http2"))
        self.assertEqual(("", entry.place), (entry.text("quic"), entry.place_of("quic")))
        self.assertEqual([], notes)

    def test_has_port(self) -> None:
        """By default an entry is for all ports; a unix socket has none."""
        (one, two), _ = entries("- fqdn: ''\n- fqdn: b\n  inbound_port_ranges: 8080-8090\n")
        self.assertEqual(ALL_PORTS, one.ports)
        self.assertEqual([True, True, True], [one.has_port(port) for port in (1, 65535, None)])
        found = [two.has_port(port) for port in (8079, 8080, 8090, 8091, None)]
        self.assertEqual([False, True, True, False, True], found)

    def test_routes(self) -> None:
        """Of several routes the first kind counts; an empty one is none."""
        for keys, route, noted in (
            ("tunnel_route: a, forward_route: b", "tunnel_route", ["sni.yaml:1 forward_route"]),
            ("partial_blind_route: c, forward_route: b", "forward_route", ["sni.yaml:1 partial_blind_route"]),
            ("partial_blind_route: c", "partial_blind_route", []),
            ("tunnel_route: ''", "", []),
            ("http2: on", "", []),
        ):
            (entry,), notes = entries(f"- {{fqdn: x, {keys}}}\n")
            self.assertEqual((route, noted), (entry.route, [note.partition(": ")[0] for note in notes]))
            self.assertNotIn(entry.route, entry.keys)

    def test_errors(self) -> None:
        """What Traffic Server would not read is left out."""
        for text, said in (
            ("sni: 1", "no list of entries"),
            ("- tunnel_route: b:1\n", "no fqdn"),
            ("- fqdn:\n", "no fqdn"),
            ("- fqdn: [a]\n", "no fqdn"),
            ("- text\n", "no fqdn"),
            *((f"- fqdn: a\n  inbound_port_ranges: {ports}\n", "is no port") for ports in (
                "0-1", "1-x", "3-", "65535-65536", "8080-433", "-1", "1.5", "[1, [2]]", "true",
            )),
        ):  # fmt: skip
            found, notes = entries(text)
            self.assertEqual([], found, text)
            self.assertEqual(1, len(notes), text)
            self.assertIn(said, notes[0])

    def test_number(self) -> None:
        """A name that YAML reads as a number stays a name."""
        self.assertEqual("1", entries("- fqdn: 1\n")[0][0].fqdn)
        self.assertEqual([], read_entries(YamlNode([], Place("x")), Notes()))
