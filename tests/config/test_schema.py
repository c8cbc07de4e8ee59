"""Tests for sniproxy.config.schema."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ConfigError, Faults, File, Timeouts, convert, each_error, has_type, shown
from tests.support import configerrors


class ConvertTests(configerrors.ErrorCase):
    """Conversion of tables and keys."""

    def test_defaults(self) -> None:
        """A missing key has its default."""
        file = convert({"listener": [{"endpoint": "tcp:4443"}]}, "f.toml")
        self.assertIsInstance(file, File)
        self.assertEqual((None, [], None, Timeouts()), (file.listener[0].name, file.route, file.default, file.timeouts))

    def test_unknown_keys(self) -> None:
        """The error for an unknown key has its place and value, and suggests a similar key."""
        self.refused("[[rout]]\nx = 1", "rout = [{'x': 1}]", "did you mean route?")
        self.refused('[[route]]\nservername = "a"\ntarget = "b"', 'route[0].servername = "a"', "mean server_name?")
        self.refused("[timeouts]\nidel = 7", "timeouts.idel = 7", "did you mean idle?")
        self.refused('[access_log]\npath = "-"\nzzz = true', "access_log.zzz = true", "known keys: path")
        self.refused('[default]\ntarget = "a"\nserver_name = "b"', 'default.server_name = "b"', "known keys: target")
        self.refused('[no_server_name]\ntargets = "a"', 'no_server_name.targets = "a"', "did you mean target?")
        self.refused('nam = "x"', 'listener[0].nam = "x"', "did you mean name?")
        self.refused('"a\\nb" = "x"', 'listener[0].a\\nb = "x"', "unknown key")

    def test_missing_keys(self) -> None:
        """The error for a missing key names it, with an example."""
        self.refused_file('[[listener]]\nname = "x"', "listener[0].endpoint: missing", 'endpoint = "tcp:4443"')
        self.refused('[[route]]\ntarget = "b"', "route[0].server_name: missing", "server_name = ")
        self.refused("[access_log]", "access_log.path: missing", "path = ")

    def test_types(self) -> None:
        """The error for a wrong type has the value, its type and the expected one, in TOML's terms."""
        self.refused("[timeouts]\nhello = true", "timeouts.hello = true", "it is true or false; write a number")
        self.refused('[timeouts]\nhello = "5"', 'timeouts.hello = "5"', "it is a string; write a number")
        self.refused("[[route]]\nserver_name = 7", "route[0].server_name = 7", "write a string")
        self.refused(self.route("a", "7"), "route[0].target = 7", "write a string or a list")
        self.refused(self.route("a", '["b", 7]'), "route[0].target[1] = 7", "write a string")
        self.refused("[resolver]\nx = 7", "resolver.x = 7", "write a table")
        self.refused("[health]\nrise = 2.5", "health.rise = 2.5", "it is a number with a fraction; write a number")
        self.refused_file("timeouts = 3", "timeouts = 3: it is a number; write a table: [timeouts]")
        self.refused_file("listener = 7", "listener = 7", "write a list")
        self.refused_file("listener = [7]", "listener[0] = 7", "write a table")

    def test_has_type(self) -> None:
        """A value has the type of a key, at the top and in a table."""
        for table, key, value, expected in (
            ("", "workers", 2, True),
            ("", "workers", "2", False),
            ("route", "target", ["a"], True),
            ("route", "target", [7], False),
            ("fault", "from", "client", True),
            ("timeouts", "idle", 3, True),
            ("default", "only_from", "10.0.0.0/8", False),
        ):
            self.assertEqual(expected, has_type(table, key, value), key)


class ShownTests(SynchronousTestCase):
    """shown: values in messages."""

    def test_values(self) -> None:
        """Values are shown as in TOML, in one line of ASCII, at most 80 characters."""
        for value, text in (
            (None, "(absent)"),
            (True, "true"),
            (7.5, "7.5"),
            ("a\nb\xe9", '"a\\nb\\xe9"'),
            ("x" * 200, '"' + "x" * 76 + "..."),
        ):
            self.assertEqual(shown(value), text)


class FaultsTests(SynchronousTestCase):
    """Faults: errors that are collected before one is raised."""

    def collect(self, *errors: Exception) -> Faults:
        faults = Faults()
        for error in errors:
            with faults:
                raise error
        return faults

    def test_none(self) -> None:
        """Without an error the check passes."""
        self.collect().check()

    def test_one(self) -> None:
        """One error is raised as it is."""
        only = ConfigError("f.toml: a")
        self.assertIs(only, self.assertRaises(ConfigError, self.collect(only).check))

    def test_several(self) -> None:
        """Several errors are raised as one, in order; errors of several count each."""
        both = self.assertRaises(ConfigError, self.collect(ConfigError("a"), ConfigError("b")).check)
        more = self.assertRaises(ConfigError, self.collect(both, ConfigError("c")).check)
        self.assertEqual(["a", "b", "c"], [str(one) for one in each_error(more)])
        self.assertEqual("a\nb\nc", str(more))

    def test_others(self) -> None:
        """An exception that is no error of the configuration is not collected."""
        self.assertRaises(ZeroDivisionError, self.collect, ZeroDivisionError())
