"""Tests for sniproxy.config."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import ConfigError, Configuration, ResolverTable, Route, Timeouts, from_options, parse, shown

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'

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
    """What a route's own targets become."""
    return ResolverTable("static", {"target": list(targets)}, key)


class ParseTests(SynchronousTestCase):
    """parse: a whole file."""

    def test_full(self) -> None:
        """Everything that can be written is read; names are normalised, paths start from the file's folder."""
        read = parse(FULL, "/etc/sniproxy/sniproxy.toml")
        house = ResolverTable("static", {"target": "127.0.0.1"}, "resolver.house")
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
        """One listener is enough: no routes, nothing by default, the documented timeouts, no access log."""
        read = parse(LISTENER, "f.toml")
        self.assertEqual((read.routes, read.default, read.no_server_name, read.access_log), ((), None, None, None))
        self.assertEqual(read.timeouts, Timeouts(hello=5.0, connect=10.0, idle=300.0, half_closed=60.0, drain=30.0))
        self.assertEqual(read.listeners[0].name, "tcp:4443")

    def access_log(self, path: str, filename: str, option: str | None = None) -> str | None:
        return parse(f'{LISTENER}[access_log]\npath = "{path}"', filename, option).access_log

    def test_accessLogPath(self) -> None:
        """A relative path starts from the file's folder, an absolute one and '-' are what they are."""
        self.assertEqual(self.access_log("access.jsonl", "conf/f.toml"), "conf/access.jsonl")
        self.assertEqual(self.access_log("access.jsonl", "f.toml"), "access.jsonl")
        self.assertEqual(self.access_log("/var/log/a", "conf/f.toml"), "/var/log/a")
        self.assertEqual(self.access_log("-", "conf/f.toml"), "-")

    def test_accessLogOption(self) -> None:
        """The option beats the file, and starts from the working directory."""
        self.assertEqual(self.access_log("access.jsonl", "conf/f.toml", "mine.jsonl"), "mine.jsonl")
        self.assertEqual(parse(LISTENER, "conf/f.toml", "-").access_log, "-")
        error = self.assertRaises(ConfigError, parse, LISTENER, "f.toml", "")
        self.assertIn("--access-log", str(error))

    def test_sameNameOnTwoListeners(self) -> None:
        """The same name may have a route for each listener, and one for all."""
        route = '[[route]]\nserver_name = "a.test"\ntarget = "b"\n'
        text = '[[listener]]\nendpoint = "tcp:1"\nname = "x"\n' + route + route + 'listener = "x"\n'
        self.assertEqual([route.listener for route in parse(text, "f.toml").routes], [None, "x"])


