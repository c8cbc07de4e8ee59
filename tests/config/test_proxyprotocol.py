"""Tests for sniproxy.config.proxyprotocol."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.describe import describe
from sniproxy.config.dump import dump_configuration
from sniproxy.config.parser import parse
from sniproxy.config.proxyprotocol import AcceptProxy
from sniproxy.config.schema import ConfigError
from sniproxy.config.warnings import check_headers, keyed_routes
from sniproxy.interfaces import Target
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.routing.policy import network

NETWORKS = tuple(map(network, ("10.0.0.0/8", "2001:db8::/32")))


def configured(more: str, endpoint: str = "tcp:4443") -> AcceptProxy | None:
    """The settings of a listener."""
    text = f'[[listener]]\nendpoint = "{endpoint}"\n{more}\n[default]\ntarget = "a.test:6651"\n'
    return parse(text, "x.toml").listeners[0].proxy_protocol


class ProxyProtocolTests(SynchronousTestCase):
    """proxy_protocol and proxy_protocol_from."""

    def test_absent(self) -> None:
        """By default no headers are read."""
        self.assertIsNone(configured(""))

    def test_modes(self) -> None:
        """Both modes, with networks."""
        for mode, required in (("required", True), ("optional", False)):
            found = configured(f'proxy_protocol = "{mode}"\nproxy_protocol_from = ["10.0.0.0/8", "2001:db8::/32"]')
            self.assertEqual(AcceptProxy(required, NETWORKS), found)
            assert found is not None
            self.assertEqual(mode, found.mode)

    def test_local(self) -> None:
        """A listener that only this host can reach needs no list."""
        for endpoint in (
            "tcp:4443:interface=127.0.0.1",
            "tcp:4443:interface=127.9.9.9",
            "tcp6:4443:interface=\\\\:\\\\:1",
            "tcp:4443:interface=localhost",
            "unix:/run/x.sock",
        ):
            self.assertEqual(AcceptProxy(True, ()), configured('proxy_protocol = "required"', endpoint), endpoint)

    def test_errors(self) -> None:
        """Each error names its key and the cure."""
        for more, message in (
            ('proxy_protocol = "required"', "listener[0].proxy_protocol_from = (absent): missing; a header can claim"),
            ('proxy_protocol = "v2"', 'listener[0].proxy_protocol = "v2": write "required" or "optional"'),
            ('proxy_protocol_from = ["10.0.0.0/8"]', "listener[0].proxy_protocol_from = ['10.0.0.0/8']: it requires"),
            (
                'proxy_protocol = "optional"\nproxy_protocol_from = ["10.0.0.1/8"]',
                'listener[0].proxy_protocol_from = "10.0.0.1/8": host bits are set; write 10.0.0.0/8',
            ),
        ):
            error = self.assertRaises(ConfigError, configured, more)
            self.assertIn(message, str(error))

    def test_all_interfaces(self) -> None:
        """A listener on another address than loopback needs a list."""
        for endpoint in ("tcp:4443:interface=192.0.2.1", "tcp:4443:interface=host.test", "systemd:domain=INET:index=0"):
            self.assertRaises(ConfigError, configured, 'proxy_protocol = "required"', endpoint)

    def test_believes(self) -> None:
        """A peer is believed if its address is in a network, or if there is none; unix sockets are local."""
        settings = AcceptProxy(True, NETWORKS)
        for client, believed in (
            ("10.1.2.3:50123", True),
            ("[2001:db8::7]:1", True),
            ("[::ffff:10.0.0.1]:1", True),
            ("unix", True),
            ("11.1.2.3:50123", False),
            ("[2001:db9::7]:1", False),
        ):
            self.assertEqual(believed, settings.believes(client), client)
        self.assertTrue(AcceptProxy(True, ()).believes("127.0.0.1:1"))

    def test_remembers(self) -> None:
        """A peer's address is compared with the networks once, and each listener remembers its own peers."""
        asked: list[object] = []

        class Counting(IPv4Network):
            def __contains__(self, address: object) -> bool:
                asked.append(address)
                return super().__contains__(address)

            def __hash__(self) -> int:
                raise AssertionError("for each connection, this takes longer than the rest")

        settings = AcceptProxy(True, (Counting("10.0.0.0/8"),))
        for port in range(3):
            self.assertTrue(settings.believes(f"10.1.2.3:{port}"))
            self.assertFalse(settings.believes(f"11.1.2.3:{port}"))
        self.assertEqual([IPv4Address("10.1.2.3"), IPv4Address("11.1.2.3")], asked)
        self.assertFalse(AcceptProxy(True, (IPv4Network("192.0.2.0/24"),)).believes("10.1.2.3:1"))


