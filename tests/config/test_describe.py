"""Tests for sniproxy.config.describe."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.describe import describe, report, warnings
from sniproxy.config.parser import from_options, parse
from tests.support.configerrors import LISTENER

PLENTY = 65_536

FORWARD = '[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{server_name}:6651"\n'

TABLES = """
[[listener]]
endpoint = "tcp:4443:interface=127.0.0.1"
name = "public"

[[route]]
server_name = "*.test"
target = "10.0.0.1:1"

[[route]]
server_name = "*.w.test"
resolver = "house"

[[route]]
server_name = "z.w.test"
target = ["10.0.0.3:1", "10.0.0.4:1"]

[[route]]
server_name = "a.test"
target = "10.0.0.5:1"

[[route]]
server_name = "a.test"
target = "10.0.0.6:1"
listener = "public"

[resolver.house]
type = "our-own"
"""


class DescribeTests(SynchronousTestCase):
    """describe: the text of a configuration."""

    def test_routes_in_order(self) -> None:
        """Routes appear in the order of precedence: exact, longest wildcard, no name, default; own listener first."""
        table = describe(parse(TABLES, "f.toml"))
        marks = (
            "a.test (on public)",
            "10.0.0.5:1",
            "10.0.0.3:1, 10.0.0.4:1 (round robin)",
            "asks resolver.house (type our-own)",
            "10.0.0.1:1",
            "(no server name)",
            "(any other name)",
        )
        self.assertEqual(sorted(marks, key=table.index), list(marks))
        self.assertLess(table.index("*.w.test"), table.index("*.test"))

    def test_weights(self) -> None:
        """A target's weight is shown if it is not 1."""
        table = describe(from_options(["tcp:1"], ["a.test=b.test weight=2,c.test"], None))
        self.assertRegex(table, r"a\.test +b\.test:6651 weight=2, c\.test:6651 \(round robin\)\n")

    def test_several_resolvers(self) -> None:
        """The resolvers of a list are shown in order."""
        text = '[default]\nresolver = ["house", "b"]\n[resolver.b]\ntype = "x"\n'
        table = describe(parse(TABLES + text, "f.toml"))
        self.assertIn("asks resolver.house (type our-own), then resolver.b (type x)", table)

    def test_refusals(self) -> None:
        """Refusals are shown with their alert, unless a table replaces them."""
        table = describe(parse(TABLES, "f.toml"))
        self.assertIn("alert unrecognized_name", table)
        self.assertIn("alert missing_extension or handshake_failure", table)
        text = TABLES + '[default]\ntarget = "10.1.1.1:1"\n[no_server_name]\ntarget = "10.2.2.2:1"\n'
        table = describe(parse(text, "f.toml"))
        self.assertNotIn("refused", table)
        self.assertRegex(table, r"\(any other name\) +10\.1\.1\.1:1\n")
        self.assertRegex(table, r"\(no server name\) +10\.2\.2\.2:1\n")

    def test_rest(self) -> None:
        """The file, the listeners with their backlog, the timeouts and the access log are shown."""
        table = describe(parse(TABLES + '[access_log]\npath = "a.jsonl"\n[timeouts]\nidle = 77', "dir/f.toml"))
        for said in (
            "configuration: dir/f.toml",
            "public",
            "backlog=1024",
            "idle 77",
            "hello 10",
            "drain 30",
            "dir/a.jsonl",
        ):
            self.assertIn(said, table)
        self.assertIn("(the program log)", describe(parse(TABLES, "f.toml")))

    def test_https(self) -> None:
        """Routes without an HTTPS port are said to be in the way of geo-replication."""
        route = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.7:{}"\n'
        said = (
            "\nhttps               no route to port 443 or 8443: pulsar-admin, and geo-replication from Pulsar 4.2 on"
        )
        self.assertIn(said, describe(parse(LISTENER + route.format(6651), "f.toml")))
        self.assertNotIn("https", describe(parse(LISTENER + route.format(8443), "f.toml")))

    def test_limits(self) -> None:
        """The limits are shown, and that they apply per worker."""
        text = TABLES + "[limits]\nmax_connections = 9\n"
        self.assertIn("\nlimits              max_connections 9\n", describe(parse(text, "f.toml")))
        said = describe(parse(f"workers = 4\n{text}", "f.toml"))
        self.assertIn("\nlimits              per worker: max_connections 9\n", said)

    def test_balance(self) -> None:
        """least_connections is shown for targets and for resolvers."""
        text = '[[listener]]\nendpoint = "tcp:1"\n[default]\nbalance = "least_connections"\n'
        table = describe(parse(text + 'target = ["a", "b"]\n', "f.toml"))
        self.assertIn("a:6651, b:6651 (least connections)", table)
        table = describe(parse(text + 'resolver = "x"\n[resolver.x]\ntype = "dns"\n', "f.toml"))
        self.assertIn("asks resolver.x (type dns) (least connections)", table)
        self.assertNotIn("in turn", table)

    def test_resolvers(self) -> None:
        """Resolvers in use are shown with their options, but without strings, which may be secrets."""
        text = (
            '[[listener]]\nendpoint = "tcp:1"\n[default]\nresolver = ["x", "y"]\n[no_server_name]\nresolver = "x"\n'
            '[resolver.x]\ntype = "dns"\nipv6 = false\nmost = 7\npassword = "secret"\nservers = ["secret"]\n'
            "stale = 9.5\n"
            '[resolver.y]\ntype = "file"\ndeadline = 1\n[resolver.unused]\ntype = "file"\n'
        )
        table = describe(parse(text, "f.toml"))
        self.assertIn(
            "\nresolvers\n"
            "  resolver.x (type dns): deadline = 5, stale = 9.5, ipv6 = false, most = 7, password, servers\n"
            "  resolver.y (type file): deadline = 1, stale = 3600\n\n",
            table,
        )
        self.assertNotIn("secret", table)
        self.assertNotIn("resolvers", describe(from_options(["tcp:1"], ["a.test=b"], None)))

    def test_looking_after(self) -> None:
        """Health checks, the inspect log and reloads are shown as configured."""
        plain = describe(parse(TABLES, "f.toml"))
        self.assertIn("health              off\n", plain)
        for word in ("inspect log", "reload"):
            self.assertNotIn(word, plain)
        text = '[health]\ncheck = "tls"\n[reload]\non_change = true\n[inspect_log]\npath = "i.jsonl"\nreveal = true\n'
        table = describe(parse(TABLES + text, "f.toml"))
        for line in (
            "health              tls every 5 s, rise 2, fall 3\n",
            "inspect log         i.jsonl, with principals\n",
            "reload              on HUP, and when the file changes",
        ):
            self.assertIn(line, table)
        plaintext = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "a"\ninspect = "pulsar"\n'
        self.assertIn("inspect log         (the program log)", describe(parse(plaintext, "f.toml")))

    def test_deferred_accept(self) -> None:
        """Deferred accept is shown for its listener."""
        text = '[[listener]]\nendpoint = "tcp:1"\ndeferred_accept = true\n[[listener]]\nendpoint = "tcp:2"\n'
        lines = [line for line in describe(parse(text, "f.toml")).splitlines() if "backlog" in line]
        self.assertEqual([True, False], ["(deferred accept)" in line for line in lines])

    def test_relay(self) -> None:
        """The relay is the one that tunnels will get, if that is known."""
        configuration = parse(f'relay = "engine"\n{TABLES}', "f.toml")
        self.assertIn("\nrelay               engine", describe(configuration))
        self.assertIn("\nrelay               engine, 1 thread\n", report(configuration, [], False, "engine, 1 thread"))


