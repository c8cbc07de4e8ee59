"""Tests for sniproxy.config.parser."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.config.describe import warnings
from sniproxy.config.inspectlog import InspectLog
from sniproxy.config.model import Configuration, ResolverTable, Route, Termination
from sniproxy.config.parser import from_options, parse
from sniproxy.config.schema import ConfigError, Timeouts
from sniproxy.routing.policy import Policy, make_policy
from sniproxy.routing.templates import parse_template
from tests.support import configerrors
from tests.support.configerrors import LISTENER

FULL = """
[[listener]]
endpoint = "tcp:4443:interface=127.0.0.1"
name = "public"

[[listener]]
endpoint = "tcp6:4444"

[[route]]
server_name = "Pulsar-VIP.test."
target = ["127.0.0.1:6651", "127.0.0.1:6661"]

[[route]]
server_name = "broker-1.pulsar.test"
target = "pulsar+ssl://127.0.0.1:6651"
listener = "public"

[[route]]
server_name = "*.w.test"
resolver = "house"

[default]
target = "127.0.0.1:19003"

[no_server_name]
resolver = "house"

[resolver.house]
type = "static"
target = "127.0.0.1"

[timeouts]
hello = 1
connect = 2.5
idle = 0
half_closed = 3.0
drain = 0

[access_log]
path = "log/access.jsonl"
"""


def static(key: str, *targets: str) -> ResolverTable:
    """The resolution of a route's own targets."""
    return ResolverTable("static", {"target": list(targets)}, key, templates=tuple(map(parse_template, targets)))


class ParseTests(SynchronousTestCase):
    """parse: a whole file."""

    def test_full(self) -> None:
        """All keys are read; names are normalised, paths start from the folder of the file."""
        read = parse(FULL, "/etc/sniproxy/sniproxy.toml")
        house = ResolverTable("static", {"target": "127.0.0.1"}, "resolver.house", "house")
        self.assertEqual(
            [(listener.name, listener.endpoint.host, listener.endpoint.port) for listener in read.listeners],
            [("public", "127.0.0.1", 4443), ("tcp6:4444", "::", 4444)],
        )
        self.assertEqual(
            read.routes,
            (
                Route("pulsar-vip.test", None, static("route[0]", "127.0.0.1:6651", "127.0.0.1:6661")),
                Route("broker-1.pulsar.test", "public", static("route[1]", "pulsar+ssl://127.0.0.1:6651")),
                Route("*.w.test", None, house),
            ),
        )
        self.assertEqual(read.default, Route("default", None, static("default", "127.0.0.1:19003")))
        self.assertEqual(read.no_server_name, Route("no_server_name", None, house))
        self.assertEqual(read.timeouts, Timeouts(hello=1, connect=2.5, idle=0, half_closed=3.0, drain=0))
        self.assertEqual(read.access_log, "/etc/sniproxy/log/access.jsonl")
        self.assertEqual(read.filename, "/etc/sniproxy/sniproxy.toml")

    def test_defaults(self) -> None:
        """One listener is enough: no routes, no default, the documented timeouts, no access log."""
        read = parse(LISTENER, "f.toml")
        self.assertEqual((read.routes, read.default, read.no_server_name, read.access_log), ((), None, None, None))
        self.assertEqual(read.timeouts, Timeouts(hello=5.0, connect=10.0, idle=300.0, half_closed=60.0, drain=30.0))
        self.assertEqual(read.listeners[0].name, "tcp:4443")

    def access_log(self, path: str, filename: str, option: str | None = None) -> str | None:
        return parse(f'{LISTENER}[access_log]\npath = "{path}"', filename, option).access_log

    def test_access_log_path(self) -> None:
        """A relative path starts from the folder of the file; an absolute one and '-' are unchanged."""
        self.assertEqual(self.access_log("access.jsonl", "conf/f.toml"), "conf/access.jsonl")
        self.assertEqual(self.access_log("access.jsonl", "f.toml"), "access.jsonl")
        self.assertEqual(self.access_log("/var/log/a", "conf/f.toml"), "/var/log/a")
        self.assertEqual(self.access_log("-", "conf/f.toml"), "-")

    def test_access_log_option(self) -> None:
        """The option overrides the file, and starts from the working directory."""
        self.assertEqual(self.access_log("access.jsonl", "conf/f.toml", "mine.jsonl"), "mine.jsonl")
        self.assertEqual(parse(LISTENER, "conf/f.toml", "-").access_log, "-")
        error = self.assertRaises(ConfigError, parse, LISTENER, "f.toml", "")
        self.assertIn("--access-log", str(error))

    def test_same_name_on_two_listeners(self) -> None:
        """The same name may have a route for each listener, and one for all."""
        route = '[[route]]\nserver_name = "a.test"\ntarget = "b"\n'
        text = '[[listener]]\nendpoint = "tcp:1"\nname = "x"\n' + route + route + 'listener = "x"\n'
        self.assertEqual([route.listener for route in parse(text, "f.toml").routes], [None, "x"])


