"""Tests for the checks that the tables of a configuration share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.checks import COMMAND_LINE, Check
from sniproxy.config.schema import ConfigError, ListenerTable


class CheckTests(SynchronousTestCase):
    """Errors name the file, the key, the value and the cure."""

    def test_file(self) -> None:
        """In a file the key is the table's."""
        error = Check("x.toml").error("listener[0].name", "", "write a printable name")
        self.assertEqual('x.toml: listener[0].name = "": write a printable name', str(error))

    def test_options(self) -> None:
        """On the command line the key is the option."""
        error = Check(COMMAND_LINE).error("listener[0]", "x", "write tcp:4443")
        self.assertEqual('command line: --listen = "x": write tcp:4443', str(error))

    def test_units(self) -> None:
        """A number that was written with a unit is converted in the cure."""
        error = Check("x.toml").error("timeouts.idle", "5m", "must be a number of seconds, 0 or more")
        self.assertIn("300", str(error))

    def test_path(self) -> None:
        """A log's path starts from the folder of the file; C{-} is standard output."""
        check = Check("/etc/sniproxy/x.toml")
        self.assertEqual("/etc/sniproxy/access.log", check.path("access_log.path", "access.log"))
        self.assertEqual("-", check.path("access_log.path", "-"))
        self.assertRaises(ConfigError, check.path, "access_log.path", "")

    def test_place(self) -> None:
        """Two listeners have neither the same name nor the same address."""
        check = Check("x.toml")
        self.assertEqual("tcp:4443", check.name_and_endpoint("listener[0]", ListenerTable("tcp:4443"))[0])
        twice = self.assertRaises(
            ConfigError, check.name_and_endpoint, "listener[1]", ListenerTable("tcp:4443", "other")
        )
        self.assertIn("another listener uses this address", str(twice))
        named = self.assertRaises(
            ConfigError, check.name_and_endpoint, "listener[1]", ListenerTable("tcp:4444", "tcp:4443")
        )
        self.assertIn("another listener has this name", str(named))