class ErrorTests(SynchronousTestCase):
    """Every error names the file, the key, the value and the cure, in one line."""

    def refused(self, text: str, *said: str) -> None:
        """A file with one listener and this text is refused; the message begins with the file and says all this."""
        self.refused_file(LISTENER + text, *said)

    def refused_file(self, text: str, *said: str) -> None:
        message = str(self.assertRaises(ConfigError, parse, text, "dir/f.toml"))
        self.assertTrue(message.startswith("dir/f.toml: "), message)
        for part in said:
            self.assertIn(part, message)
        self.assertNotIn("\n", message)

    def route(self, server_name: str, target: str = '"b:1"', more: str = "") -> str:
        return f'[[route]]\nserver_name = "{server_name}"\ntarget = {target}\n{more}\n'

    def test_notTOML(self) -> None:
        """What is not TOML is refused with the parser's line."""
        self.refused_file("[[listener]]\nendpoint = tcp", "not TOML", "line 2")

    def test_noListener(self) -> None:
        """Without a listener there is nothing to do."""
        for text in ("", "listener = []"):
            self.refused_file(text, "listener", 'endpoint = "tcp:4443"')

    def test_unknownKeys(self) -> None:
        """An unknown key is named with its place and value, and with the known one that is like it."""
        self.refused("[[rout]]\nx = 1", "rout = [{'x': 1}]", "did you mean route?")
        self.refused('[[route]]\nservername = "a"\ntarget = "b"', 'route[0].servername = "a"', "mean server_name?")
        self.refused("[timeouts]\nidel = 7", "timeouts.idel = 7", "did you mean idle?")
        self.refused('[access_log]\npath = "-"\nzzz = true', "access_log.zzz = true", "known here: path")
        self.refused('[default]\ntarget = "a"\nserver_name = "b"', 'default.server_name = "b"', "known here: target")
        self.refused('[no_server_name]\ntargets = "a"', 'no_server_name.targets = "a"', "did you mean target?")
        self.refused('nam = "x"', 'listener[0].nam = "x"', "did you mean name?")
        self.refused('"a\\nb" = "x"', 'listener[0].a\\nb = "x"', "no such key")

    def test_missingKeys(self) -> None:
        """A key that is missing is named, with an example."""
        self.refused_file('[[listener]]\nname = "x"', "listener[0].endpoint: it is missing", 'endpoint = "tcp:4443"')
        self.refused('[[route]]\ntarget = "b"', "route[0].server_name: it is missing", "server_name = ")
        self.refused("[access_log]", "access_log.path: it is missing", "path = ")

    def test_types(self) -> None:
        """A value of a wrong type is shown, with the type that it has and the one to write, in TOML's words."""
        self.refused("[timeouts]\nhello = true", "timeouts.hello = true", "it is true or false; write a number")
        self.refused('[timeouts]\nhello = "5"', 'timeouts.hello = "5"', "it is a text in quotes; write a number")
        self.refused("[[route]]\nserver_name = 7", "route[0].server_name = 7", "write a text in quotes")
        self.refused(self.route("a", "7"), "route[0].target = 7", "write a text in quotes or a list")
        self.refused(self.route("a", '["b", 7]'), "route[0].target[1] = 7", "write a text in quotes")
        self.refused("[resolver]\nx = 7", "resolver.x = 7", "write a table")
        self.refused_file("listener = 7", "listener = 7", "write a list")
        self.refused_file("listener = [7]", "listener[0] = 7", "write a table")

    def test_endpoints(self) -> None:
        """An endpoint that cannot be a listener is refused, with what to write."""
        for endpoint, cure in (
            ("tls:4443", "write tcp: instead"),
            ("ssl:4443", "write tcp: instead"),
            ("haproxy:tcp:4443", "turn off send-proxy"),
            ("4443", "write tcp:4443"),
            ("tcp:x", "a number from 0"),
        ):
            self.refused_file(f'[[listener]]\nendpoint = "{endpoint}"', f'listener[0].endpoint = "{endpoint}"', cure)

    def test_listenerNames(self) -> None:
        """Listeners have names of their own, given or not."""
        self.refused('name = "x"\n[[listener]]\nendpoint = "tcp:2"\nname = "x"', 'listener[1].name = "x"', "its own")
        self.refused('[[listener]]\nendpoint = "tcp:4443"', 'listener[1].name = "tcp:4443"', "another listener")
        self.refused('name = " "', 'listener[0].name = " "', "leave the key out")

    def test_serverNames(self) -> None:
        """A bad name or wildcard is refused."""
        self.refused(self.route("a b.test"), 'route[0].server_name = "a b.test"', "' ' is not allowed")
        self.refused(self.route("*"), 'route[0].server_name = "*"', "[default]")
        self.refused(self.route("a.*.test"), 'route[0].server_name = "a.*.test"', "'*.example.com'")
        self.refused(self.route(""), 'route[0].server_name = ""', "empty")

    def test_duplicateRoutes(self) -> None:
        """The same name twice is refused, however it is written; so it is for one listener."""
        self.refused(self.route("a.test") + self.route("A.Test."), 'route[1].server_name = "A.Test."', "one list")
        more = 'listener = "tcp:4443"'
        self.refused(self.route("*.a", more=more) + self.route("*.a", more=more), 'route[1].server_name = "*.a"')
        self.refused(self.route("::1") + self.route("[0::1]"), 'route[1].server_name = "[0::1]"')

    def test_targets(self) -> None:
        """A bad target is named alone, in a route, [default] and [no_server_name]; an empty list is refused."""
        self.refused(self.route("a", '["b:1", "c:0"]'), 'route[0].target = "c:0"', "1 to 65535")
        self.refused(self.route("a", '"http://b"'), 'route[0].target = "http://b"', "pulsar+ssl://")
        self.refused(self.route("a", "[]"), "route[0].target = []", "at least one target")
        self.refused('[default]\ntarget = "b c"', 'default.target = "b c"')
        self.refused('[no_server_name]\ntarget = ""', 'no_server_name.target = ""')

    def test_targetOrResolver(self) -> None:
        """A route has either targets or a resolver, and the resolver has a table."""
        self.refused("[default]", "default: it has neither", "target = ", "resolver = ")
        self.refused('[[route]]\nserver_name = "a"', "route[0]: it has neither")
        self.refused(self.route("a", more='resolver = "x"'), "route[0]: it has both")
        self.refused('[default]\nresolver = "x"', 'default.resolver = "x"', "[resolver.x]")

    def test_resolverType(self) -> None:
        """A resolver's table names its type."""
        self.refused("[resolver.x]\na = 1", "resolver.x.type = (absent)", 'type = "static"')
        self.refused("[resolver.x]\ntype = 1", "resolver.x.type = 1")

    def test_unknownListener(self) -> None:
        """A route's listener exists; those that do are named."""
        self.refused(self.route("a", more='listener = "x"'), 'route[0].listener = "x"', "there are: tcp:4443")

    def test_timeouts(self) -> None:
        """A timeout is more than 0; idle and drain may be 0, which means none; infinity and NaN are no numbers."""
        for key in ("hello", "connect", "half_closed"):
            self.refused(f"[timeouts]\n{key} = 0", f"timeouts.{key} = 0", "more than 0")
        for key in ("idle", "drain"):
            self.refused(f"[timeouts]\n{key} = -1", f"timeouts.{key} = -1", "0 or more")
        for value in ("nan", "inf", "1e8"):
            self.refused(f"[timeouts]\nidle = {value}", "timeouts.idle = ", "a number of seconds")

    def test_emptyAccessLog(self) -> None:
        """An empty path is refused."""
        self.refused('[access_log]\npath = ""', 'access_log.path = ""', "standard output")