class ExampleTests(SynchronousTestCase):
    """The files in etc/: valid as shipped, and with every commented setting enabled."""

    def read(self, name: str) -> tuple[Configuration, Configuration]:
        """A file of etc/, as shipped, and with its commented settings enabled."""
        path = Path(__file__).parent.parent.parent / "etc" / name
        if not path.exists():
            raise SkipTest("etc/ is not here: the tests run apart from the sources")
        text = path.read_text()
        settings = re.sub(r"(?m)^# ?(?=[a-z_]+ = |\[)", "", text)
        self.assertNotEqual(text, settings)
        return parse(text, str(path)), parse(settings, str(path))

    def test_example(self) -> None:
        """etc/sniproxy.toml has the defaults."""
        read, _ = self.read("sniproxy.toml")
        self.assertEqual(Timeouts(), read.timeouts)

    def test_forward(self) -> None:
        """etc/forward.toml has the defaults except for names, and gives no warning."""
        both = self.read("forward.toml")
        self.assertEqual([1, 4], [len(read.routes) for read in both])
        for read in both:
            self.assertEqual(Policy(allow_names=read.policy.allow_names), read.policy)
            self.assertEqual([], list(warnings(read, 65536)))

    def test_bridge(self) -> None:
        """etc/bridge.toml has one bridge, and two with its comments enabled; it gives no warning."""
        both = self.read("bridge.toml")
        self.assertEqual([1, 2], [len(read.bridges) for read in both])
        for read in both:
            self.assertEqual((), read.listeners)
            self.assertEqual([], list(warnings(read, 65536)))