class WarningTests(SynchronousTestCase):
    """warnings: valid, but probably not intended."""

    def warned(
        self, *routes: str, listen: str = "tcp:4443:interface=127.0.0.1", descriptors: int = PLENTY
    ) -> list[str]:
        return list(warnings(from_options([listen], routes, None), descriptors))

    def one(self, *routes: str, listen: str = "tcp:4443:interface=127.0.0.1", descriptors: int = PLENTY) -> str:
        (warning,) = self.warned(*routes, listen=listen, descriptors=descriptors)
        return warning

    def test_none(self) -> None:
        """A plain configuration has no warning."""
        self.assertEqual(self.warned("a.test=10.0.0.7:6651", "*.eu.test=broker.test:6651", "b.test=127.0.0.1:6651"), [])

    def test_nothing_routed(self) -> None:
        """Without a route and [default] everything is refused."""
        self.assertIn("every server name is refused", self.one())
        text = '[[listener]]\nendpoint = "tcp:1"\n[default]\ntarget = "10.0.0.7"'
        self.assertEqual(list(warnings(parse(text, "f"), PLENTY)), [])

    def test_shadowed(self) -> None:
        """A route for all listeners is shadowed when each listener has its own, and only then."""
        found = list(warnings(parse(TABLES, "f.toml"), PLENTY))
        self.assertEqual(found, ["route a.test: shadowed: every listener has its own route with this name"])
        self.assertEqual(list(warnings(parse(TABLES + '[[listener]]\nendpoint = "tcp:1"', "f.toml"), PLENTY)), [])

    def test_names_that_java_does_not_send(self) -> None:
        """Names without a dot, IP literals and names with an underscore do not come from Java clients."""
        self.assertIn("route broker-1: a name without a dot: Java clients never send it", self.one("broker-1=10.0.0.7"))
        self.assertIn("no server name for IP addresses", self.one("10.0.0.7=10.0.0.7"))
        self.assertIn("no server name for IP addresses", self.one("::1=10.0.0.7"))
        self.assertIn("'_'", self.one("broker_1.test=10.0.0.7"))
        self.assertEqual(self.warned("*.test=10.0.0.7"), [])

    def test_beyond_loopback(self) -> None:
        """Plaintext and the admin endpoint are for this machine; elsewhere they are warned about."""
        text = (
            '[[listener]]\nendpoint = "tcp:6650{}"\nplaintext = true\ntarget = "b"\nname = "p"\n'
            '[admin]\nendpoint = "tcp:9090{}"\n'
        )
        here = text.format(*[":interface=127.0.0.1"] * 2)
        self.assertEqual([], list(warnings(parse(here, "f.toml"), descriptors=65536)))
        said = list(warnings(parse(text.format("", ""), "f.toml"), descriptors=65536))
        self.assertEqual(2, len(said))
        self.assertIn("listener p: plaintext beyond loopback", said[0])
        self.assertIn("admin.endpoint: the admin endpoint beyond loopback", said[1])
        with_token = text.format("", "") + 'token_file = "token"\n'
        self.assertEqual(said[:1], list(warnings(parse(with_token, "f.toml"), descriptors=65536)))

    def test_loops(self) -> None:
        """A target that is a listener of this proxy gives a warning: by address, localhost, or on all addresses."""
        for target in ("127.0.0.1:4443", "localhost:4443", "0.0.0.0:4443"):
            self.assertIn("(loop)", self.one(f"a.test={target}"))
        self.assertIn("(loop)", self.one("a.test=127.0.0.9:4443", listen="tcp:4443"))
        self.assertIn("(loop)", self.one("a.test=10.0.0.7:1,127.0.0.1:4443"))
        for target in ("127.0.0.1:4444", "127.0.0.2:4443"):
            self.assertEqual(self.warned(f"a.test={target}"), [])
        for table in ("default", "no_server_name"):
            text = f'{TABLES}[{table}]\ntarget = "127.0.0.1:4443"'
            self.assertIn(f"route {table}: target 127.0.0.1:4443", list(warnings(parse(text, "f"), PLENTY))[-1])

    def test_free_port_is_no_loop(self) -> None:
        """A listener on any free port is unknown before it listens."""
        self.assertEqual(self.warned("a.test=127.0.0.1:4443", listen="tcp:0"), [])

    def test_idle(self) -> None:
        """An idle timeout below 60 s cuts tunnels between two PINGs; 0 disables it."""
        text = '[[listener]]\nendpoint = "tcp:1"\n[default]\ntarget = "10.0.0.7"\n[timeouts]\nidle = '
        for idle, warned in (("59.9", True), ("60", False), ("0", False)):
            found = list(warnings(parse(text + idle, "f"), PLENTY))
            self.assertEqual([line.startswith(f"timeouts.idle = {idle}") for line in found], [True] * warned)

    def test_limit_above_the_descriptors(self) -> None:
        """A limit of connections above what the descriptors allow gives one warning."""
        text = '[[listener]]\nendpoint = "tcp:4443"\n[default]\ntarget = "a"\n[limits]\nmax_connections = 513'
        (warning,) = warnings(parse(text, "f.toml"), descriptors=1024)
        self.assertIn("limits.max_connections = 513: the limit of open files is 1024: enough for about 512", warning)
        self.assertEqual([], list(warnings(parse(text, "f.toml"), descriptors=4096)))

    def test_descriptors(self) -> None:
        """A low limit of open files gives a warning with the number of tunnels; it defaults to the process limit."""
        self.assertIn(
            "the limit of open files is 1024: enough for about 512", self.one("a.test=b.test", descriptors=1024)
        )
        self.assertEqual(self.warned("a.test=b.test", descriptors=4096), [])
        list(warnings(from_options(["tcp:1"], ["a.test=b.test"], None)))

    def test_notes(self) -> None:
        """The notes of the parser are among the warnings."""
        text = '[[listener]]\nendpoint = "tcp:1"\n[default]\ntarget = "10.0.0.7:1"\n[health]\n'
        (warning,) = warnings(parse(text, "f.toml"), PLENTY)
        self.assertIn("[health] checks nothing: check is missing", warning)


