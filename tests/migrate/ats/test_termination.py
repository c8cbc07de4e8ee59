"""Tests for sniproxy.migrate.ats.termination."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.ats.entries import PARTIAL, TUNNEL, Entry
from sniproxy.migrate.ats.files import sort_files
from sniproxy.migrate.ats.ports import Port
from sniproxy.migrate.ats.records import read_records
from sniproxy.migrate.ats.termination import SYSTEM_TRUST, end_tls, has_certificates
from sniproxy.migrate.model import Notes, Place, SourceFile

PLACE = Place("x")
PORTS = [Port(PLACE, number, ListenerTable(endpoint=f"tcp:{number}", name=f"port-{number}")) for number in (443, 444)]
ONE = "# c\ndest_ip=* ssl_cert_name=a.pem\n"


def ended(
    certificates: str, *entries: Entry, records: str = "", name: str = "c.config"
) -> tuple[list[ListenerTable], Notes]:
    """The listeners, and the notes."""
    notes = Notes()
    files = sort_files([SourceFile(name, certificates)])
    found = end_tls(PORTS, entries, files, read_records([], [SourceFile("r.config", records)], notes), notes)
    return [port.table for port in found], notes


class EndTLSTests(SynchronousTestCase):
    """end_tls."""

    def test_ends(self) -> None:
        """A listener ends TLS if all its routes do; others and entries without routes do not count."""
        partial = Entry("a", PLACE, route=PARTIAL)
        for entries, ends in (
            ([partial], [True, True]),
            ([partial, Entry("b", PLACE)], [True, True]),
            ([partial, Entry("b", PLACE, [(444, 444)], TUNNEL)], [True, False]),
            ([partial, Entry("b", PLACE, route=TUNNEL)], [False, False]),
            ([Entry("a", PLACE, [(443, 443)], PARTIAL)], [True, False]),
            ([Entry("b", PLACE, route=TUNNEL)], [False, False]),
        ):
            found, _ = ended(ONE, *entries)
            self.assertEqual(ends, [table.certificates is not None for table in found])

    def test_certificates(self) -> None:
        """One certificate is a file; several are their folder. Keys of their own are noted."""
        partial = Entry("a", PLACE, route=PARTIAL)
        folder = "CONFIG proxy.config.ssl.server.cert.path STRING /etc/ats/\n"
        for text, records, certificates, keys in (
            (ONE, "", "a.pem", 0),
            (ONE, folder, "/etc/ats/a.pem", 0),
            ("ssl_cert_name='/x/a.pem' ssl_key_name=\"a.key\"", folder, "/x/a.pem", 1),
            ("ssl_cert_name=a.pem,b.pem", folder, "/etc/ats", 0),
            ("ssl_cert_name=a.pem\nssl_cert_name=b.pem ssl_key_name=b.key", "", ".", 1),
        ):
            (table, _), notes = ended(text, partial, records=records)
            self.assertEqual((certificates, SYSTEM_TRUST), (table.certificates, table.upstream_trust), text)
            self.assertEqual(keys, sum("the key" in note.text for note in notes.notes))

    def test_yaml(self) -> None:
        """ssl_multicert.yaml, and the authorities of records."""
        text = "ssl_multicert:\n- ssl_cert_name: a.pem\n- action: tunnel\n"
        trust = "CONFIG proxy.config.ssl.client.CA.cert.filename STRING ca.pem\n"
        path = "CONFIG proxy.config.ssl.client.CA.cert.path STRING /etc/ca\n"
        for records, upstream in ((trust, "ca.pem"), (trust + path, "/etc/ca/ca.pem")):
            (table, _), _ = ended(text, Entry("a", PLACE, route=PARTIAL), records=records, name="ssl_multicert.yaml")
            self.assertEqual(("a.pem", upstream), (table.certificates, table.upstream_trust))

    def test_none(self) -> None:
        """Without a certificate no listener ends TLS."""
        found, notes = ended("dest_ip=*", Entry("a", PLACE, route=PARTIAL))
        self.assertEqual([None, None], [table.certificates for table in found])
        self.assertEqual([], notes.notes)
        for text, has in ((ONE, True), ("# ssl_cert_name=a", False)):
            self.assertEqual(has, has_certificates(sort_files([SourceFile("ssl_multicert.config", text)])))