class ErrorTests(configerrors.ErrorCase):
    """Every error names the file, the key, the value and the cure, in one line."""

    def test_not_toml(self) -> None:
        """Text that is not TOML is refused with the line."""
        self.refused_file("[[listener]]\nendpoint = tcp", "invalid TOML", "line 2")

    def test_without_end(self) -> None:
        """A huge number and deep nesting are ordinary errors; control characters are escaped."""
        self.refused("x = " + "9" * 5000, "invalid TOML")
        self.refused("x = " + "[" * 5000, "invalid TOML")
        self.refused('[resolver."\\u001b[1m"]', r"resolver.\x1b[1m.type")
        self.refused('[access_log]\npath = "a\\u0000b"', "access_log.path")

    def test_no_listener(self) -> None:
        """A configuration without a listener is refused."""
        for text in ("", "listener = []"):
            self.refused_file(text, "listener", 'endpoint = "tcp:4443"')

    def test_endpoints(self) -> None:
        """An unusable endpoint is refused with the cure."""
        for endpoint, cure in (
            ("tls:4443", "use tcp:"),
            ("ssl:4443", "use tcp:"),
            ("haproxy:tcp:4443", "turn off send-proxy"),
            ("4443", "write tcp:4443"),
            ("tcp:x", "a number from 0"),
        ):
            self.refused_file(f'[[listener]]\nendpoint = "{endpoint}"', f'listener[0].endpoint = "{endpoint}"', cure)

    def test_plaintext(self) -> None:
        """A plaintext listener has one target or resolver; a TLS listener has none, and cannot be inspected."""
        start = '[[listener]]\nendpoint = "tcp:6650"\n'
        listener = parse(start + 'plaintext = true\ninspect = "pulsar"\ntarget = "b"\nname = "p"', "f.toml").listeners[
            0
        ]
        route = Route("plaintext", "p", static("listener[0]", "b"))
        self.assertEqual((route, True), (listener.plaintext, listener.inspect))
        for text, said in (
            ("plaintext = true", "listener[0]: it has neither"),
            ('target = "b"', 'listener[0].target = "b": a TLS listener uses the routes'),
            ('inspect = "pulsar"', 'listener[0].inspect = "pulsar": the proxy cannot inspect TLS'),
            (
                'plaintext = true\ntarget = "b"\ninspect = "kafka"',
                'listener[0].inspect = "kafka": the only inspector is',
            ),
        ):
            self.refused_file(start + text, said)

    def test_deferred_accept(self) -> None:
        """It needs a TCP listener and Linux; it is off by default."""
        (listener,) = parse(LISTENER, "f.toml").listeners
        self.assertFalse(listener.deferred_accept)
        for more in ("", 'plaintext = true\ntarget = "b"\n'):
            (listener,) = parse(f"{LISTENER}{more}deferred_accept = true", "f.toml").listeners
            self.assertTrue(listener.deferred_accept)
        unix = '[[listener]]\nendpoint = "unix:/run/s.sock"\ndeferred_accept = true'
        self.refused_file(unix, "listener[0].deferred_accept = true: only available on Linux and for TCP")

    def test_termination(self) -> None:
        """Paths of a listener that terminates TLS start from the folder of the file; both keys are required."""
        text = 'certificates = "certs"\nupstream_trust = "/etc/ca.pem"\ninspect = "pulsar"\nname = "t"\n'
        (listener,) = parse(LISTENER + text, "dir/f.toml").listeners
        self.assertEqual(Termination("dir/certs", "/etc/ca.pem", None, "listener[0]"), listener.termination)
        self.assertTrue(listener.inspect)
        (listener,) = parse(LISTENER + text + 'upstream_certificate = "own.pem"', "dir/f.toml").listeners
        assert listener.termination is not None
        self.assertEqual("dir/own.pem", listener.termination.certificate)
        for more, *said in (
            (
                'certificates = "c"',
                "listener[0].upstream_trust: required together with certificates; write the path of a PEM",
            ),
            (
                'upstream_trust = "c"',
                "listener[0].certificates: required together with upstream_trust; write the path of the PEM",
            ),
            ('upstream_certificate = "c"', "listener[0].certificates: required together with"),
            ('certificates = ""\nupstream_trust = "c"', 'listener[0].certificates = "": write the path'),
            ('certificates = "c"\nupstream_trust = "c"\ntarget = "b"', 'listener[0].target = "b"'),
            (
                'certificates = "c"\nupstream_trust = "c"\nplaintext = true\ntarget = "b"',
                'listener[0].certificates = "c": a plaintext listener terminates no TLS',
            ),
        ):
            self.refused(more, *said)

    def test_inspect_log(self) -> None:
        """The path of the event log starts from the folder of the file; reveal is read."""
        wanted = parse(f'{LISTENER}[inspect_log]\npath = "e.jsonl"\nreveal = true', "dir/f.toml").inspect_log
        self.assertEqual(InspectLog("dir/e.jsonl", True), wanted)
        table = '[inspect_log]\npath = "-"\nfollow = ["a/*"]\ncommands = ["lookup", "SEND"]'
        wanted = parse(LISTENER + table, "f.toml").inspect_log
        self.assertEqual(InspectLog("-", False, ("a/*",), ("lookup", "SEND")), wanted)
        table = '[inspect_log]\npath = "-"\ncommands = ["LOKUP"]'
        self.refused(table, "inspect_log.commands", "unknown command LOKUP; did you mean LOOKUP")

    def test_admin(self) -> None:
        """The admin endpoint is parsed as the endpoint of a listener."""
        admin = parse(f'{LISTENER}[admin]\nendpoint = "tcp:9090:interface=127.0.0.1"', "f.toml").admin
        assert admin is not None
        self.assertEqual(("127.0.0.1", 9090, ()), (admin.endpoint.host, admin.endpoint.port, admin.hosts))
        self.refused('[admin]\nendpoint = "tls:9090"', 'admin.endpoint = "tls:9090"', "use tcp:")

    def test_admin_token(self) -> None:
        """The path of the token starts from the folder of the configuration; a unix socket is private."""
        admin = parse(f'{LISTENER}[admin]\nendpoint = "unix:/run/s"\ntoken_file = "token"', "/etc/x/f.toml").admin
        assert admin is not None
        self.assertEqual("/etc/x/token", admin.token_file)
        self.assertTrue(admin.endpoint.text.endswith(":mode=600"))
        table = '[admin]\nendpoint = "tcp:9090:interface=127.0.0.1"\n'
        self.refused(f'{table}token_file = ""', "admin.token_file", "write the path of the file with the token")

    def test_same_address(self) -> None:
        """Two listeners cannot have the same address; two free ports are accepted."""
        self.refused('[[listener]]\nendpoint = "tcp:4443"\nname = "b"', "listener[1].endpoint", "uses this address")
        parse('[[listener]]\nendpoint = "tcp:0"\nname = "a"\n[[listener]]\nendpoint = "tcp:0"\nname = "b"', "f.toml")

    def test_listener_names(self) -> None:
        """Names of listeners are unique, configured or not."""
        self.refused('name = "x"\n[[listener]]\nendpoint = "tcp:2"\nname = "x"', 'listener[1].name = "x"', "its own")
        self.refused('[[listener]]\nendpoint = "tcp:4443"', 'listener[1].endpoint = "tcp:4443"', "uses this address")
        self.refused('name = " "', 'listener[0].name = " "', "remove the key")

    def test_server_names(self) -> None:
        """An invalid name or wildcard is refused."""
        self.refused(self.route("a b.test"), 'route[0].server_name = "a b.test"', "' ' is not allowed")
        self.refused(self.route("*"), 'route[0].server_name = "*"', "[default]")
        self.refused(self.route("a.*.test"), 'route[0].server_name = "a.*.test"', "'*.example.com'")
        self.refused(self.route(""), 'route[0].server_name = ""', "empty")

    def test_expressions(self) -> None:
        """An invalid expression is refused; a valid one is kept as written, in file order."""
        self.refused(self.route("~("), 'route[0].server_name = "~("', "invalid regular expression")
        read = parse(LISTENER + self.route("~b.*") + self.route("~a.*"), "f.toml")
        self.assertEqual(["~b.*", "~a.*"], [route.server_name for route in read.routes])

    def test_templates(self) -> None:
        """Unknown placeholders, and ones that the route cannot fill, are refused; others are kept."""
        self.refused(self.route("*.a", '"{host}:1"'), 'route[0].target = "{host}:1"', "unknown placeholder {host}")
        self.refused(self.route("a", '["b", "{1}:1"]'), 'route[0].target = "{1}:1"', "the wildcard in server_name")
        self.refused(self.route("~(a)b", '"{2}:1"'), "nothing for {2}")
        self.refused('[no_server_name]\ntarget = "{server_name}"', "no_server_name.target", "no server name")
        self.refused('[default]\ntarget = "{1}"', "default.target", "nothing for {1}")
        plain = 'plaintext = true\ntarget = "{server_name}"'
        self.refused_file(f'[[listener]]\nendpoint = "tcp:1"\n{plain}', "listener[0].target", "no server name")
        for text in (
            self.route("*.a", '"{1}.b:{port}"'),
            self.route("~(a)(b)", '"{1}{2}"'),
            '[default]\ntarget = "{server_name}"',
            '[no_server_name]\ntarget = "b:{port}"',
        ):
            parse(LISTENER + text, "f.toml")

    def test_policy(self) -> None:
        """The keys of the policy are checked; the errors have value and cure."""
        text = '[policy]\nallow_cidrs = ["10.0.0.0/8"]\nallow_ports = [6651, 4443]\nallow_names = ["*.A.test"]'
        policy = parse(LISTENER + text, "f.toml").policy
        self.assertEqual(make_policy(["10.0.0.0/8"], [4443, 6651], ["*.a.test"]), policy)
        self.assertEqual(Policy(), parse(LISTENER, "f.toml").policy)
        self.refused('[policy]\nallow_cidrs = ["10.0.0.7/8"]', 'policy.allow_cidrs = "10.0.0.7/8"', "write 10.0.0.0/8")
        self.refused("[policy]\nallow_ports = [0]", "policy.allow_ports = 0", "1 to 65535")
        self.refused("[policy]\nallow_port = [1]", "policy.allow_port = [1]", "did you mean allow_ports")

    def test_duplicate_routes(self) -> None:
        """A duplicate name is refused in any spelling, also for one listener."""
        self.refused(self.route("a.test") + self.route("A.Test."), 'route[1].server_name = "A.Test."', "in one route")
        more = 'listener = "tcp:4443"'
        self.refused(self.route("*.a", more=more) + self.route("*.a", more=more), 'route[1].server_name = "*.a"')
        self.refused(self.route("::1") + self.route("[0::1]"), 'route[1].server_name = "[0::1]"')

    def test_targets(self) -> None:
        """Each invalid target is named, in a route, [default] and [no_server_name]; an empty list is refused."""
        self.refused(self.route("a", '["b:1", "c:0"]'), 'route[0].target = "c:0"', "1 to 65535")
        self.refused(self.route("a", '"http://b"'), 'route[0].target = "http://b"', "pulsar+ssl://")
        self.refused(self.route("a", '["b:1", "c:1 weight=x"]'), 'route[0].target = "c:1 weight=x"', "0 to 65535")
        self.refused('[default]\ntarget = "c weight=-1"', 'default.target = "c weight=-1"', "bad weight '-1'")
        self.refused(self.route("a", "[]"), "route[0].target = []", "at least one target")
        self.refused('[default]\ntarget = "b c"', 'default.target = "b c"')
        self.refused('[no_server_name]\ntarget = ""', 'no_server_name.target = ""')

    def test_target_or_resolver(self) -> None:
        """A route has either targets or a resolver, and the resolver must have a table."""
        self.refused("[default]", "default: it has neither", "target = ", "resolver = ")
        self.refused('[[route]]\nserver_name = "a"', "route[0]: it has neither")
        self.refused(self.route("a", more='resolver = "x"'), "route[0]: it has both")
        self.refused('[default]\nresolver = "x"', 'default.resolver = "x"', "[resolver.x]")

    def test_resolver_type(self) -> None:
        """The table of a resolver must have a type."""
        self.refused("[resolver.x]\na = 1", "resolver.x.type = (absent)", 'type = "static"')
        self.refused("[resolver.x]\ntype = 1", "resolver.x.type = 1")

    def test_unknown_listener(self) -> None:
        """The error for an unknown listener of a route lists the known ones."""
        self.refused(self.route("a", more='listener = "x"'), 'route[0].listener = "x"', "listeners: tcp:4443")

    def test_timeouts(self) -> None:
        """Timeouts are over 0; idle and drain may be 0, which disables them; infinity and NaN are refused."""
        for key in ("hello", "connect", "half_closed"):
            self.refused(f"[timeouts]\n{key} = 0", f"timeouts.{key} = 0", "more than 0")
        for key in ("idle", "drain"):
            self.refused(f"[timeouts]\n{key} = -1", f"timeouts.{key} = -1", "0 or more")
        for value in ("nan", "inf", "1e8"):
            self.refused(f"[timeouts]\nidle = {value}", "timeouts.idle = ", "a number of seconds")

    def test_empty_access_log(self) -> None:
        """An empty path is refused."""
        self.refused('[access_log]\npath = ""', 'access_log.path = ""', "standard output")


