"""Tests for sniproxy.config.checks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.checks import COMMAND_LINE, Check
from sniproxy.config.schema import ConfigError, ListenerTable


class CheckTests(SynchronousTestCase):
    """Errors name the file, the key, the value and the cure."""

    def test_file(self) -> None:
        """In a file, the key has the name of its table."""
        error = Check("x.toml").error("listener[0].name", "", "write a printable name")
        self.assertEqual('x.toml: listener[0].name = "": write a printable name', str(error))

    def test_options(self) -> None:
        """On the command line, the key is the option."""
        error = Check(COMMAND_LINE).error("listener[0]", "x", "write tcp:4443")
        self.assertEqual('command line: --listen = "x": write tcp:4443', str(error))

    def test_units(self) -> None:
        """For a number with a unit, the cure has the converted number."""
        error = Check("x.toml").error("timeouts.idle", "5m", "must be a number of seconds, 0 or more")
        self.assertIn("300", str(error))

    def test_path(self) -> None:
        """The path of a log starts from the folder of the file; C{-} is standard output."""
        check = Check("/etc/sniproxy/x.toml")
        self.assertEqual("/etc/sniproxy/access.log", check.path("access_log.path", "access.log"))
        self.assertEqual("-", check.path("access_log.path", "-"))
        self.assertRaises(ConfigError, check.path, "access_log.path", "")

    def test_place(self) -> None:
        """Two listeners cannot have the same name or the same address."""
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
