"""Tests for sniproxy.cli.top.changes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.top.changes import Change, change_of
from sniproxy.cli.top.table import Row


class ChangeTests(SynchronousTestCase):
    """The change of a row."""

    def row(self, state: str) -> Row:
        return Row({"target": "10.0.0.1:6651", "state": state, "connections": 1683.0})

    def test_state(self) -> None:
        """A broker is drained; if it drains already, at one instance at least, that is cancelled."""
        self.assertEqual(Change("10.0.0.1:6651", False, 1683.0), change_of(self.row("up")))
        self.assertTrue(change_of(self.row("draining")).undo)
        self.assertTrue(change_of(self.row("draining, up")).undo)

    def test_question(self) -> None:
        """It names the broker, what happens to its tunnels, and the keys."""
        keys = "y: yes, any other key: no"
        self.assertEqual(f"drain a:1 and close 1,683 tunnels, 10/s? {keys}", Change("a:1", False, 1683.0).question)
        self.assertEqual(f"drain a:1 and close 1 tunnel, 10/s? {keys}", Change("a:1", False, 1.0).question)
        self.assertEqual(f"drain a:1 and close its tunnels, 10/s? {keys}", Change("a:1", False).question)
        self.assertEqual(f"allow new connections to a:1 again? {keys}", Change("a:1", True).question)