class FromOptionsTests(SynchronousTestCase):
    """from_options: the command line."""

    def read(self, *routes: str, listen: str = "tcp:4443", access_log: str | None = None) -> Configuration:
        return from_options([listen], routes, access_log)

    def refused(self, *routes: str, listen: str = "tcp:4443", access_log: str | None = None) -> str:
        return str(self.assertRaises(ConfigError, from_options, [listen], routes, access_log))

    def test_options(self) -> None:
        """Listeners and routes repeat; a route's targets are separated by commas; a path is what it is."""
        read = self.read("A.test=127.0.0.1:6651", "*.eu.test=10.0.0.7:6651, [::1]:6651,", access_log="x/a.jsonl")
        self.assertEqual([route.server_name for route in read.routes], ["a.test", "*.eu.test"])
        self.assertEqual(read.routes[1].resolver.options["target"], ["10.0.0.7:6651", " [::1]:6651"])
        self.assertEqual((read.access_log, read.filename, read.timeouts), ("x/a.jsonl", "command line", Timeouts()))
        self.assertEqual(self.read(access_log="-").access_log, "-")
        self.assertEqual(len(from_options(["tcp:1", "tcp:2"], [], None).listeners), 2)

    def test_errors(self) -> None:
        """An error names the option in place of a key."""
        self.assertIn("NAME=HOST:PORT", self.refused("a.test"))
        self.assertIn("--route = []", self.refused("a.test="))
        self.assertIn('--route = "b:x"', self.refused("a.test=c,b:x"))
        self.assertIn('--route = "a b"', self.refused("a b=c"))
        self.assertIn('--route = "a.test"', self.refused("a.test=b", "a.test=c"))
        self.assertIn('--listen = "tls:1"', self.refused(listen="tls:1"))
        self.assertIn('--access-log = ""', self.refused(access_log=""))
        self.assertIn("--listen tcp:4443", str(self.assertRaises(ConfigError, from_options, [], [], None)))


class ShownTests(SynchronousTestCase):
    """shown: values in messages."""

    def test_values(self) -> None:
        """As TOML would write them, in one line of ASCII, at most 80 characters."""
        for value, text in (
            (None, "(absent)"),
            (True, "true"),
            (7.5, "7.5"),
            ("a\nb\xe9", '"a\\nb\\xe9"'),
            ("x" * 200, '"' + "x" * 76 + "..."),
        ):
            self.assertEqual(shown(value), text)
