"""Tests for sniproxy.migrate.ats.records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.records import Record, Records, read_records
from sniproxy.migrate.model import Notes, Place, SourceFile
from sniproxy.migrate.yamlnodes import documents

PORTS = "proxy.config.http.server_ports"


def records(config: str = "", yaml: str = "") -> tuple[Records, Notes]:
    notes = Notes()
    trees = [node for one in documents(SourceFile("r.yaml", yaml)) if (node := one.get("records")) is not None]
    return read_records(trees, [SourceFile("r.config", config)], notes), notes


class ReadRecordsTests(SynchronousTestCase):
    """read_records."""

    def test_config(self) -> None:
        """Lines of records.config; the last of one name counts."""
        found, notes = records(
            f"# c\n\nCONFIG {PORTS} STRING 8080\n  LOCAL {PORTS}\tSTRING\t443:ssl 444:ssl  \nCONFIG a STRING NULL\n"
            "CONFIG b STRING 'x y'\nCONFIG c STRING\nnot a line\nCONFIG d\n"
        )
        self.assertEqual(Record("443:ssl 444:ssl", Place("r.config", 4, PORTS)), found.get("http.server_ports"))
        values = {name: record.value for name, record in found.found.items()}
        self.assertEqual({PORTS: "443:ssl 444:ssl", "a": "", "b": "x y", "c": ""}, values)
        self.assertEqual([8, 9], [note.place.line for note in notes.notes])

    def test_yaml(self) -> None:
        """Mappings are parts of the name; a list is one value."""
        found, _ = records(
            yaml="records:\n  http:\n    server_ports: 443:ssl\n    connect_ports: [443, 6651]\n  a: null\n"
        )
        self.assertEqual(Record("443:ssl", Place("r.yaml", 3, PORTS)), found.get("http.server_ports"))
        self.assertEqual("443 6651", getattr(found.get("http.connect_ports"), "value", None))
        self.assertIsNone(found.get("a", "b"))

    def test_both(self) -> None:
        """A setting in YAML counts more than one in the older form."""
        found, _ = records(f"CONFIG {PORTS} STRING 1", "records: {http: {server_ports: 2}}")
        self.assertEqual("2", getattr(found.get("http.server_ports"), "value", None))

    def test_numbers(self) -> None:
        """Whole numbers, with their units; others are noted."""
        found, notes = records(
            "CONFIG proxy.config.a INT 30\nCONFIG proxy.config.b INT 2k\nCONFIG proxy.config.c INT x\n"
        )
        one, two = found.number("a", notes), found.number("b", notes)
        self.assertEqual((30, 2048), (one and one[0], two and two[0]))
        self.assertIsNone(found.number("none", notes))
        self.assertEqual([], notes.notes)
        self.assertIsNone(found.number("c", notes))
        self.assertIn("'x' is no number", notes.notes[0].text)

    def test_rest(self) -> None:
        """What was not looked up."""
        found, _ = records("CONFIG proxy.config.a INT 1\nCONFIG proxy.config.b INT 2\nCONFIG proxy.local.a INT 3\n")
        found.get("a", "x")
        self.assertEqual(["proxy.config.b", "proxy.local.a"], [name for name, _ in found.rest()])

    @given(st.text("CONFIGLA proxy.\t\nINTSR#1'", max_size=60))
    def test_any(self, text: str) -> None:
        """Any text is read."""
        records(f"CONFIG {text}")
