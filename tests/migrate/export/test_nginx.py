"""Tests for an exported nginx.conf."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import tomlslices
from sniproxy.config.schema import convert
from sniproxy.migrate.export.nginx import write
from sniproxy.migrate.model import ANY, NAMELESS, SourceFile
from sniproxy.migrate.nginx import read

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'
ROUTE = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.7:1"\n'


class ExportTests(SynchronousTestCase):
    """Whole files."""

    def export(self, text: str) -> str:
        made = write(convert(tomlslices.loads(text), "s.toml"))
        lines = [f"{note.place} {note.text}{' !' if note.decides else ''}" for note in made.report.notes]
        self.report = "\n".join(lines)
        return made.text

    def test_map(self) -> None:
        """A listener has a map with our precedence; hellos without a name and other names are refused."""
        text = self.export(
            LISTENER + ROUTE + '[[route]]\nserver_name = "*.b.test"\ntarget = "10.0.0.7:1"\n'
            "[[route]]\nserver_name = '~c.*'\ntarget = \"10.0.0.8:1\"\n"
        )
        body = text[text.index("map $ssl") : text.index("server {")]
        self.assertEqual(
            [line.strip() for line in body.splitlines() if line.strip()],
            [
                "map $ssl_preread_server_name $target_1 {", "hostnames;", "a.test to_1_a_test;",
                "*.b.test to_1_a_test;",
                '"~^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\\\.){3}'
                '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$" "";',
                '"~:" "";', '"~*^(?:c.*)$" to_2_c;', '"" "";', "}",
            ],
        )  # fmt: skip
        self.assertIn("listen 0.0.0.0:4443;", text)
        self.assertEqual(self.report, "")

    def test_routes_of_listeners(self) -> None:
        """A listener's own route comes before one for all."""
        text = self.export(
            '[[listener]]\nendpoint = "tcp6:1"\nname = "x"\n[[listener]]\nendpoint = "unix:/run/s"\n'
            + ROUTE + ROUTE.replace("0.7", "0.8") + 'listener = "x"\n' + ROUTE.replace("a.test", "")
            + 'listener = "x"\n[default]\ntarget = "10.0.0.9"\n[no_server_name]\ntarget = "10.0.0.9"\n'
        )  # fmt: skip
        self.assertIn("listen [::]:1 ipv6only=off;", text)
        self.assertIn("listen unix:/run/s;", text)
        found = read([SourceFile("n.conf", text)])
        targets = {(rule.listener, rule.pattern): rule.targets for rule in found.rules}
        self.assertEqual(targets["port-1", "a.test"], ["10.0.0.8:1"])
        self.assertEqual(targets["s", "a.test"], ["10.0.0.7:1"])
        self.assertEqual(targets["s", ANY], ["10.0.0.9:6651"])

    def test_header(self) -> None:
        """The PROXY protocol is a listener's in nginx: all of its routes, or none."""
        text = self.export(
            '[[listener]]\nendpoint = "tcp:1"\nproxy_protocol = "optional"\nproxy_protocol_from = ["10.0.0.9"]\n'
            + ROUTE + 'send_proxy = "v2"\ntarget_source = "client"\n'
        )  # fmt: skip
        for line in (
            "listen 0.0.0.0:1 proxy_protocol;", "set_real_ip_from 10.0.0.9;", "proxy_protocol on;",
            "proxy_bind $remote_addr transparent;",
        ):  # fmt: skip
            self.assertIn(line, text)
        self.assertIn("sends version 1", self.report)
        self.assertIn("it is required !", self.report)
        text = self.export(
            '[[listener]]\nendpoint = "tcp:1:interface=127.0.0.1"\nproxy_protocol = "required"\n'
            + ROUTE + 'send_proxy = "v1"\ntarget_source = "client"\n' + ROUTE.replace("a.test", "b.test")
        )  # fmt: skip
        self.assertNotIn("proxy_protocol on", text)
        self.assertIn("or to none: to none !", self.report)
        self.assertIn("or for none: for none", self.report)
        self.assertIn("set_real_ip_from 127.0.0.0/8;", text)

    def test_plaintext(self) -> None:
        """A plaintext listener has one target, and may refuse all."""
        text = self.export(
            '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "10.0.0.7"\nonly_from = ["10.0.0.0/8"]\n'
            '[[listener]]\nendpoint = "tcp:2"\nplaintext = true\nresolver = "no"\n[resolver.no]\ntype = "refuse"\n'
        )
        self.assertIn("proxy_pass $for_client_3;", text)
        self.assertIn('return "";', text)
        self.assertNotIn("ssl_preread on", text)

    def test_listeners_that_are_left_out(self) -> None:
        """What nginx cannot listen on, and terminated TLS."""
        text = self.export(
            '[[listener]]\nendpoint = "systemd:domain=INET:name=x"\n[[listener]]\nendpoint = "tcp:0"\n'
            '[[listener]]\nendpoint = "tcp:1"\ncertificates = "c"\nupstream_trust = "d"\n'
            '[[listener]]\nendpoint = "tcp:2"\ninspect = "pulsar"\nclosed_when_down = "a.test"\n'
        )
        self.assertEqual(text.count("listen "), 1)
        self.assertEqual(self.report.count("nginx needs an address and a port !"), 2)
        self.assertIn("certificates: nginx takes a file; write the name of one, with the ending .pem !", self.report)
        self.assertIn("nginx reads no Pulsar", self.report)
        self.assertIn("closed_when_down", self.report)

    def test_termination(self) -> None:
        """A listener that terminates TLS has one certificate, and verifies targets for the client's server name."""
        text = self.export(
            '[[listener]]\nendpoint = "tcp:1"\ncertificates = "/c.pem"\nupstream_trust = "/t.pem"\n'
            'upstream_certificate = "own.pem"\n[no_server_name]\ntarget = "10.0.0.9"\n'
            + "".join(
                f'[[route]]\nserver_name = "{name}"\ntarget = "10.0.0.1"\nsend_proxy = "v1"\n'
                for name in ("a.test", "10.0.0.7")
            )
        )
        for line in (
            " ssl;", "ssl_certificate /c.pem;", "ssl_certificate_key /c.pem;", "proxy_ssl_name $ssl_server_name;",
            "proxy_ssl_trusted_certificate /t.pem;", "proxy_ssl_verify on;", "proxy_ssl_certificate own.pem;",
            "map $ssl_server_name $target_1", "a.test ", '"" "";',
        ):  # fmt: skip
            self.assertIn(line, text)
        for absent in ("preread_server_name", "proxy_protocol on", "10.0.0.7", "10.0.0.9"):
            self.assertNotIn(absent, text)
        for why in ("inside TLS", "shows the only one", "own.pem: nginx looks for it in another folder"):
            self.assertIn(why, self.report)

    def test_tables(self) -> None:
        """Timeouts, limits and workers; notes of the rest."""
        text = self.export(
            "workers = 2\n" + LISTENER + ROUTE
            + '[timeouts]\nidle = 0\nhello = 2.5\nhalf_closed = 5\n[limits]\nmax_connections_per_client = 3\n'
            'rate_per_client = 5\nmax_hellos = 3\nmax_connections = 9\n[admin]\nendpoint = "tcp:1"\n'
            '[[fault]]\naction = "cut"\n'
            '[access_log]\npath = "-"\n[inspect_log]\npath = "-"\n[reload]\non_change = true\n[health]\ncheck = "tcp"\n'
            '[[bridge]]\nendpoint = "tcp:5"\nservice_url = "pulsar+ssl://h:1"\ntrust = "t"\n'
        )  # fmt: skip
        for line in (
            "worker_processes 2;", "proxy_timeout 315360000s;", "preread_timeout 2500ms;", "limit_conn clients 3;",
            "listen 0.0.0.0:4443 reuseport;",
        ):  # fmt: skip
            self.assertIn(line, text)
        for word in (
            "admin", "access_log", "inspect_log", "fault", "reload", "health.check", "limits.rate_per_client",
            "limits.max_hellos",
            "limits.max_connections", "timeouts.half_closed", "bridge[0]",
        ):  # fmt: skip
            self.assertIn(f"{word} ", self.report)

    def test_name_servers(self) -> None:
        """Targets of names need name servers, and have no policy in nginx."""
        formed = '[[route]]\nserver_name = "*.a"\n'
        text = self.export(LISTENER + formed + 'target = "{1}.b"\n')
        self.assertIn("# resolver 192.0.2.53;", text)
        self.assertIn("write firewall rules !", self.report)
        self.assertIn("write resolver ADDRESS", self.report)
        text = self.export(LISTENER + formed + 'resolver = "d"\n[resolver.d]\ntype = "dns"\nservers = "10.0.0.53"\n')
        self.assertIn(" resolver 10.0.0.53;", text)

    def test_patterns_that_nginx_lacks(self) -> None:
        """A pattern that is no key decides."""
        self.export(LISTENER + ROUTE.replace("a.test", "a b"))
        self.assertIn("no such key !", self.report)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a.test", "*.test", "*.b.test", "c.b.test", "~(.)\\\\.d", "~x.*"]), st.integers(1, 4)
            ),
            unique_by=lambda one: one[0],
        ),
        st.booleans(),
    )
    def test_round_trip(self, routes: list[tuple[str, int]], default: bool) -> None:
        """Our reader finds in the export the same names with the same targets."""
        text = LISTENER + "".join(
            f'[[route]]\nserver_name = "{name}"\ntarget = "10.0.0.{last}:1"\n' for name, last in routes
        )
        if default:
            text += '[default]\ntarget = "10.0.0.9:1"\n'
        found = read([SourceFile("n.conf", self.export(text))])
        rules = {rule.pattern: rule.targets for rule in found.rules if rule.targets}
        expected = {name.replace("\\\\", "\\"): [f"10.0.0.{last}:1"] for name, last in routes}
        if default:
            expected[ANY] = ["10.0.0.9:1"]
        self.assertEqual(len(rules), len(expected))
        for pattern, targets in expected.items():
            # The import drops groups that no target needs.
            text = pattern[1:].replace("(.)", "(?:.)")
            same = [pattern, f"~(?:{text})"] if pattern.startswith("~") else [pattern]
            self.assertIn(targets, [rules.get(one) for one in same])
        self.assertNotIn(NAMELESS, rules)

    def test_place_of_an_expression(self) -> None:
        """An expression has the place of its first route, also if that is another listener's."""
        text = LISTENER.replace("[[listener]]\n", '[[listener]]\nname = "one"\n')
        text += '[[listener]]\nendpoint = "tcp:2"\nname = "two"\n'
        for pattern, last, more in (("~b.*", 1, 'listener = "two"\n'), ("~[a-z]+", 2, ""), ("~b.*", 3, "")):
            text += f'[[route]]\nserver_name = "{pattern}"\ntarget = "10.0.0.{last}:1"\n{more}'
        for found in self.export(text).split("map $ssl_preread_server_name")[1:3]:
            self.assertLess(found.index('"~*^(?:b.*)$"'), found.index('"~*^(?:[a-z]+)$"'), found)

    def test_paths(self) -> None:
        """The path of a unix socket may have colons and blanks."""
        text = self.export('[[listener]]\nendpoint = "unix:/run/a\\\\:b c:mode=660"\n')
        self.assertIn('listen "unix:/run/a:b c";', text)