class ReportTests(SynchronousTestCase):
    """report: the last line of C{--check}."""

    def last(self, goal: str, warned: list[str], is_file: bool = True) -> str:
        text = f'[[listener]]\nendpoint = "tcp:1"\n[default]\n{goal}\n'
        return report(parse(text, "f.toml"), warned, is_file).split("\n")[-1]

    def test_addresses(self) -> None:
        """If all targets are addresses, nothing is left to check; warnings are counted."""
        for target in ('"10.0.0.7:1"', '["10.0.0.7:1", "[2001:db8::7]:2"]', '"{server_name}:1"'):
            self.assertEqual("the configuration is valid", self.last(f"target = {target}", []))
        self.assertEqual("the configuration is valid, with 2 warnings", self.last('target = "10.0.0.7:1"', ["a", "b"]))

    def test_names(self) -> None:
        """Host names and resolvers are not checked; the text has the command that checks them, if there is a file."""
        hint = "; to look names up: sniproxyctl explain --all --connect --config f.toml"
        for goal in ('target = ["10.0.0.7:1", "broker.test:1"]', 'resolver = "x"\n[resolver.x]\ntype = "dns"'):
            self.assertEqual(f"the configuration is valid{hint}", self.last(goal, []))
            self.assertEqual("the configuration is valid, with 1 warning" + hint, self.last(goal, ["a"]))
            self.assertEqual("the configuration is valid", self.last(goal, [], is_file=False))


