"""Tests for sniproxy.config.headerports."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.describe import warnings
from sniproxy.config.model import Configuration
from sniproxy.config.parser import from_options, parse
from sniproxy.config.schema import ConfigError

TARGET = "10.0.0.7:{proxy_protocol_port}"
HEADERS = 'proxy_protocol = "required"\nproxy_protocol_from = ["10.0.0.0/8"]\n'


def configured(*listeners: str, route: str = "") -> Configuration:
    """A configuration with one route. @param listeners: more lines of each; they are named l0, l1 and so on."""
    tables = "".join(
        f'[[listener]]\nname = "l{number}"\nendpoint = "tcp:{4443 + number}"\n{more}'
        for number, more in enumerate(listeners)
    )
    return parse(f'{tables}[[route]]\nserver_name = "a.test"\n{route or f"target = {TARGET!r}"}\n', "x.toml")


class CheckHeaderPortsTests(SynchronousTestCase):
    """check_header_ports."""

    def test_read(self) -> None:
        """A listener of the route reads headers."""
        for listeners, route in (
            ([HEADERS], ""),
            ([HEADERS, ""], ""),
            (["", HEADERS], f'target = "{TARGET}"\nlistener = "l1"'),
            ([HEADERS], f'target = "a.test"\n[no_server_name]\ntarget = "{TARGET}"'),
            ([f'plaintext = true\ntarget = "{TARGET}"\n{HEADERS}'], 'target = "a.test"'),
        ):
            configured(*listeners, route=route)

    def test_unread(self) -> None:
        """No listener of the route reads headers: the error names target and cure."""
        for listeners, route, key in (
            ([""], "", "route[0].target"),
            ([HEADERS, ""], f'target = "{TARGET}"\nlistener = "l1"', "route[0].target"),
            ([f'plaintext = true\ntarget = "a.test"\n{HEADERS}'], "", "route[0].target"),
            ([HEADERS, f'plaintext = true\ntarget = "{TARGET}"\n'], 'target = "a.test"', "listener[1].target"),
            ([""], f'target = "a.test"\n[default]\ntarget = "{TARGET}"', "default.target"),
        ):
            error = str(self.assertRaises(ConfigError, configured, *listeners, route=route))
            self.assertIn(f": {key} = ", error)
            self.assertIn('write proxy_protocol = "required" in the [[listener]]', error)

    def test_options(self) -> None:
        """Listeners of the command line read no headers."""
        error = self.assertRaises(ConfigError, from_options, ["tcp:1"], [f"a.test={TARGET}"], None)
        self.assertIn("command line: --route = ", str(error))


class HeaderPortWarningsTests(SynchronousTestCase):
    """header_port_warnings."""

    def test_warnings(self) -> None:
        """A listener without headers, or with optional ones, refuses connections of the route."""
        optional = HEADERS.replace("required", "optional")
        for listeners, said in (
            ([HEADERS], []),
            ([HEADERS, ""], ["listener l1 refuses all connections;"]),
            ([HEADERS, optional], ["listener l1 refuses connections without a header;"]),
        ):
            found = [one for one in warnings(configured(*listeners)) if f"target {TARGET}: listener" in one]
            self.assertEqual(len(said), len(found), found)
            for text, one in zip(said, found, strict=True):
                self.assertIn(text, one)
