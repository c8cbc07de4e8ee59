"""Tests for sniproxy.config.diagnostics.cures."""

from __future__ import annotations

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from tests.support import configerrors
from tests.support.configerrors import LISTENER


class CureTests(configerrors.ErrorCase):
    """The cures for common mistakes."""

    def test_wrong_table(self) -> None:
        """For a key in the wrong table, the message names the right one."""
        for key in ('relay = "engine"', "relay_threads = 2", "workers = 2", "reuse_port = true"):
            self.refused(f"{self.route('a.test')}{key}", "belongs at the top of the file, before the first [table]")
        self.refused(f"{self.route('a.test')}idle = 3", "idle belongs to [timeouts]")
        self.refused(f"{self.route('a.test')}timeouts = 3", "[timeouts] is a table of its own; known keys: server_name")

    def test_misspelt(self) -> None:
        """A key that is close to a known one."""
        self.refused("[timeouts]\nidel = 3", "timeouts.idel = 3: unknown key; did you mean idle?")

    def test_other_names(self) -> None:
        """Names of keys in other programs are recognised."""
        self.refused_file('[[listener]]\nlisten = "tcp:4443"', "did you mean endpoint?")
        self.refused('[[route]]\nsni = "a.test"\nbackend = "b:1"', "did you mean server_name?", "did you mean target?")

    def test_server_names(self) -> None:
        """A pasted URL, a port, an internationalised name, and an expression without its tilde are recognised."""
        for name, cure in (
            ("pulsar+ssl://a.test:6651", "write the host alone: a.test; SNI carries no scheme and no port"),
            ("a.test:6651", "write the host alone: a.test"),
            ("https://a.test/x", "write the host alone: a.test"),
            ("br\xf6ker.test", "write it as xn--brker-kua.test"),
            ("*.br\xf6ker.test", "xn--brker-kua.test"),
            ("^broker-[0-9]+$", "begins with ~"),
            ("a.test, b.test", "a [[route]] for each name"),
            (".a.test", "write *.a.test"),
        ):
            self.refused(self.route(name), "route[0].server_name = ", cure)
        self.refused(self.route("a.test", '"br\xf6ker.test:6651"'), "route[0].target", "xn--brker-kua.test")

    def test_types(self) -> None:
        """Units, quoted numbers and flags, a port for an endpoint, and a list for a text are recognised."""
        for text, cure in (
            ('[timeouts]\nidle = "5m"', "write a number of seconds: 300"),
            ('[limits]\nmax_buffered = "64MiB"', "write a number of bytes: 67108864"),
            ('[health]\nrise = "2"', "write a number, without quotes: 2"),
            ('[reload]\non_change = "yes"', "write true or false, without quotes: true"),
            ("[admin]\nendpoint = 9090", 'write a string: "tcp:9090"'),
            ('[access_log]\npath = ["-"]', 'not a list: "-"'),
            ("[health]\nrise = 2.5", "it is a number with a fraction"),
            (self.route("a.test", "7"), 'a string or a list, a host and a port: "10.0.0.7:7"'),
            ('[resolver.x]\ntype = "static"\ndeadline = "5s"', "more than 0: 5"),
        ):
            self.refused(text, cure)
        for text, message in (
            ('[timeouts]\nidle = "long"', 'timeouts.idle = "long": it is a string; write a number of seconds'),
            ('[policy]\nallow_cidrs = "x"', 'policy.allow_cidrs = "x": it is a string; write a list'),
            ("[[route]]\nserver_name = 7", "route[0].server_name = 7: it is a number; write a string"),
        ):
            self.assertTrue(str(self.assertRaises(ConfigError, parse, LISTENER + text, "f.toml")).endswith(message))
        self.refused_file(f"timeouts = 3\n{LISTENER}", "write a table: [timeouts]")
