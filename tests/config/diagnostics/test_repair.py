"""Tests for sniproxy.config.diagnostics.repair."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.repair import repair


class RepairTests(SynchronousTestCase):
    """repair: what takes a fault's place."""

    def test_optional(self) -> None:
        """A key with a default goes; of a list, the bad item alone."""
        data: dict[str, Any] = {"timeouts": {"idle": "x", "hello": 1}, "policy": {"allow_ports": [0, 1]}}
        self.assertTrue(repair(data, ("timeouts", "idle"), "x", None, 1))
        self.assertTrue(repair(data, ("policy", "allow_ports"), 0, None, 1))
        self.assertEqual({"timeouts": {"hello": 1}, "policy": {"allow_ports": [1]}}, data)

    def test_needed(self) -> None:
        """A needed key gets a value that no other table has; a listener keeps its name for the routes."""
        data: dict[str, Any] = {"listener": [{"endpoint": "4443"}], "route": [{"server_name": "a b"}, 7]}
        self.assertTrue(repair(data, ("listener", 0, "endpoint"), "4443", None, 1))
        self.assertEqual("4443", data["listener"][0]["name"])
        self.assertTrue(repair(data, ("route", 0, "server_name"), "a b", None, 2))
        self.assertTrue(repair(data, ("route", 1), 7, None, 3))
        self.assertNotEqual(data["route"][0]["server_name"], data["route"][1]["server_name"])

    def test_unknown(self) -> None:
        """A misspelt key gets its right name; one that is like no other goes."""
        data: dict[str, Any] = {"route": [{"servername": "a", "x": 1}]}
        repair(data, ("route", 0, "servername"), None, "server_name", 1)
        repair(data, ("route", 0, "x"), None, "", 1)
        self.assertEqual([{"server_name": "a"}], data["route"])

    def test_nothing(self) -> None:
        """What is not there changes nothing, and that is said."""
        self.assertFalse(repair({}, ("timeouts", "idle"), 1, None, 1))
        self.assertFalse(repair({"timeouts": {}}, ("timeouts", "idle"), 1, None, 1))
