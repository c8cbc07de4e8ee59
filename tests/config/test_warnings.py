"""Tests for sniproxy.config.warnings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.describe import warnings
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.config.warnings import lacks_https, missing_https_routes, no_service_route, written_targets
from sniproxy.interfaces import Target
from tests.support.configerrors import LISTENER

FORWARD = '[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{server_name}:6651"\n'


class WrittenTests(SynchronousTestCase):
    """Configured targets and the names of their brokers."""

    def test_weights(self) -> None:
        """A target counts once, whatever its weights; its broker's name is that of the route with this target alone."""
        text = (
            '[[route]]\nserver_name = "vip.test"\ntarget = ["10.0.0.7 weight=2", "10.0.0.8"]\n'
            '[[route]]\nserver_name = "b-1.test"\ntarget = "10.0.0.7"\n'
        )
        found = list(written_targets(parse(LISTENER + text, "f.toml")))
        self.assertEqual([(Target("10.0.0.7", 6651), "b-1.test"), (Target("10.0.0.8", 6651), "vip.test")], found)


class WarningTests(SynchronousTestCase):
    """Warnings about valid, but probably unintended settings."""

    def warned(self, text: str, listener: str = LISTENER) -> list[str]:
        return list(warnings(parse(listener + text, "f.toml"), 65536))

    def test_only_from(self) -> None:
        """A route for all clients leads to the target of a route for some."""
        text = """[[route]]
server_name = "b.test"
target = "10.0.0.7:6651"
only_from = ["10.1.0.0/16"]
[[route]]
server_name = "vip.test"
target = ["10.0.0.7:6651", "10.0.0.8:6651"]
"""
        self.one(text, "route vip.test: no only_from, but route b.test has one for target 10.0.0.7:6651: clients that")
        plain = f'{LISTENER}[[listener]]\nname = "p"\nendpoint = "tcp:9"\nplaintext = true\ntarget = "10.0.0.7:6651"\n'
        self.assertIn("route plaintext of listener p: no only_from", self.warned(text, plain)[-1])
        self.assertEqual([], self.warned(text + 'only_from = ["10.2.0.0/16"]\n'))

    def one(self, text: str, *said: str) -> None:
        (warning,) = self.warned(text)
        for part in said:
            self.assertIn(part, warning)

    def test_none(self) -> None:
        """A sound forward proxy gives no warning, with or without a policy."""
        self.assertEqual([], self.warned(FORWARD))
        policy = '[policy]\nallow_cidrs = ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8"]\nallow_names = ["*.test", "~x"]\n'
        self.assertEqual([], self.warned(FORWARD + policy))
        self.assertEqual([], self.warned(FORWARD.replace(":6651", ":4443") + "[policy]\nallow_ports = [4443]\n"))
        self.assertEqual([], self.warned(FORWARD.replace(":6651", ":{port}") + "[policy]\nallow_ports = [4443]\n"))

    def test_useless_port(self) -> None:
        """A target with a port that the policy denies gives a warning, also if it is the listener's port."""
        for port in ("4443", "{port}"):
            text = FORWARD.replace("6651", port)
            self.one(text, f"target {{server_name}}:{port}: policy.allow_ports does not include 4443", "denied")
        self.assertEqual([], self.warned(FORWARD.replace("6651", "{port}"), LISTENER.replace("4443", "0")))
        self.one(
            '[[route]]\nserver_name = "*.test"\ntarget = "{1}.a"\n[policy]\nallow_ports = [7]\n', "not include 6651"
        )
        unknown = '[[route]]\nserver_name = "~a([0-9]+)"\ntarget = "10.0.0.7:{1}"\n'
        self.assertEqual([], self.warned(unknown))

    def test_useless_name(self) -> None:
        """A target with a host that no allowed name matches gives a warning; an unknown host gives none."""
        other = '[policy]\nallow_names = ["a.test", "*.other.test"]\n'
        self.one(FORWARD + other, "allow_names has no name that ends in .pulsar.test: every connection is denied")
        part = '[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{1}.internal:6651"\n'
        self.one(part + other, "ends in .internal")
        exact = '[[route]]\nserver_name = "b.test"\ntarget = "{server_name}"\n'
        self.one(exact + other, "ends in b.test")
        for name in ("*.internal", "*.a.internal", "a.internal", "~.*"):
            self.assertEqual([], self.warned(f'{part}[policy]\nallow_names = ["{name}"]\n'))
        for target in ("{1}", "[{1}]:6651"):
            self.assertEqual([], self.warned(part.replace("{1}.internal:6651", target) + other))
        self.assertEqual([], self.warned('[default]\ntarget = "{server_name}"\n' + other))

    def test_wide(self) -> None:
        """Networks wider than private ones, and the one of cloud metadata, give warnings."""
        for network in ("0.0.0.0/0", "::/0", "8.0.0.0/7", "fc00::/6"):
            self.one(f'{FORWARD}[policy]\nallow_cidrs = ["{network}"]\n', network, "wider than any private network")
        self.one(FORWARD + '[policy]\nallow_cidrs = ["169.254.0.0/16"]\n', "credentials")
        self.one(FORWARD + '[policy]\nallow_cidrs = ["169.254.169.254"]\n', "credentials")

    def test_open(self) -> None:
        """A default route to any host gives a warning, unless the policy names hosts."""
        text = '[default]\ntarget = "{server_name}"\n'
        self.one(text, "route default: target {server_name}: an open proxy", "set policy.allow_names")
        self.assertEqual([], self.warned(text + '[policy]\nallow_names = ["*.test"]\n'))

    def test_policy_that_does_nothing(self) -> None:
        """A policy without effect gives a warning; a plugin may use it."""
        plain = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.7"\n[policy]\nallow_ports = [7]\n'
        self.one(plain, "[policy] has no effect")
        asks = '[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\ntype = "theirs"\n'
        self.assertEqual([], self.warned(asks + "[policy]\nallow_ports = [7]\n"))

    def test_static_resolver(self) -> None:
        """A resolver's target that a route cannot fill gives a warning; an invalid one is reported elsewhere."""
        text = '[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\ntype = "static"\n'
        self.one(
            text + 'target = "{1}:1"', "route a.test: target {1}:1: server_name captures nothing for {1}", "refused"
        )
        for bad in ("", "target = 7", 'target = "a b"'):
            self.assertEqual([], self.warned(text + bad))
        nameless = text.replace('[[route]]\nserver_name = "a.test"', "[no_server_name]")
        self.assertIn("its connections have no server name", self.warned(nameless + 'target = "{1}"')[-1])

    def test_expressions(self) -> None:
        """An expression that can backtrack without bound is refused; dots and underscores in one give no warning."""
        text = '[[route]]\nserver_name = "~{}"\ntarget = "10.0.0.7"\n'
        for bad, key in (
            (text.format("(a+)+x"), "route[0].server_name"),
            (FORWARD + '[policy]\nallow_names = ["~(a+)+x"]\n', "policy.allow_names"),
        ):
            said = str(self.assertRaises(ConfigError, self.warned, bad))
            self.assertIn(key, said)
            self.assertIn("it can backtrack without bound: a repeat holds", said)
        self.assertEqual([], self.warned(text.format("broker_([0-9]+)")))


