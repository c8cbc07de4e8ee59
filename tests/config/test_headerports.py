"""Tests for sniproxy.config.headerports."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.describe import warnings
from sniproxy.config.model import Configuration
from sniproxy.config.parser import from_options, parse
from sniproxy.config.schema import ConfigError
from tests.support.configerrors import LISTENER

TARGET = "10.0.0.7:{proxy_protocol_port}"
RESOLVED = '[[route]]\nserver_name = "*.test"\nresolver = "b"\nsend_proxy = "v1"\n'
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


class EndpointWarningsTests(SynchronousTestCase):
    """endpoint_warnings."""

    def warned(self, *listeners: str, only_from: str, more: str = "") -> list[str]:
        route = f'target = "10.0.0.7:7000"\nonly_from = [{only_from}]\n{more}'
        found = warnings(configured(*listeners, route=route), 65536)
        return [one for one in found if "only_from" in one]

    def test_unread(self) -> None:
        """Ids match no client if no listener of the route reads headers."""
        ids = '"vpce-08d2bf15fac5001c9", "305419896"'
        said = "route a.test: only_from 305419896 and 1 more matches no client: its listener reads no PROXY"
        for listeners, more, expected in (
            ([HEADERS], "", False),
            ([HEADERS, ""], "", False),
            ([""], "", True),
            ([HEADERS, ""], 'listener = "l1"', True),
            (["", HEADERS], 'listener = "l1"', False),
        ):
            found = self.warned(*listeners, only_from=f'{ids}, "10.0.0.0/8"', more=more)
            self.assertEqual(expected, bool(found), found)
        (one,) = self.warned("", only_from=ids)
        self.assertIn(said, one)
        (one,) = self.warned("", only_from='"vpce-1"', more='listener = "l0"')
        self.assertIn("route a.test of listener l0: only_from vpce-1 matches no client: ", one)
        self.assertEqual([], self.warned("", only_from='"10.0.0.0/8"'))

    def test_form(self) -> None:
        """A text that is no network and looks like no id matches no client."""
        (one,) = self.warned(HEADERS, only_from='"office", "vpce-1"')
        self.assertIn("only_from office matches no client: it is neither a network nor the id", one)


class ProxyProtocolWarningsTests(SynchronousTestCase):
    """proxy_protocol_warnings."""

    def warned(self, text: str, listener: str = LISTENER) -> list[str]:
        return list(warnings(parse(listener + text, "f.toml"), 65536))

    def test_proxy_protocol(self) -> None:
        """Headers of everybody are believed; a header is sent before the hello to a broker's TLS port."""
        everybody = LISTENER + 'proxy_protocol = "required"\nproxy_protocol_from = ["10.0.0.0/8", "0.0.0.0/0"]\n'
        routes = '[default]\ntarget = ["10.0.0.7:7000", "10.0.0.8"]\nsend_proxy = "v2"\n'
        first, second = self.warned(routes, everybody)
        self.assertIn("proxy_protocol_from has all addresses: every client can claim", first)
        self.assertIn("target 10.0.0.8:6651: send_proxy writes the header before the hello", second)
        self.assertEqual([], self.warned('[default]\ntarget = "10.0.0.7:7000"\nsend_proxy = "v2"\n'))

    def test_header_to_brokers(self) -> None:
        """A resolver of brokers, or a placeholder before their TLS port, leads to the port that refuses the header."""
        policy = '[policy]\nallow_cidrs = ["10.0.0.0/8"]\nallow_names = ["*.test"]\n'
        text = f'[[route]]\nserver_name = "*.test"\ntarget = "{{server_name}}"\nsend_proxy = "v2"\n{policy}'
        (one,) = self.warned(text)
        self.assertIn("target {server_name}: send_proxy writes the header before the hello", one)
        self.assertEqual([], self.warned(text.replace("}", "}:4443") + "allow_ports = [4443]\n"))
        resolver = '[resolver.b]\ntype = "zookeeper"\nservers = "zk.test"\n'
        (one,) = self.warned(RESOLVED + resolver)
        self.assertIn("route *.test: resolver.b (type zookeeper): send_proxy writes", one)

    def test_dns(self) -> None:
        """The target of a C{dns} resolver has the port; without one it is the brokers' TLS port."""
        for options, expected in (
            ("", True),
            ('target = "{1}.internal"', True),
            ('target = "{1}.internal:6651"', True),
            ('target = "pulsar.internal"', True),
            ('target = "{1}.internal:4443"', False),
            ('target = "{1}.internal:{port}"', False),
            ('srv = "_pulsar._tcp.{server_name}"', False),
            ("target = 7", False),
            ('target = "{"', False),
        ):
            found = self.warned(f'{RESOLVED}[resolver.b]\ntype = "dns"\n{options}\n')
            self.assertEqual(expected, bool(found), options)
            if found:
                self.assertIn("route *.test: resolver.b (type dns): send_proxy writes", found[0])
