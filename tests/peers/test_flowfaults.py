"""Tests for tests.peers.flowfaults."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from tests.peers import flowfaults


class FaultTests(SynchronousTestCase):
    """The list of faults."""

    def test_unique(self) -> None:
        """Names and titles are unique, and a title fits into a cell."""
        self.assertEqual(len(flowfaults.ALL), len({fault.name for fault in flowfaults.ALL}))
        self.assertEqual(len(flowfaults.ALL), len({fault.title for fault in flowfaults.ALL}))
        self.assertEqual([], [fault.title for fault in flowfaults.ALL if "|" in fault.title])

    def test_find(self) -> None:
        """A fault is found by its name; an error lists those that exist."""
        self.assertEqual("send-drop", flowfaults.find("send-drop").name)
        error = self.assertRaises(ValueError, flowfaults.find, "nothing")
        self.assertIn("send-drop", str(error))

    def test_configurations(self) -> None:
        """Each is a configuration of the proxy whose first fault is this one, and the others keep clients on it."""
        for fault in flowfaults.ALL:
            text = flowfaults.configuration(fault, (10001, 10002), ("127.0.0.1", 6650), Path("/tmp/access"))
            first, *others = parse(text, "flow.toml").faults
            others = others[-2:]
            self.assertEqual("fault", first.name)
            self.assertIn(f'action = "{first.action}"', fault.keys)
            self.assertNotIn("{", text)
            urls = [(other.listener, other.action, other.url) for other in others]
            expected = [(f"port-{port}", "redirect", f"pulsar://127.0.0.1:{port}") for port in (10001, 10002)]
            self.assertEqual(expected, urls)

    def test_long(self) -> None:
        """Runs that wait for the keep-alive are known to last."""
        found = [fault.name for fault in flowfaults.ALL if fault.long]
        self.assertEqual(["receipt-stop", "pong-drop", "pong-drop-no-ping"], found)