class HTTPSTests(SynchronousTestCase):
    """lacks_https: geo-replication from Pulsar 4.2 on needs a route to an HTTPS port."""

    def lacks(self, *targets: str, before: str = LISTENER, more: str = "") -> bool:
        tables = "".join(
            f'[[route]]\nserver_name = "*.{place}.test"\n{target}\n' for place, target in enumerate(targets)
        )
        return lacks_https(parse(f"{before}{tables}{more}", "f.toml"))

    def test_lacking(self) -> None:
        """True where every route leads to another port, by address or by the client's name."""
        self.assertTrue(self.lacks('target = ["10.0.0.7:6651", "10.0.0.8"]'))
        self.assertTrue(self.lacks('target = "{server_name}:6651"'))
        self.assertTrue(self.lacks(more='[default]\ntarget = "10.0.0.7"\n'))

    def test_there(self) -> None:
        """False with one target at 443 or 8443."""
        self.assertFalse(self.lacks('target = "10.0.0.7:6651"', 'target = ["10.0.0.8:6651", "10.0.0.7:8443"]'))
        self.assertFalse(self.lacks('target = "{server_name}:443"'))
        self.assertFalse(self.lacks('target = "10.0.0.7:6651"', more='[default]\ntarget = "10.0.0.7:8443"\n'))

    def test_unknown(self) -> None:
        """False where a resolver, or the client's name, decides about the port."""
        resolver = '[resolver.brokers]\ntype = "our-own"\n'
        self.assertFalse(self.lacks('target = "10.0.0.7:6651"', 'resolver = "brokers"', more=resolver))
        ports = "[[route]]\nserver_name = '~b([0-9]{4})[.]test'\ntarget = \"10.0.0.7:{1}\"\n"
        self.assertFalse(self.lacks(more=ports))

    def test_no_names(self) -> None:
        """False without a listener that reads names, and without routes."""
        plaintext = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "10.0.0.7:6650"\n'
        self.assertFalse(self.lacks('target = "10.0.0.7:6651"', before=plaintext))
        self.assertFalse(self.lacks())


