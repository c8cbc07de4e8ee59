"""The benchmark of the inspector."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.inspector import DOCUMENT, alone
from bench.table import replaced


class InspectorBenchTests(SynchronousTestCase):
    """Its tables."""

    def test_alone(self) -> None:
        """Each stream has a row."""
        table = alone(1, 0.0, 200_000).splitlines()
        self.assertEqual(len(table), 2 + 5)
        self.assertIn("SEND_RECEIPT", table[5])

    def test_place(self) -> None:
        """The document has a place for the tables."""
        self.assertIn("new", replaced(DOCUMENT.read_text(), "inspector", "new\n"))
