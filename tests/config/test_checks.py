"""Tests for sniproxy.config.checks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.checks import COMMAND_LINE, Check
from sniproxy.config.parser import parse
from sniproxy.config.schema import AccessLogTable, ConfigError, DefaultTable, ListenerTable, RouteEntry, each_error
from sniproxy.config.tables import MAX_ERRORS
from tests.support.configerrors import LISTENER, ErrorCase


class CheckTests(SynchronousTestCase):
    """Errors name the file, the key, the value and the cure."""

    def test_file(self) -> None:
        """In a file, the key has the name of its table."""
        error = Check("x.toml").error("listener[0].name", "", "write a printable name")
        self.assertEqual('x.toml: listener[0].name = "": write a printable name', str(error))

    def test_options(self) -> None:
        """On the command line, the key is the option."""
        error = Check(COMMAND_LINE).error("listener[0]", "x", "write tcp:4443")
        self.assertEqual('command line: --listen = "x": write tcp:4443', str(error))

    def test_units(self) -> None:
        """For a number with a unit, the cure has the converted number."""
        error = Check("x.toml").error("timeouts.idle", "5m", "must be a number of seconds, 0 or more")
        self.assertIn("300", str(error))

    def test_path(self) -> None:
        """The path of a log starts from the folder of the file; C{-} is standard output."""
        check = Check("/etc/sniproxy/x.toml")
        self.assertEqual("/etc/sniproxy/access.log", check.path("access_log.path", "access.log"))
        self.assertEqual("-", check.path("access_log.path", "-"))
        self.assertRaises(ConfigError, check.path, "access_log.path", "")

    def test_file_path(self) -> None:
        """The path of a file starts from the folder of the configuration, and is not empty."""
        check = Check("/etc/sniproxy/x.toml")
        self.assertEqual("/etc/sniproxy/ca.pem", check.file("bridge[0].trust", "ca.pem"))
        for path in ("", "a\0b"):
            error = self.assertRaises(ConfigError, check.file, "bridge[0].trust", path)
            self.assertIn("write the path of a PEM file", str(error))

    def test_many_bad_routes(self) -> None:
        """Of very many wrong routes only the first are checked: the others are reported once these are right."""
        error = self.assertRaises(ConfigError, Check("x.toml").routes, [RouteEntry("a b")] * 100, [], {})
        self.assertEqual(MAX_ERRORS + 1, len(each_error(error)))

    def test_log_format(self) -> None:
        """The program's log is text or JSON."""
        self.assertEqual("json", parse(LISTENER + '[log]\nformat = "json"\n', "x.toml").log_format)
        error = self.assertRaises(ConfigError, parse, LISTENER + '[log]\nformat = "xml"\n', "x.toml")
        self.assertIn('log.format = "xml": write "text" or "json"', str(error))

    def test_open_lines(self) -> None:
        """Open tunnels have no lines in the access log, one, or more."""
        check = Check("x.toml")
        for table, expected in (
            (AccessLogTable("a"), None),
            (AccessLogTable("a", opened=True), 0.0),
            (AccessLogTable("a", opened=True, repeat=60), 60.0),
        ):
            self.assertEqual(expected, check.open_lines(table))

    def test_balance_and_limits(self) -> None:
        """Routes have no limit and take turns, unless they say otherwise."""
        check = Check("x.toml")
        for entry, expected in (
            (DefaultTable("a"), (False, None, None, None, False)),
            (DefaultTable("a", balance="least_connections"), (True, None, None, None, False)),
            (DefaultTable("a", target_source="client"), (False, None, None, None, True)),
            (DefaultTable("a", max_connections=7), (False, 7, None, None, False)),
        ):
            self.assertEqual(expected, check.balance_and_limits("default", entry))
        error = self.assertRaises(
            ConfigError, check.balance_and_limits, "default", DefaultTable("a", max_connections=0)
        )
        self.assertIn("x.toml: default.max_connections = 0: must be a number from 1", str(error))

    def test_place(self) -> None:
        """Two listeners cannot have the same name or the same address."""
        check = Check("x.toml")
        self.assertEqual("tcp:4443", check.name_and_endpoint("listener[0]", ListenerTable("tcp:4443"))[0])
        twice = self.assertRaises(
            ConfigError, check.name_and_endpoint, "listener[1]", ListenerTable("tcp:4443", "other")
        )
        self.assertIn("another listener uses this address", str(twice))
        named = self.assertRaises(
            ConfigError, check.name_and_endpoint, "listener[1]", ListenerTable("tcp:4444", "tcp:4443")
        )
        self.assertIn("another listener has this name", str(named))


class FileTests(ErrorCase):
    """Check: what it accepts and refuses in whole files."""

    def test_endpoints(self) -> None:
        """An unusable endpoint is refused with the cure."""
        for endpoint, cure in (
            ("tls:4443", "use tcp:"),
            ("ssl:4443", "use tcp:"),
            ("haproxy:tcp:4443", "proxy_protocol"),
            ("4443", "write tcp:4443"),
            ("tcp:x", "a number from 0"),
        ):
            self.refused_file(f'[[listener]]\nendpoint = "{endpoint}"', f'listener[0].endpoint = "{endpoint}"', cure)

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

    def test_same_name_on_two_listeners(self) -> None:
        """The same name may have a route for each listener, and one for all."""
        route = '[[route]]\nserver_name = "a.test"\ntarget = "b"\n'
        text = '[[listener]]\nendpoint = "tcp:1"\nname = "x"\n' + route + route + 'listener = "x"\n'
        self.assertEqual([route.listener for route in parse(text, "f.toml").routes], [None, "x"])

    def test_server_names(self) -> None:
        """An invalid name or wildcard is refused."""
        self.refused(self.route("a b.test"), 'route[0].server_name = "a b.test"', "' ' is not allowed")
        self.refused(self.route("*"), 'route[0].server_name = "*"', "[default]")
        self.refused(self.route("a.*.test"), 'route[0].server_name = "a.*.test"', "'*.example.com'")
        self.refused(self.route(".", '"b:1"'), "route[0].server_name", "empty")

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

    def test_route_without_a_name(self) -> None:
        """It needs a listener, is the only one of its kind there, and no name fills its targets."""
        self.refused(self.route(""), 'route[0].server_name = ""', "[no_server_name]", "name a listener")
        more = 'listener = "tcp:4443"'
        self.refused(self.route("", '"{server_name}"', more=more), "route[0].target", "no server name")
        self.refused(self.route("", more=more) * 2, "route[1].server_name", "another route has this name")
        read = parse(LISTENER + self.route("", '"b:{port}"', more=more), "f.toml")
        self.assertEqual(["(no server name) (on tcp:4443)"], [route.title for route in read.routes])

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
        self.refused('[access_log]\npath = "a"\nrepeat = 5', "access_log.repeat = 5", "write opened = true")
        for seconds in ("0.5", "1e9"):
            text = f'[access_log]\npath = "a"\nopened = true\nrepeat = {seconds}'
            self.refused(text, "access_log.repeat", "seconds from 1 to 1000000")
        self.refused('[access_log]\npath = ""', 'access_log.path = ""', "standard output")
