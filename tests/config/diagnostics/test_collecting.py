"""Tests for sniproxy.config.diagnostics.collecting."""

from __future__ import annotations

import re

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.collecting import all_errors
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.build import build
from tests.support.configerrors import LISTENER
from tests.support.reactor import as_reactor

_KEY = re.compile(r"nowhere/f\.toml:(\d+: \S+?)(?:: | = )")
"""A message's line and key."""

STRINGS = 'write strings in quotes: hello = "five"'


class AllErrorsTests(SynchronousTestCase):
    """all_errors: every error of a file, each once, with its line."""

    def errors(self, text: str) -> list[str]:
        return str(self.assertRaises(ConfigError, parse, text, "f.toml")).split("\n")

    def lines(self, text: str) -> list[int]:
        return [int(error.split(":")[1]) for error in self.errors(text)]

    def test_all(self) -> None:
        """Wrong types, unknown keys, invalid values and invalid TOML are reported in the order of the file."""
        text = (
            'workers = 0\n[[listener]]\nendpoint = "tls:1"\n[[listener]]\nlisten = "tcp:2"\n'
            '[[route]]\nserver_name = "a b"\ntarget = ["x:0", "y:1", "z:0"]\nlistener = "nobody"\n'
            "[[route]]\nserver_name = c.test\ntarget = 7\n"
            "[timeouts]\nidel = 3\nhello = 0\nconnect = 0\n[policy]\nallow_ports = [0]\n"
            '[resolver.x]\ntype = 1\n[resolver.y]\nstale = "x"\n'
        )
        self.assertEqual([1, 3, 5, 7, 8, 8, 9, 11, 12, 14, 15, 16, 18, 20, 21, 22], self.lines(text))

    def test_followers(self) -> None:
        """An error that only follows from another one is not reported."""
        self.assertEqual([2], self.lines('[[listener]]\nendpoint = "4443"\n[[route]]\nserver_name = "a"\n'
                                         'target = "b"\nlistener = "4443"\n'))  # fmt: skip
        self.assertEqual([4], self.lines(f'{LISTENER}[[route]]\nserver_name = "{{"\ntarget = "{{9}}"\n'))
        self.assertEqual([6], self.lines(f'{LISTENER}[default]\nresolver = "x"\n[resolver.x]\ntype = 7\n'))

    def test_one_mistake(self) -> None:
        """A wrong value that other keys need, or a key whose name is a guess, gives one error."""
        headers = 'proxy_protocol = "required"\nproxy_protocol_from = '
        bridge = '[[bridge]]\nendpoint = "tcp:1"\nservice_url = "pulsar+ssl://a.test"\ntrust = "t"\n'
        route = '[[route]]\nserver_name = "a.test"\ntarget = "b"\n'
        own = '[[route]]\nserver_name = "a.test"\ntarget = "b"\nlistener = 7\n'
        plain = '[[listener]]\nendpoint = "tcp:5"\ntarget = "b"\nsend_proxy = "v2"\nplaintext = 1'
        for text, key in (
            (f'{headers}["10.0.0.1/8"]', "listener[0].proxy_protocol_from = "),
            (f'{headers}"10.0.0.0/8"', "listener[0].proxy_protocol_from = "),
            (f'{headers}["10.0.0.0/8", 7]', "listener[0].proxy_protocol_from[1] = 7"),
            ('proxy_protocol_from = ["10.0.0.0/8"]', "listener[0].proxy_protocol_from = "),
            ('proxy_protocol = "Required"\nproxy_protocol_from = ["10.0.0.0/8"]', 'listener[0].proxy_protocol = "R'),
            (f'proxy_protocol = true\n{route}only_from = ["10.0.0.0/8"]', "listener[0].proxy_protocol = true"),
            (f"proxy_protocol = true\n{route.replace('b', 'b:{proxy_protocol_port}')}", "listener[0].proxy_protocol"),
            ('proxy_protocol = "required"', "listener[0].proxy_protocol_from = (absent)"),
            (f"{route}only_from = [12345]", "route[0].only_from[0] = 12345"),
            (f'{route}send_proxy = "v2"\nproxy_tlvs = [1]', "route[0].proxy_tlvs[0] = 1"),
            (f'{route}send_proxy = "v3"\nproxy_tlvs = ["authority"]', 'route[0].send_proxy = "v3"'),
            (f'{route}proxy_protocol = "required"', "route[0].proxy_protocol = "),
            ('[default]\nresolver = "x"\nupstream = "c"\n[resolver.x]\ntype = "dns"', "default.upstream = "),
            ("[default]\nresolver = [7]", "default.resolver[0] = 7"),
            (own + route, "route[0].listener = 7"),
            (own.replace("a.test", ""), "route[0].listener = 7"),
            (f'{bridge}proxy_protocol_from = ["10.0.0.0/8"]', "bridge[0].proxy_protocol_from = "),
            (f'{bridge}proxy_service_url = 7\nproxy_protocol = "SNI"', "bridge[0].proxy_service_url = 7"),
            (f'{bridge}proxy_service_url = "pulsar://p:1"\nproxy_protocol = "v2"', "bridge[0]: unknown proxy_protocol"),
            (plain, "listener[1].plaintext = 1"),
            ("[limits]\nrate_per_client = 0\nburst_per_client = 4", "limits.rate_per_client = 0"),
            ('[access_log]\npath = "-"\nopened = 1\nrepeat = 4', "access_log.opened = 1"),
            (f'closed_when_down = "a.test"\n{route}[health]\ncheck = "udp"', 'health.check = "udp"'),
            ("timeout = 4", "listener[0].timeout = 4"),
            ('[[fault]]\naction = "rate"\nrate = 0', "fault[0].rate = 0"),
            ('[[fault]]\naction = "drop"\non = 7\nname = "x"', "fault[0].on = 7"),
        ):
            (error,) = self.errors(f"{LISTENER}{text}\n")
            self.assertIn(f": {key}", error)

    def test_both(self) -> None:
        """Errors of keys that need each other, and those behind them, are all reported."""
        text = f'{LISTENER}send_proxy = "v2"\nproxy_tlvs = ["authority"]\ntarget = "a"\nproxy_protocol = "x"\n'
        self.assertEqual([3, 4, 5, 6, 7], self.lines(f'{text}proxy_protocol_from = ["lb"]\n'))
        text = LISTENER.replace("listener", "listeners") + "plaintext = 1\n[timeout]\nidle = 0\nconnect = 0\n"
        self.assertEqual([1, 3, 4, 6], self.lines(text))

    def test_bounded(self) -> None:
        """At most twenty errors are listed; the last line says that there are more."""
        for bad in ('[[route]]\nserver_name = "a b"\n', "[[route]]\nodd = 1\n", "[[route]]\nserver_name = x\n"):
            errors = self.errors(LISTENER + bad * 100)
            self.assertEqual(21, len(errors))
            self.assertIn("there are more errors", errors[-1])

    def test_built(self) -> None:
        """All errors in options of resolvers are reported once, with their lines."""
        text = (
            f'{LISTENER}[default]\nresolver = ["x", "y"]\n[no_server_name]\nresolver = "x"\n'
            '[resolver.x]\ntype = "static"\nodd = 1\n[resolver.y]\ntype = "pigeon"\n'
        )
        error = str(self.assertRaises(ConfigError, build, parse(text, "f.toml"), Clock()))
        self.assertEqual(
            ["f.toml:7: resolver.x.target", "f.toml:9: resolver.x.odd", "f.toml:11: resolver.y.type"],
            [one.split(" =")[0] for one in error.split("\n")],
        )

    def test_parsed_and_built(self) -> None:
        """Errors of tables, files and resolvers come together, in file order; repaired values cause no error."""
        text = (
            '[[listener]]\nendpoint = "foo:1"\n'
            '[[listener]]\nendpoint = "tcp:2"\ncertificates = "a.pem"\nupstream_trust = "b.pem"\n'
            '[[listener]]\nendpoint = "tcp:3"\ncertificates = "c.pem"\n'
            '[[bridge]]\nendpoint = "tcp:4"\nservice_url = "pulsar://x.test"\ntrust = "d.pem"\n'
            '[[bridge]]\nendpoint = "tcp:5"\nservice_url = "pulsar+ssl://x.test"\ntrust = ""\n'
            '[[route]]\nserver_name = "a b"\nresolver = ["x", "y"]\n'
            '[resolver.x]\ntype = "dns"\nodd = 1\nservers = ["no good"]\nipv4 = "x"\n'
            '[resolver.y]\ntype = "file"\npath = 5\n'
        )

        def use(configuration: Configuration) -> None:
            build(configuration, as_reactor(Clock()))

        error = str(self.assertRaises(ConfigError, parse, text, "nowhere/f.toml", use=use))
        expected = ["2: listener[0].endpoint", "5: listener[1].certificates", "6: listener[1].upstream_trust",
                    "7: listener[2].upstream_trust", "9: listener[2].certificates", "12: bridge[0].service_url",
                    "13: bridge[0].trust",
                    "17: bridge[1].trust", "19: route[0].server_name", "23: resolver.x.odd", "24: resolver.x.servers",
                    "25: resolver.x.ipv4", "28: resolver.y.path"]  # fmt: skip
        self.assertEqual(expected, _KEY.findall(error))

    def test_corrected_lines(self) -> None:
        """A line with a syntax error is reported once, even if the corrected value is wrong, too."""
        error = f"f.toml:4: hello = five: invalid TOML: Invalid value (at line 4, column 9); {STRINGS}"
        self.assertEqual([error], self.errors(f"{LISTENER}[timeouts]\nhello = five\n"))

    def test_unknown_place(self) -> None:
        """An error that names no key, or not the file, is reported once, as it is."""
        for message in ("f.toml: no idea why", "somewhere: no idea why"):

            def check(data: object, message: str = message) -> None:
                raise ConfigError(message)

            self.assertEqual(message, str(all_errors("workers = 2", "f.toml", check)))

    def test_broken_plugin(self) -> None:
        """An exception of a resolver does not hide the errors of the file."""

        def use(configuration: Configuration) -> None:
            raise ZeroDivisionError

        error = self.assertRaises(ConfigError, parse, f"{LISTENER}[timeouts]\nhello = 0\n", "f.toml", use=use)
        self.assertIn("f.toml:4: timeouts.hello = 0", str(error))

    def test_stand_ins(self) -> None:
        """The placeholder of an invalid path is not reported as missing."""
        text = f'{LISTENER}upstream_certificate = "c.pem"\n[default]\ntarget = "a"\n'

        def use(configuration: Configuration) -> None:
            build(configuration, as_reactor(Clock()))

        error = str(self.assertRaises(ConfigError, parse, text, "nowhere/f.toml", use=use))
        self.assertEqual(["1: listener[0].certificates", "3: listener[0].upstream_certificate"], _KEY.findall(error))
