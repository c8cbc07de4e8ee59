"""Tests for sniproxy.config.diagnostics.repair."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.repair import repair


class RepairTests(SynchronousTestCase):
    """repair: replaces a faulty value."""

    def test_optional(self) -> None:
        """A key with a default is removed; of a list, only the faulty item."""
        data: dict[str, Any] = {"timeouts": {"idle": "x", "hello": 1}, "policy": {"allow_ports": [0, 1]}}
        self.assertTrue(repair(data, ("timeouts", "idle"), "x", None, 1))
        self.assertTrue(repair(data, ("policy", "allow_ports"), 0, None, 1))
        self.assertEqual({"timeouts": {"hello": 1}, "policy": {"allow_ports": [1]}}, data)

    def test_needed(self) -> None:
        """A required key gets a value that is unique; a listener keeps its name, which routes may use."""
        data: dict[str, Any] = {"listener": [{"endpoint": "4443"}], "route": [{"server_name": "a b"}, 7]}
        self.assertTrue(repair(data, ("listener", 0, "endpoint"), "4443", None, 1))
        self.assertEqual("4443", data["listener"][0]["name"])
        self.assertTrue(repair(data, ("route", 0, "server_name"), "a b", None, 2))
        self.assertTrue(repair(data, ("route", 1), 7, None, 3))
        self.assertNotEqual(data["route"][0]["server_name"], data["route"][1]["server_name"])

    def test_unknown(self) -> None:
        """A misspelt key is renamed; a key that resembles no other is removed."""
        data: dict[str, Any] = {"route": [{"servername": "a", "x": 1}]}
        repair(data, ("route", 0, "servername"), None, "server_name", 1)
        repair(data, ("route", 0, "x"), None, "", 1)
        self.assertEqual([{"server_name": "a"}], data["route"])

    def test_nothing(self) -> None:
        """For a missing key nothing changes, and False is returned."""
        self.assertFalse(repair({}, ("timeouts", "idle"), 1, None, 1))
        self.assertFalse(repair({"timeouts": {}}, ("timeouts", "idle"), 1, None, 1))
