"""Tests for sniproxy.server.build."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.routing import trial
from sniproxy.server.build import build, build_endpoint, build_routing, build_terminator
from tests.support.proxies import LISTENER
from tests.support.reactor import as_reactor
from tests.support.sockets import HandClock
from tests.tls.material import CA, folder, pem, weak


class BuildTests(TestCase):
    """Resolvers, routes, endpoints."""

    def test_bad_resolver(self) -> None:
        """An invalid table of a resolver is a configuration error with its place."""
        for table, expected in (
            (
                'type = "carrier-pigeon"',
                'resolver.x.type = "carrier-pigeon": unknown resolver type; installed: ',
            ),
            ('type = "static"', "resolver.x.target = (absent): required, a "),
            ('type = "static"\ntarget = "a"\nodd = 1', "resolver.x.odd = 1: unknown option; known options: "),
        ):
            text = f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\n{table}\n'
            error = self.assertRaises(ConfigError, build_routing, parse(text, "x.toml"), HandClock())
            self.assertIn(f"x.toml: {expected}", str(error))

    def test_one_resolver_for_its_routes(self) -> None:
        """Routes with the same resolver share it; each takes its own turns."""
        text = (
            f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n'
            '[[route]]\nserver_name = "b.test"\nresolver = "x"\n[resolver.x]\ntype = "static"\ntarget = "a"\n'
        )
        table = build_routing(parse(text, "x.toml"), HandClock()).table
        a, b = table.match("a.test", "public"), table.match("b.test", "public")
        assert a is not None and b is not None
        self.assertIs(a.resolver, b.resolver)
        self.assertIsNot(a.turns, b.turns)

    def test_fixed(self) -> None:
        """A route with fixed targets has its resolution in advance, unless it has placeholders."""
        text = (
            f'{LISTENER}[[route]]\nserver_name = "a.test"\ntarget = ["a", "b"]\n'
            '[[route]]\nserver_name = "*.b.test"\ntarget = "{1}.internal"\n'
            '[[route]]\nserver_name = "c.test"\nresolver = "x"\n[resolver.x]\ntype = "static"\ntarget = "a"\n'
        )
        table = build_routing(parse(text, "x.toml"), HandClock()).table
        fixed = []
        for name in ("a.test", "a.b.test", "c.test"):
            route = table.match(name, "public")
            assert route is not None
            answer = route.fixed and route.fixed()
            fixed.append(answer and [str(target) for target in answer.targets])
        self.assertEqual([["a:6651", "b:6651"], None, None], fixed)

    def test_same_resolver(self) -> None:
        """A resolver with an unchanged table is kept; one with a changed table is replaced."""
        text = (
            f'{LISTENER}[[route]]\nserver_name = "a.test"\nresolver = "x"\n'
            '[[route]]\nserver_name = "b.test"\nresolver = "y"\n'
            '[resolver.x]\ntype = "static"\ntarget = "a"\n[resolver.y]\ntype = "static"\ntarget = "b"\n'
        )
        first = build(parse(text, "x.toml"), as_reactor(HandClock()))
        second = build(parse(text.replace('target = "b"', 'target = "c"'), "x.toml"), as_reactor(HandClock()), first)
        found = []
        for built in (first, second):
            for name in ("a.test", "b.test"):
                route = built.routing.table.match(name, "public")
                assert route is not None
                found.append(route.resolver)
        self.assertIs(found[0], found[2])
        self.assertIsNot(found[1], found[3])

    def test_plaintext_listeners(self) -> None:
        """A plaintext listener has its own route with its name; a TLS listener has none."""
        text = LISTENER + '[[listener]]\nendpoint = "tcp:0"\nname = "plain"\nplaintext = true\ntarget = "b"\n'
        routing = build_routing(parse(text, "x.toml"), as_reactor(HandClock()))
        self.assertEqual(["plain"], list(routing.plaintext))

    def test_same_bridge(self) -> None:
        """A bridge with an unchanged table keeps the brokers that it knows; another starts afresh."""
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes())
        text = (
            '[[bridge]]\nname = "one"\nendpoint = "tcp:0:interface=127.0.0.1"\ntrust = "ca.pem"\n'
            'service_url = "pulsar+ssl://vip.test"\n'
        )
        first = build(parse(text, str(files / "x.toml")), as_reactor(HandClock()))
        other = '[[bridge]]\nname = "new"\nendpoint = "tcp:0"\ntrust = "ca.pem"\nservice_url = "pulsar+ssl://b.test"\n'
        second = build(
            parse(other + text + 'inspect = "pulsar"\n', str(files / "x.toml")), as_reactor(HandClock()), first
        )
        self.assertIs(first.bridges["one"][1], second.bridges["one"][1])
        self.assertTrue(second.bridges["one"][0].inspect)
        third = build(parse(text.replace("vip", "other"), str(files / "x.toml")), as_reactor(HandClock()), second)
        self.assertIsNot(first.bridges["one"][1], third.bridges["one"][1])

    def test_terminator(self) -> None:
        """Unusable files of a listener that terminates TLS are a configuration error with the key."""
        files = folder(
            Path(self.mktemp()),
            shown_pem=pem("a.test"),
            both_pem=pem("b.test") + pem("c.test"),
            ca_pem=CA.cert_pem.bytes(),
            empty_pem=b"nothing",
            weak_pem=weak("a.test"),
        )
        folder(files / "two", a_pem=pem("a.test"), b_pem=pem("b.test"))
        for shown, trust, own, said in (
            ("nowhere", "ca.pem", None, "certificates: {}/nowhere: cannot read: No such file"),
            ("empty.pem", "ca.pem", None, "certificates: {}/empty.pem: no certificate with its key found"),
            ("weak.pem", "ca.pem", None, "certificates: {}/weak.pem: OpenSSL rejects its certificate"),
            ("shown.pem", "ca.pem", "weak.pem", "upstream_trust: {}/weak.pem: OpenSSL rejects its certificate"),
            ("shown.pem", "empty.pem", None, "upstream_trust: {}/empty.pem: no PEM certificate found; name the"),
            ("shown.pem", "ca.pem", "empty.pem", "upstream_trust: {}/empty.pem: it has 0 certificates"),
            ("shown.pem", "ca.pem", "two", "upstream_trust: {}/two: it has 2 certificates"),
            ("shown.pem", "ca.pem", "shown.pem", None),
            ("two", "ca.pem", None, None),
        ):
            more = "" if own is None else f'upstream_certificate = "{own}"'
            text = f'{LISTENER}certificates = "{shown}"\nupstream_trust = "{trust}"\n{more}'
            configuration = parse(text, str(files / "x.toml"))
            termination = configuration.listeners[0].termination
            assert termination is not None
            if said is None:
                build_terminator(configuration, termination, Clock().seconds)
            else:
                error = self.assertRaises(ConfigError, build_terminator, configuration, termination, Clock().seconds)
                self.assertIn(f"x.toml: listener[0].{said.format(files)}", str(error))

    def test_both_files(self) -> None:
        """An unusable trust file and an unusable certificate are two errors with their lines."""
        text = f'{LISTENER}certificates = "a"\nupstream_trust = "b"\nupstream_certificate = "c"\n'
        text += '[[bridge]]\nendpoint = "tcp:0"\ntrust = "d"\ncertificate = "e"\nservice_url = "pulsar+ssl://b.test"\n'
        error = str(self.assertRaises(ConfigError, build, parse(text, "none/x.toml"), HandClock()))
        keys = ["certificates", "upstream_trust", "upstream_certificate"]
        expected = [f"listener[0].{key}" for key in keys] + ["bridge[0].trust", "bridge[0].certificate"]
        lines = error.split("\n")
        self.assertEqual(expected, [line.split(": ")[1] for line in lines])
        first = LISTENER.count("\n") + 1
        where = [first, first + 1, first + 2, first + 5, first + 6]
        self.assertEqual([f"none/x.toml:{number}" for number in where], [line.split(": ")[0] for line in lines])

    def test_slow_expressions(self) -> None:
        """Expressions of routes and of the policy are timed; a slow one is an error with its line."""
        text = (
            f'{LISTENER}[[route]]\nserver_name = "a.test"\ntarget = "b:1"\n'
            "[[route]]\nserver_name = '~a.*'\ntarget = \"b:1\"\n[policy]\nallow_names = [\"b\", '~b.*']\n"
        )
        build(parse(text, "x.toml"), as_reactor(HandClock()))
        self.patch(trial, "MAX_MATCH_S", -1.0)
        error = str(self.assertRaises(ConfigError, build, parse(text, "x.toml"), HandClock()))
        line = LISTENER.count("\n") + 5
        self.assertIn(f'x.toml:{line}: route[1].server_name = "~a.*": it can backtrack too long', error)
        self.assertIn(f'x.toml:{line + 3}: policy.allow_names = "~b.*": it can', error)

    def test_endpoint(self) -> None:
        """An endpoint that Twisted does not know is a configuration error."""
        configuration = parse('[[listener]]\nendpoint = "foo:1"\n', "x.toml")
        wanted = (configuration, "listener[0].endpoint", "foo:1", HandClock())
        error = self.assertRaises(ConfigError, build_endpoint, *wanted)
        self.assertIn('x.toml: listener[0].endpoint = "foo:1": Twisted cannot use this endpoint', str(error))