class FromOptionsTests(SynchronousTestCase):
    """from_options: the command line."""

    def read(self, *routes: str, listen: str = "tcp:4443", access_log: str | None = None) -> Configuration:
        return from_options([listen], routes, access_log)

    def refused(self, *routes: str, listen: str = "tcp:4443", access_log: str | None = None) -> str:
        return str(self.assertRaises(ConfigError, from_options, [listen], routes, access_log))

    def test_options(self) -> None:
        """--listen and --route repeat; targets of a route are separated by commas; paths are unchanged."""
        read = self.read("A.test=127.0.0.1:6651", "*.eu.test=10.0.0.7:6651, [::1]:6651,", access_log="x/a.jsonl")
        self.assertEqual([route.server_name for route in read.routes], ["a.test", "*.eu.test"])
        self.assertEqual(read.routes[1].resolver.options["target"], ["10.0.0.7:6651", " [::1]:6651"])
        self.assertEqual((read.access_log, read.filename, read.timeouts), ("x/a.jsonl", "command line", Timeouts()))
        (route,) = self.read("a.test=10.0.0.7:6651 weight=2,10.0.0.8").routes
        self.assertEqual([2, 1], [template.weight for template in route.resolver.templates])
        self.assertEqual(self.read(access_log="-").access_log, "-")
        self.assertEqual(len(from_options(["tcp:1", "tcp:2"], [], None).listeners), 2)

    def test_errors(self) -> None:
        """The error names the option in place of a key."""
        self.assertIn("NAME=HOST:PORT", self.refused("a.test"))
        self.assertIn("--route = []", self.refused("a.test="))
        self.assertIn('--route = "b:x"', self.refused("a.test=c,b:x"))
        self.assertIn('--route = "a b"', self.refused("a b=c"))
        self.assertIn('--route = "a.test"', self.refused("a.test=b", "a.test=c"))
        self.assertIn('--listen = "tls:1"', self.refused(listen="tls:1"))
        self.assertIn('--access-log = ""', self.refused(access_log=""))
        self.assertIn("--listen tcp:4443", str(self.assertRaises(ConfigError, from_options, [], [], None)))
