"""Tests for sniproxy.config.bridges."""

from __future__ import annotations

from sniproxy.config.parser import parse
from tests.support.configerrors import ErrorCase


class BridgeTableTests(ErrorCase):
    """C{[[bridge]]} tables in whole files."""

    def test_bridge(self) -> None:
        """A file may have only a bridge; its paths start from the folder of the file."""
        text = (
            '[[bridge]]\nendpoint = "tcp:6650:interface=127.0.0.1"\nservice_url = "pulsar+ssl://vip.test,b.test:1"\n'
            'proxy_service_url = "pulsar+ssl://proxy.test:4443"\nproxy_protocol = "SNI"\ntrust = "ca.pem"\n'
            'certificate = "own.pem"\nallow = ["*.test:6651"]\ninspect = "pulsar"\n'
        )
        configuration = parse(text, "dir/f.toml")
        (bridge,) = configuration.bridges
        self.assertEqual(((), (bridge,)), (configuration.listeners, configuration.entrances))
        self.assertEqual((("vip.test", 6651), ("b.test", 1)), bridge.service_url.hosts)
        self.assertEqual(
            ("proxy.test:4443", "dir/ca.pem", "dir/own.pem"), (str(bridge.proxy), bridge.trust, bridge.certificate)
        )
        assert bridge.allow is not None
        self.assertIn(("b.test", 6651), bridge.allow[0])
        self.assertTrue(bridge.inspect)

    def test_bad_bridge(self) -> None:
        """Each invalid key of a bridge is reported."""
        good = {"endpoint": "tcp:6650", "service_url": "pulsar+ssl://vip.test", "trust": "ca.pem"}
        for key, value, *said in (
            (
                "service_url",
                "pulsar://vip.test",
                'bridge[0].service_url = "pulsar://vip.test": a bridge speaks TLS to brokers',
            ),
            ("service_url", "pulsar+ssl://10.0.0.7", "write a host name"),
            ("service_url", "http://vip.test", "bridge[0]: service_url"),
            ("proxy_protocol", "SNI", "bridge[0]: proxy_protocol is set without proxy_service_url"),
            ("proxy_protocol", "required", "a bridge reads no PROXY protocol headers: it runs beside its clients"),
            ("trust", "", 'bridge[0].trust = "": write the path'),
            ("certificate", "", 'bridge[0].certificate = "": write the path'),
            ("inspect", "kafka", 'bridge[0].inspect = "kafka": the only inspector is'),
            ("endpoint", "tls:1", 'bridge[0].endpoint = "tls:1"'),
        ):
            table = "".join(f'{name} = "{each}"\n' for name, each in {**good, key: value}.items())
            self.refused_file(f"[[bridge]]\n{table}", *said)
        table = "".join(f'{name} = "{each}"\n' for name, each in good.items())
        self.refused_file(f'[[bridge]]\n{table}allow = ["a b"]', 'bridge[0].allow[0] = "a b"')
        self.refused_file(f"[[bridge]]\n{table}[[bridge]]\n{table}", "another listener uses this address")
        self.refused_file('[[bridge]]\nendpoint = "tcp:1"', "bridge[0].service_url: missing", "pulsar+ssl://")
