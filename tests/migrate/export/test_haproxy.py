"""Tests for L{sniproxy.migrate.export.haproxy}; tests.peers.test_import_haproxy runs exports on HAProxy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import convert
from sniproxy.config.tomlslices import loads
from sniproxy.migrate.export.haproxy import write
from sniproxy.migrate.haproxy.matching import ADDRESSES
from sniproxy.migrate.model import Exported
from tests.support.haproxyconfig import notes

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'


def exported(text: str) -> Exported:
    """The export of a configuration."""
    return write(convert(loads(text), "sniproxy.toml"))


def lines(text: str, start: str) -> list[str]:
    """The lines of an export that begin with a text."""
    return [line.strip() for line in exported(text).text.splitlines() if line.strip().startswith(start)]


def route(name: str, number: int, more: str = "") -> str:
    """A route to 10.0.0.NUMBER."""
    return f"[[route]]\nserver_name = '{name}'\ntarget = \"10.0.0.{number}:1\"\n{more}\n"


class WriteTests(SynchronousTestCase):
    """Whole exports."""

    def test_precedence(self) -> None:
        """Rules are in the order of our precedence, whatever that of the file."""
        text = (
            LISTENER
            + route("~b.*", 1)
            + route("*.test", 2)
            + route("*.a.test", 3)
            + route("a.test", 4)
            + route("~c.*", 5)
        )
        self.assertEqual(
            lines(text, "use_backend"),
            [
                "use_backend refused unless { req.ssl_sni -m found }",
                "use_backend a.test if { var(sess.name) -m str a.test }",
                f"use_backend refused if {{ var(sess.name) -m reg '{ADDRESSES}' }}",
                "use_backend any.a.test if { var(sess.name) -m end .a.test }",
                "use_backend any.test if { var(sess.name) -m end .test }",
                "use_backend expression-0 if { var(sess.name) -i -m reg '^(?:b.*)$' }",
                "use_backend expression-4 if { var(sess.name) -i -m reg '^(?:c.*)$' }",
            ],
        )
        self.assertEqual(lines(text, "default_backend"), ["default_backend refused"])
        self.assertEqual(notes(exported(text).report), [])

    def test_defaults(self) -> None:
        """Names without a route, and hellos without a name, have backends of their own."""
        text = f'{LISTENER}[default]\ntarget = "10.0.0.1:1"\n[no_server_name]\ntarget = "10.0.0.2:1"\n'
        self.assertEqual(lines(text, "default_backend"), ["default_backend default"])
        self.assertEqual(lines(text, "use_backend")[0], "use_backend no-server-name unless { req.ssl_sni -m found }")

    def test_listeners(self) -> None:
        """A listener's own route replaces one for all."""
        two = '[[listener]]\nname = "two"\nendpoint = "tcp:1"\n'
        own = (
            route("a", 2, 'listener = "two"')
            + route("", 3, 'listener = "two"')
            + route("b", 4, 'listener = "tcp:4443"')
        )
        found = exported(LISTENER + two + route("a", 1) + own).text
        first, second = found.split("frontend ")[1:]
        self.assertIn("use_backend a if { var(sess.name) -m str a }", first)
        self.assertIn("use_backend b if", first)
        self.assertIn("use_backend no-server-name unless", second)
        self.assertIn("use_backend a-3 if { var(sess.name) -m str a }", second)
        self.assertNotIn("use_backend b if", second.partition("\nbackend")[0])

    def test_binds(self) -> None:
        """Endpoints are addresses; those that HAProxy does not have are reported."""
        for endpoint, more, expected in (
            ("tcp:1", "", "bind :1"),
            ("tcp6:1", "", "bind [::]:1"),
            ("tcp:1:interface=127.0.0.1", "deferred_accept = true", "bind 127.0.0.1:1 defer-accept"),
            ("unix:/run/a.sock:mode=600", 'proxy_protocol = "required"', "bind unix@/run/a.sock accept-proxy"),
        ):
            text = f'[[listener]]\nendpoint = "{endpoint}"\n{more}\n'
            self.assertEqual(lines(text, "bind"), [expected])
        for endpoint in ("tcp:0", "systemd:domain=INET:name=x"):
            found = exported(f'[[listener]]\nendpoint = "{endpoint}"\n')
            self.assertNotIn("frontend", found.text)
            self.assertTrue(found.report.notes[0].decides)

    def test_names(self) -> None:
        """Each frontend has a name of its own."""
        text = '[[listener]]\nname = "a b"\nendpoint = "tcp:1"\n[[listener]]\nname = "a/b"\nendpoint = "tcp:2"\n'
        more = '[[listener]]\nname = "::"\nendpoint = "tcp:3"\n'
        self.assertEqual(lines(text + more, "frontend"), ["frontend a-b", "frontend a-b-2", "frontend listener"])

    def test_proxy_protocol(self) -> None:
        """Headers are believed from the same peers."""
        head = f'{LISTENER}proxy_protocol_from = ["10.0.0.0/8"]\n'
        self.assertEqual(
            lines(f'{head}proxy_protocol = "required"', "tcp-request connection"),
            ["tcp-request connection reject if !{ src 10.0.0.0/8 }"],
        )
        found = exported(f'{head}proxy_protocol = "optional"')
        self.assertIn("expect-proxy layer4 if { src 10.0.0.0/8 }\n", found.text)
        self.assertIn("optional", notes(found.report)[0])
        local = '[[listener]]\nendpoint = "unix:/a"\nproxy_protocol = "optional"'
        self.assertEqual(lines(local, "tcp-request connection"), ["tcp-request connection expect-proxy layer4"])

    def test_plaintext(self) -> None:
        """A plaintext listener leads to its own target."""
        text = f'{LISTENER}plaintext = true\ninspect = "pulsar"\ntarget = "10.0.0.1:1"\n'
        self.assertEqual(lines(text, "default_backend"), ["default_backend tcp-4443"])
        self.assertEqual(lines(text, "tcp-request"), [])
        self.assertIn("Pulsar", notes(exported(text).report)[0])

    def test_terminating(self) -> None:
        """A listener that terminates TLS shows its certificates, and speaks TLS to servers, verified for the name."""
        more = 'certificates = "/a b.pem"\nupstream_trust = "/b.pem"\nupstream_certificate = "/c.pem"\n'
        nameless = '[no_server_name]\ntarget = "10.0.0.9:1"\n'
        plain = '[[listener]]\nendpoint = "tcp:4444"\n'
        text = LISTENER + more + plain + route("a.test", 1) + route("*.test", 2) + route("", 3) + nameless
        self.assertEqual(lines(text, "bind"), ["bind :4443 ssl crt '/a b.pem' strict-sni", "bind :4444"])
        tls = "ssl verify required ca-file /b.pem sni var(sess.name) crt /c.pem"
        self.assertEqual(
            lines(text, "server"),
            [f"server s1 10.0.0.{number}:1 {tls}" for number in (1, 2)]
            + [f"server s1 10.0.0.{number}:1" for number in (1, 2, 3)],
        )
        self.assertEqual(
            lines(text, "tcp-request")[0], "tcp-request content set-var(sess.name) ssl_fc_sni,lower,rtrim(.)"
        )
        rules = exported(text).text.split("\nfrontend ")
        self.assertNotIn("req.ssl", rules[1])
        self.assertIn("req.ssl_sni", rules[2])
        found = [str(note) for note in notes(exported(text).report)]
        self.assertEqual(2, len(found), found)
        self.assertFalse(any(note.decides for note in exported(text).report.notes))

    def test_terminating_checks(self) -> None:
        """A check by connect stays one; the header for targets, which goes inside TLS here, is left out."""
        text = f"{LISTENER}certificates = '/a.pem'\nupstream_trust = '/b.pem'\n" + route(
            "a.test", 1, "send_proxy = 'v2'"
        )
        (server,) = lines(f"{text}[health]\ncheck = 'tcp'\n", "server")
        self.assertRegex(server, "check inter .* no-check-ssl ssl verify required")
        (server,) = lines(f"{text}[health]\ncheck = 'tls'\n", "server")
        self.assertNotIn("check-ssl", server)
        self.assertNotIn("send-proxy", server)
        (why,) = (note.text for note in exported(text).report.notes if note.decides)
        self.assertIn("inside TLS", why)

    def test_settings(self) -> None:
        """Timeouts and limits are in global and defaults."""
        text = f"""workers = 2
{LISTENER}
[timeouts]
idle = 0
drain = 0
[limits]
max_connections = 50
"""
        self.assertEqual(lines(text, "maxconn"), ["maxconn 100"])
        self.assertEqual(lines(text, "nbthread"), ["nbthread 2"])
        self.assertEqual(lines(text, "hard-stop-after") + lines(text, "timeout client "), [])
        self.assertEqual(lines(LISTENER, "timeout client "), ["timeout client 300s"])

    def test_resolvers(self) -> None:
        """Host names are looked up again by a section of resolvers."""
        text = f'{LISTENER}[default]\ntarget = "broker.test:1"\n'
        self.assertIn("resolvers system\n    parse-resolv-conf\n", exported(text).text)

    def test_unwritten(self) -> None:
        """What HAProxy does not have is reported with its key."""
        text = f"""{LISTENER}closed_when_down = "all"
[[route]]
server_name = "2001:db8::7"
target = "10.0.0.1:1"
[[bridge]]
endpoint = "tcp:6650"
service_url = "pulsar+ssl://a.test:6651"
trust = "a.pem"
[access_log]
path = "-"
[health]
eject = 5
[limits]
rate_per_client = 5
"""
        keys = [note.place.key for note in exported(text).report.notes]
        self.assertEqual(
            keys,
            [
                "health.eject",
                "route[0].server_name",
                "bridge[0]",
                "listener[0].closed_when_down",
                "access_log",
                "limits.rate_per_client",
            ],
        )


class FaultTests(SynchronousTestCase):
    """C{[[fault]]}."""

    def test_faults(self) -> None:
        """Faults on purpose are left out, and noted; without any there is no note."""
        text = '[[listener]]\nendpoint = "tcp:4443"\n' + route("a.test", 1)
        self.assertNotIn("fault", str(notes(exported(text).report)))
        self.assertIn("no faults on purpose", str(notes(exported(f'{text}[[fault]]\naction = "cut"\n').report)))
