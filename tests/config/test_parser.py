"""Tests for sniproxy.config.parser."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sniproxy.config.describe import warnings
from sniproxy.config.inspectlog import InspectLog
from sniproxy.config.model import Configuration, ResolverTable, Route
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
        self.assertEqual(read.timeouts, Timeouts(hello=10.0, connect=10.0, idle=300.0, half_closed=60.0, drain=30.0))
        self.assertEqual(read.listeners[0].name, "tcp:4443")

    def test_rarely_used(self) -> None:
        """What few configurations have is read, too: listeners that close, faults, and a port of a header."""
        read = parse(
            '[[listener]]\nname = "front"\nendpoint = "tcp:4443"\nclosed_when_down = "a.test"\n'
            'proxy_protocol = "required"\nproxy_protocol_from = ["10.0.0.0/8"]\n'
            '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.8:6651"\n'
            '[[route]]\nserver_name = "b.test"\ntarget = "10.0.0.7:{proxy_protocol_port}"\n'
            '[health]\ncheck = "tcp"\n[[fault]]\nname = "slow"\naction = "delay"\nseconds = 1\nafter_bytes = 5\n',
            "x.toml",
        )
        self.assertEqual((["slow"], "a.test"), ([one.name for one in read.faults], read.listeners[0].closed_when_down))
        for line, message in (
            ('closed_when_down = "b.test"\n', "closed_when_down"),
            ("", "proxy_protocol_port"),
        ):
            with self.assertRaises(ConfigError) as raised:
                parse(
                    f'[[listener]]\nendpoint = "tcp:4443"\n{line}'
                    '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.7:{proxy_protocol_port}"\n',
                    "x.toml",
                )
            self.assertIn(message, str(raised.exception))

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


class NotesTests(SynchronousTestCase):
    """Notes: of [health] without check, the keys that have no effect."""

    def warned(self, health: str) -> str:
        text = f'[[listener]]\nendpoint = "tcp:1"\n[default]\ntarget = "10.0.0.7:1"\n{health}\n'
        return "\n".join(parse(text, "f.toml").notes)

    def test_without_check(self) -> None:
        """Keys without effect are named, with the cure; an empty table, too."""
        self.assertEqual(
            "[health] checks nothing: check is missing; interval alone has no effect; "
            'write check = "tcp" or check = "tls"',
            self.warned("[health]\ninterval = 3"),
        )
        self.assertIn("fall, rise alone have no effect;", self.warned("[health]\nrise = 2\nfall = 4"))
        self.assertIn("check is missing; write", self.warned("[health]"))
        self.assertIn("missing; rise alone has no effect", self.warned("[health]\neject = 30\nfall = 4\nrise = 2"))

    def test_good(self) -> None:
        """With check, with eject and fall, or without the table there is no note."""
        for health in (
            "",
            '[health]\ncheck = "tcp"\nrise = 2',
            "[health]\neject = 30",
            "[health]\neject = 30\nfall = 4",
        ):
            self.assertEqual("", self.warned(health), health)


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

    def test_inspect_log(self) -> None:
        """The path of the event log starts from the folder of the file; reveal is read."""
        wanted = parse(f'{LISTENER}[inspect_log]\npath = "e.jsonl"\nreveal = true', "dir/f.toml").inspect_log
        self.assertEqual(InspectLog("dir/e.jsonl", True), wanted)
        table = '[inspect_log]\npath = "-"\nfollow = ["a/*"]\ncommands = ["lookup", "SEND"]'
        wanted = parse(LISTENER + table, "f.toml").inspect_log
        self.assertEqual(InspectLog("-", False, ("a/*",), ("lookup", "SEND")), wanted)
        table = '[inspect_log]\npath = "-"\ncommands = ["LOKUP"]'
        self.refused(table, "inspect_log.commands", "unknown command LOKUP; did you mean LOOKUP")

    def test_policy(self) -> None:
        """The keys of the policy are checked; the errors have value and cure."""
        text = '[policy]\nallow_cidrs = ["10.0.0.0/8"]\nallow_ports = [6651, 4443]\nallow_names = ["*.A.test"]'
        policy = parse(LISTENER + text, "f.toml").policy
        self.assertEqual(make_policy(["10.0.0.0/8"], [4443, 6651], ["*.a.test"]), policy)
        self.assertEqual(Policy(), parse(LISTENER, "f.toml").policy)
        self.refused('[policy]\nallow_cidrs = ["10.0.0.7/8"]', 'policy.allow_cidrs = "10.0.0.7/8"', "write 10.0.0.0/8")
        self.refused("[policy]\nallow_ports = [0]", "policy.allow_ports = 0", "1 to 65535")
        self.refused("[policy]\nallow_port = [1]", "policy.allow_port = [1]", "did you mean allow_ports")

    def test_resolver_type(self) -> None:
        """The table of a resolver must have a type."""
        self.refused("[resolver.x]\na = 1", "resolver.x.type = (absent)", 'type = "static"')
        self.refused("[resolver.x]\ntype = 1", "resolver.x.type = 1")


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
