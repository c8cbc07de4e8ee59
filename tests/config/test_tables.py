"""Tests for sniproxy.config.tables."""

from __future__ import annotations

from typing import get_type_hints

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import File
from sniproxy.config.tables import LISTED_TABLES, SINGLE_TABLES


class TableTests(SynchronousTestCase):
    """The kinds of tables."""

    def test_all(self) -> None:
        """Each top-level key of the schema is a table of one kind, C{[resolver.NAME]} or a plain value."""
        plain = {key for key, kind in get_type_hints(File).items() if kind in (int, bool, str)}
        listed = {key for key, kind in get_type_hints(File).items() if str(kind).startswith("list[")}
        self.assertEqual(set(LISTED_TABLES), listed)
        self.assertEqual({*SINGLE_TABLES, "resolver"}, set(File.__struct_fields__) - plain - listed)