class MissingHTTPSTests(SynchronousTestCase):
    """missing_https_routes: the admin API redirects to every broker."""

    def warned(self, *routes: tuple[str, str, int], more: str = "") -> list[str]:
        """@param routes: listener (empty: all), server name and port of each route."""
        text = "".join(f'[[listener]]\nname = "{name}"\nendpoint = "tcp:{name[1:]}"\n' for name in ("p4443", "h8443"))
        for listener, name, port in routes:
            text += f"[[route]]\nserver_name = '{name}'\ntarget = \"10.0.0.7:{port}\"\n"
            text += f'listener = "{listener}"\n' if listener else ""
        return list(missing_https_routes(parse(text + more, "f.toml")))

    BINARY = (("p4443", "vip.test", 6651), ("p4443", "b1.test", 6651), ("p4443", "b2.test", 6661))

    def test_missing(self) -> None:
        """The names without a route on the HTTPS listener are named, at most three."""
        (said,) = self.warned(*self.BINARY, ("h8443", "vip.test", 8443))
        self.assertTrue(said.startswith("listener h8443: no route for b1.test, b2.test: "), said)
        many = [("p4443", f"c{digit}.test", 6651) for digit in range(3)]
        (said,) = self.warned(*self.BINARY, *many, ("h8443", "vip.test", 443))
        self.assertIn("no route for b1.test, b2.test, c0.test and 2 more: ", said)

    def test_complete(self) -> None:
        """No warning where each name has its route, or a wildcard, an expression or a general route may match it."""
        vip = ("h8443", "vip.test", 8443)
        self.assertEqual([], self.warned(*self.BINARY, vip, ("h8443", "b1.test", 8443), ("h8443", "b2.test", 8443)))
        self.assertEqual([], self.warned(*self.BINARY, vip, ("h8443", "*.test", 8443)))
        self.assertEqual([], self.warned(*self.BINARY, vip, ("h8443", "~b[0-9][.]test", 8443)))
        self.assertEqual([], self.warned(*self.BINARY, vip, ("", "b1.test", 8443)))
        self.assertEqual([], self.warned(*self.BINARY, vip, more='[default]\ntarget = "10.0.0.7:8443"\n'))

    def test_other_names(self) -> None:
        """No warning where HTTPS has names of its own, leads elsewhere, or others have patterns only."""
        self.assertEqual([], self.warned(*self.BINARY, ("h8443", "admin.test", 8443)))
        self.assertEqual([], self.warned(*self.BINARY, ("h8443", "vip.test", 6651)))
        vip = ("vip.test", 6651), ("vip.test", 8443)
        self.assertEqual([], self.warned(("p4443", *vip[0]), ("p4443", "*.test", 6651), ("h8443", *vip[1])))


class ServiceNameTests(SynchronousTestCase):
    """no_service_route: the lookup phase needs a route for the service name."""

    def noted(self, *routes: tuple[str, str], more: str = "") -> bool:
        tables = "".join(f'[[route]]\nserver_name = "{name}"\ntarget = {target}\n' for name, target in routes)
        return bool(list(no_service_route(parse(f"{LISTENER}{tables}{more}", "f.toml"))))

    def test_missing(self) -> None:
        """Exact names with one broker each, and wildcards that derive the broker from the name, give a warning."""
        self.assertTrue(self.noted(("broker-1.test", '"b:1"'), ("broker-2.test", '"c:1"')))
        self.assertTrue(self.noted(("a.test", '"b:1"'), ("b.test", '"c:1"')))
        self.assertTrue(self.noted(("*.test", '"{1}.internal"')))
        self.assertTrue(self.noted(("*.test", '"{1}.internal"'), ("broker-1.test", '"b:1"')))

    def test_there(self) -> None:
        """No warning with several targets, a broker with two names, a word for a service, [default], or a resolver."""
        brokers = (("broker-1.test", '"b:1"'), ("broker-2.test", '"c:1"'))
        self.assertFalse(self.noted(*brokers, ("x.test", '["b:1", "c:1"]')))
        self.assertFalse(self.noted(*brokers, ("x.test", '"b:1"')))
        self.assertFalse(self.noted(*brokers, ("pulsar-vip.test", '"lb:1"')))
        self.assertFalse(self.noted(*brokers, ("*.x.test", '"b:2"')))
        self.assertFalse(self.noted(*brokers, more='[default]\ntarget = "b:1"\n'))
        self.assertFalse(self.noted(("*.test", '"{server_name}"')))
        self.assertFalse(self.noted(("broker-1.test", '"b:1"')))