class BridgeTests(SynchronousTestCase):
    """Bridges in describe and warnings."""

    def test_bridge(self) -> None:
        """A bridge is shown with its cluster and proxy, and with warnings."""
        text = (
            '[[bridge]]\nendpoint = "tcp:6650{}"\nname = "side"\nservice_url = "pulsar+ssl://{}"\ntrust = "ca.pem"\n'
            'proxy_service_url = "pulsar+ssl://proxy.test:4443"\nproxy_protocol = "SNI"\n'
        )
        good = parse(text.format(":interface=127.0.0.1", "vip.test"), "f.toml")
        self.assertIn("bridge -> pulsar+ssl://vip.test:6651 via proxy proxy.test:4443", describe(good))
        for word in ("routes", "(no server name)", "refused"):  # a bridge has no server names
            self.assertNotIn(word, describe(good))
        self.assertEqual([], list(warnings(good, 10_000)))
        (warning,) = warnings(parse(text.format("", "vip"), "f.toml"), 10_000)
        self.assertIn("bridge side: plaintext beyond loopback", warning)


class PolicyTests(SynchronousTestCase):
    """The policy, targets with placeholders, and expressions in the table."""

    def test_templates(self) -> None:
        """Targets are shown as written, and the policy with its defaults."""
        table = describe(parse(LISTENER + FORWARD, "f.toml"))
        self.assertRegex(table, r"\*\.pulsar\.test +\{server_name\}:6651\n")
        self.assertRegex(table, r"policy .*\n  addresses  public\n  ports      6651\n  names      all that")

    def test_policy(self) -> None:
        """A configured policy is shown, even without effect; a default policy without effect is not."""
        text = '[policy]\nallow_cidrs = ["10.0.0.0/8"]\nallow_ports = [7, 6]\nallow_names = ["*.a.test"]\n'
        table = describe(parse(LISTENER + text, "f.toml"))
        for said in ("public, 10.0.0.0/8\n", "6, 7\n", "*.a.test\n"):
            self.assertIn(said, table)
        plain = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.7"\n'
        self.assertNotIn("policy", describe(parse(LISTENER + plain, "f.toml")))

    def test_expressions_in_order(self) -> None:
        """Expressions follow the wildcards, in file order."""
        names = ["~b.*", "*.w.test", "~a.*", "z.test"]
        text = "".join(f'[[route]]\nserver_name = "{name}"\ntarget = "10.0.0.7"\n' for name in names)
        table = describe(parse(LISTENER + text, "f.toml"))
        self.assertEqual(["z.test", "*.w.test", "~b.*", "~a.*"], sorted(names, key=table.index))
