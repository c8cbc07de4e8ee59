"""Tests for sniproxy.config.inspectlog."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.inspectlog import InspectLog, make_inspect_log
from sniproxy.config.schema import InspectLogTable
from sniproxy.interfaces import BadValue


class InspectLogTests(SynchronousTestCase):
    """make_inspect_log."""

    def test_all(self) -> None:
        """All keys are read; only the path is required."""
        table = InspectLogTable("e", True, ["a/*"], ["send"])
        self.assertEqual(InspectLog("dir/e", True, ("a/*",), ("send",)), make_inspect_log(table, "dir/e"))
        self.assertEqual(InspectLog("e"), make_inspect_log(InspectLogTable("e"), "e"))

    def test_no_such_command(self) -> None:
        """The error for an unknown command suggests a similar one."""
        error = self.assertRaises(BadValue, make_inspect_log, InspectLogTable("e", commands=["LOOK_UP"]), "e")
        self.assertEqual(("commands", ["LOOK_UP"]), (error.key, error.value))
        self.assertIn("did you mean LOOKUP?", str(error))