class SendProxyTests(SynchronousTestCase):
    """send_proxy and proxy_tlvs, in every table that has targets."""

    def test_tables(self) -> None:
        """Routes, default tables, plaintext listeners and bridges have it."""
        keys = 'send_proxy = "v2"\nproxy_tlvs = ["authority", "unique_id"]\n'
        text = f"""
[[listener]]
endpoint = "tcp:4443"
[[listener]]
name = "tap"
endpoint = "tcp:6650:interface=127.0.0.1"
plaintext = true
target = "127.0.0.1:6650"
{keys}
[[route]]
server_name = "a.test"
target = "10.0.0.7:7000"
{keys}
[default]
target = "10.0.0.8:7000"
send_proxy = "v1"
[[bridge]]
endpoint = "tcp:6651:interface=127.0.0.1"
service_url = "pulsar+ssl://vip.test"
trust = "ca.pem"
{keys}
"""
        found = parse(text, "x.toml")
        both = SendProxy(2, ("authority", "unique_id"))
        assert found.default is not None and found.listeners[1].plaintext is not None
        self.assertEqual(
            [both, SendProxy(1), both, both],
            [
                found.routes[0].send_proxy,
                found.default.send_proxy,
                found.listeners[1].plaintext.send_proxy,
                found.bridges[0].send_proxy,
            ],
        )
        headers = {Target("10.0.0.7", 7000): both.own(), Target("10.0.0.8", 7000): SendProxy(1).own()}
        self.assertEqual(headers, check_headers(found))

    def test_terminated(self) -> None:
        """Checks of a route that only terminating listeners have send no header, because it goes inside TLS."""
        text = """
[[listener]]
name = "ends"
endpoint = "tcp:4443"
certificates = "certs/"
upstream_trust = "ca.pem"
[[listener]]
name = "passes"
endpoint = "tcp:4444"
[[route]]
server_name = "a.test"
listener = "ends"
target = "10.0.0.7:7000"
send_proxy = "v2"
"""
        self.assertEqual({}, check_headers(parse(text, "x.toml")))

    def test_errors(self) -> None:
        """Each error names its key and the cure."""
        for more, message in (
            ('send_proxy = "2"', 'default.send_proxy = "2": write "v2" or "v1"'),
            ('proxy_tlvs = ["authority"]', "default.proxy_tlvs = ['authority']: only version 2 has these fields"),
            ('send_proxy = "v1"\nproxy_tlvs = ["authority"]', "default.proxy_tlvs"),
            (
                'send_proxy = "v2"\nproxy_tlvs = ["alpn"]',
                'default.proxy_tlvs = "alpn": the fields are authority, unique_id',
            ),
        ):
            text = f'[[listener]]\nendpoint = "tcp:4443"\n[default]\ntarget = "a.test:6651"\n{more}\n'
            error = self.assertRaises(ConfigError, parse, text, "x.toml")
            self.assertIn(message, str(error))
        text = '[[listener]]\nendpoint = "tcp:4443"\nsend_proxy = "v2"\n[default]\ntarget = "a.test:6651"\n'
        error = self.assertRaises(ConfigError, parse, text, "x.toml")
        self.assertIn("a TLS listener uses the routes; write it in the [[route]]", str(error))


class TargetSourceTests(SynchronousTestCase):
    """target_source, in every table that has targets."""

    def test_tables(self) -> None:
        """Routes, default tables and plaintext listeners have it; --check and /status show it."""
        text = """
[[listener]]
endpoint = "tcp:4443"
[[listener]]
endpoint = "tcp:6650:interface=127.0.0.1"
plaintext = true
target = "127.0.0.1:6650"
target_source = "client"
[[route]]
server_name = "a.test"
target = "10.0.0.7"
target_source = "client"
[[route]]
server_name = "b.test"
target = "10.0.0.8"
[default]
target = "10.0.0.9"
target_source = "client"
"""
        found = parse(text, "x.toml")
        self.assertEqual(
            [("route[0]", True), ("route[1]", False), ("default", True), ("listener[1]", True)],
            [(key, route.from_client) for key, route in keyed_routes(found)],
        )
        self.assertEqual(3, describe(found).count("(dialled from the client's address)"))
        dumped = dump_configuration(found, 10)
        self.assertEqual(["client", None], [one["target_source"] for one in dumped["routes"]])

    def test_errors(self) -> None:
        """Each error names its key and the cure."""
        listener = '[[listener]]\nendpoint = "tcp:4443"\n'
        for more, message in (
            ('[default]\ntarget = "a.test"\ntarget_source = "own"\n', 'default.target_source = "own": write "client"'),
            ('target_source = "client"\n', 'listener[0].target_source = "client": a TLS listener uses the routes; '),
            ('plaintext = true\ntarget = "a.test"\ntarget_source = ""\n', 'listener[0].target_source = "": write '),
        ):
            error = self.assertRaises(ConfigError, parse, listener + more, "x.toml")
            self.assertIn(message, str(error))
