"""Tests for sniproxy.migrate.ats.ports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.ats.entries import Entry
from sniproxy.migrate.ats.ports import DEFAULT_PORT, Port, read_ports
from sniproxy.migrate.ats.records import read_records
from sniproxy.migrate.model import Kind, Note, Notes, Place, SourceFile
from sniproxy.net.endpoints import parse_endpoint


def ports(text: str, more: str = "", *entries: Entry) -> tuple[list[Port], list[Note]]:
    """The listeners of C{server_ports}, and the notes."""
    line = f"CONFIG proxy.config.http.server_ports STRING {text}\n" if text else ""
    notes = Notes()
    records = read_records([], [SourceFile("records.config", line + more)], notes)
    return read_ports(records, True, entries, notes), notes.notes


def tables(text: str, more: str = "") -> list[ListenerTable]:
    return [port.table for port in ports(text, more)[0]]


class ReadPortsTests(SynchronousTestCase):
    """read_ports."""

    def test_endpoints(self) -> None:
        """Port, address and family of a descriptor, in any case and order."""
        for text, endpoint in (
            ("4443:ssl", "tcp:4443"),
            ("SSL:4443:IPv4", "tcp:4443"),
            ("443:ssl:ipv6", "tcp6:443"),
            ("443:ssl:ip-in=192.0.2.1", "tcp:443:interface=192.0.2.1"),
            ("443:ip-in192.0.2.1:ssl", "tcp:443:interface=192.0.2.1"),
            ("443:ssl:ip-in=[2001:db8::1]:ipv6", r"tcp6:443:interface=2001\:db8\:\:1"),
            ("443:ssl:proto=http:ip-resolve=ipv4", "tcp:443"),
            ("/run/ats.sock:ssl", "unix:/run/ats.sock"),
        ):
            found, notes = ports(text)
            self.assertEqual([ListenerTable(endpoint=endpoint)], [port.table for port in found], text)
            self.assertEqual([Kind.TAKEN], [note.kind for note in notes], text)
            parse_endpoint(endpoint)

    def test_several(self) -> None:
        """Several listeners have names; the same one is made once."""
        found = tables("443:ssl, 443:ssl:ipv6 8443:ssl 443:ssl /run/x:ssl")
        self.assertEqual(
            [("tcp6:443", "port-443"), ("tcp:8443", "port-8443"), ("tcp:443", "port-443-2"), ("unix:/run/x", "unix")],
            [(table.endpoint, table.name) for table in found],
        )

    def test_not_routed(self) -> None:
        """Ports without TLS, and with QUIC, are left out; without any other, nothing is routed."""
        found, notes = ports("4080 443:quic 80:blind")
        self.assertEqual([], found)
        self.assertEqual([False, False, False, True], [note.decides for note in notes])
        self.assertIn("QUIC", notes[1].text)

    def test_options(self) -> None:
        """Options without a counterpart are left out."""
        for text, said in (
            ("443:ssl:tr-full", "target_source"),
            ("443:ssl:ip-out=192.0.2.1", "own address"),
            ("443:ssl:mptcp", "TCP only"),
            ("443:ssl:bogus", "unknown option"),
            ("/run/x:ssl:uds-perm=660", "unix:/path:mode=660"),
        ):
            found, notes = ports(text)
            self.assertEqual(1, len(found))
            self.assertEqual([said], [said for note in notes if note.kind == Kind.LEFT_OUT and said in note.text], text)

    def test_wrong(self) -> None:
        """A descriptor without a port or with a wrong address is left out."""
        for text in ("ssl", "0:ssl", "70000:ssl", "4x:ssl", "443:ssl:ip-in=x", "443:ssl:ip-in=[::1"):
            found, notes = ports(text)
            if text.endswith("[::1"):  # the bracket may be missing
                continue
            self.assertEqual([], found, text)
            self.assertTrue(any(note.decides for note in notes), text)

    def test_headers(self) -> None:
        """pp: headers of the listed senders are believed; without a list, everyone's."""
        allowed = "CONFIG proxy.config.http.proxy_protocol_allowlist STRING 10.0.0.0/8,192.0.2.1-192.0.2.2\n"
        (table,) = tables("443:ssl:pp", allowed)
        self.assertEqual(
            ("optional", ["10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32"]),
            (table.proxy_protocol, table.proxy_protocol_from),
        )
        (table,) = tables("443:ssl:pp", allowed.replace("allowlist", "whitelist"))
        self.assertEqual(3, len(table.proxy_protocol_from))
        found, notes = ports("443:ssl:pp 444:ssl")
        self.assertEqual(["0.0.0.0/0", "::/0"], found[0].table.proxy_protocol_from)
        self.assertEqual((None, []), (found[1].table.proxy_protocol, found[1].table.proxy_protocol_from))
        self.assertEqual([Kind.DIFFERENT], [note.kind for note in notes if "believes everyone" in note.text])
        found, notes = ports("443:ssl:pp", allowed.replace("10.0.0.0/8", "x"))
        self.assertEqual(["127.0.0.1/32"], found[0].table.proxy_protocol_from)
        self.assertTrue(any(note.decides for note in notes))

    def test_no_records(self) -> None:
        """Without server_ports: PIP-60's port, or the ports that entries name."""
        place = Place("sni.yaml")
        for entries, numbers in (
            ((), [DEFAULT_PORT]),
            ((Entry("a", place),), [DEFAULT_PORT]),
            ((Entry("a", place, [(443, 443), (8080, 8081)]), Entry("b", place, [(443, 444)])), [443, 444, 8080, 8081]),
            ((Entry("a", place, [(1, 65534)]),), [DEFAULT_PORT]),
        ):
            found, notes = ports("", "", *entries)
            self.assertEqual(numbers, [port.number for port in found])
            self.assertEqual([Kind.DIFFERENT], [note.kind for note in notes])
            self.assertEqual(entries[:1] == (Entry("a", place, [(1, 65534)]),), notes[0].decides)
        self.assertEqual("", ports("")[0][0].name)

    @given(st.text("0123456789:[]=ip-nsl v6,/.", max_size=40))
    def test_any(self, text: str) -> None:
        """Any text gives listeners with valid endpoints."""
        for port in ports(f"x{text} ssl:{text}")[0]:
            parse_endpoint(port.table.endpoint)
