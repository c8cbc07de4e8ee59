"""Tests for tables of the dns resolver."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.dnstables import DnsTables


class DnsTablesTests(SynchronousTestCase):
    """Names of tables."""

    def test_one_table_for_one_target(self) -> None:
        """Targets with the same servers share a table; others have one of their own."""
        tables = DnsTables()
        self.assertEqual(tables.name("a:1", ["10.0.0.53"]), "dns")
        self.assertEqual(tables.name("b:1", ["10.0.0.53"], ["ipv6"]), "dns-2")
        self.assertEqual(tables.name("a:1", ["10.0.0.53"]), "dns")
        self.assertEqual(
            tables.tables["dns-2"], {"type": "dns", "target": "b:1", "servers": ["10.0.0.53"], "ipv6": False}
        )
