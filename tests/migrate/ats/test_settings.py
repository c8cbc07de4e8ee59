"""Tests for sniproxy.migrate.ats.settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import LimitsTable, PolicyTable, Timeouts
from sniproxy.migrate.ats import read
from sniproxy.migrate.formed import PRIVATE
from sniproxy.migrate.model import Imported, Kind, Note, SourceFile

PLAIN = "sni:\n- fqdn: a.test\n  tunnel_route: b:6651\n"
FORMED = "sni:\n- fqdn: '*.test'\n  tunnel_route: $1.b:{port}\n"


def imported(records: str = "", sni: str = PLAIN, **more: str) -> Imported:
    """The import of C{sni.yaml} and lines of C{records.config}. @param more: other files, with C{_} for the dot."""
    lines = "".join(f"CONFIG proxy.config.{line}\n" for line in records.splitlines())
    files = [SourceFile("sni.yaml", sni), SourceFile("records.config", f"CONFIG x INT 1\n{lines}")]
    return read([*files, *(SourceFile(name.replace("_YAML", ".yaml"), text) for name, text in more.items())])


def notes(found: Imported, text: str) -> list[Note]:
    """The notes that have a text."""
    return [note for note in found.report.notes if text in note.text or text in note.place.key]


class TableTests(SynchronousTestCase):
    """set_tables."""

    def test_timeouts(self) -> None:
        """Silence, connecting and the hello; 0 is no limit there, and is left at our default."""
        found = imported(
            "http.transaction_no_activity_timeout_in INT 120\nhttp.transaction_no_activity_timeout_out INT 90\n"
            "http.connect_attempts_timeout INT 7\nssl.handshake_timeout_in INT 9"
        )
        self.assertEqual(Timeouts(hello=9, connect=7, idle=90), found.timeouts)
        self.assertEqual([], notes(found, "ends silent tunnels"))
        found = imported("http.transaction_no_activity_timeout_in INT 0\nssl.handshake_timeout_in INT 0")
        self.assertEqual(Timeouts(), found.timeouts)
        self.assertEqual([Kind.DIFFERENT], [note.kind for note in notes(found, "this after 300 s")])

    def test_limits(self) -> None:
        """Connections of all clients, and of one."""
        found = imported("net.max_connections_in INT 30k\nnet.per_client.max_connections_in INT 10")
        self.assertEqual(LimitsTable(max_connections=30720, max_connections_per_client=10), found.limits)
        self.assertEqual(LimitsTable(), imported("net.max_connections_in INT 0").limits)


class PolicyTests(SynchronousTestCase):
    """set_policy."""

    def test_none(self) -> None:
        """Without targets that names form there is no policy."""
        found = imported("http.connect_ports STRING 443 6651")
        self.assertIsNone(found.policy)
        self.assertIn("not needed", notes(found, "http.connect_ports")[0].text)
        self.assertEqual([], notes(imported(), "http.connect_ports"))

    def test_ports(self) -> None:
        """Ports that are written, and the listed ones where the connection gives the port."""
        ssl, listed = "http.server_ports STRING 443:ssl 8443:ssl\n", "http.connect_ports STRING 6651 7000-7002,x\n"
        for records, port, ports, decides in (
            (listed, "6651", [6651], 0),
            (listed, "$1", [6651, 7000, 7001, 7002], 0),
            (listed, "{inbound_local_port}", [6651, 7000, 7001, 7002], 0),
            (ssl, "{inbound_local_port}", [443, 8443], 0),
            (ssl, "$1", [443], 1),
            (ssl + "http.connect_ports STRING *", "$1", [443, 8443], 1),
            (ssl + "http.connect_ports STRING 1-65535", "{inbound_local_port}", [443, 8443], 0),
        ):
            found = imported(records, FORMED.replace("{port}", port))
            self.assertEqual(PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=ports), found.policy, (records, port))
            self.assertEqual(decides, sum(note.decides for note in found.report.notes))
            self.assertEqual(1, len(notes(found, "allow_cidrs")))

    def test_header_port(self) -> None:
        """A port of a PROXY protocol header needs the policy, too."""
        text = PLAIN.replace("6651", "{proxy_protocol_port}")
        found = imported("http.server_ports STRING 443:ssl:pp\nhttp.connect_ports STRING 6651", text)
        self.assertEqual(PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=[6651]), found.policy)

    def test_refused_ports(self) -> None:
        """A written port that is not listed: the versions differ."""
        (note,) = notes(imported("http.connect_ports STRING 443"), "does not list 6651, which")
        self.assertEqual((Kind.DIFFERENT, False), (note.kind, note.decides))
        self.assertEqual([], notes(imported("http.connect_ports STRING *"), "does not list"))
        own = imported(
            "http.server_ports STRING 443:ssl 8443:ssl\nhttp.connect_ports STRING 443", PLAIN.replace(":6651", "")
        )
        self.assertEqual(1, len(notes(own, "does not list 8443, which")))
        many = "sni:\n" + "".join(f"- fqdn: n{port}.test\n  tunnel_route: b:{port}\n" for port in range(1, 9))
        self.assertEqual(
            1, len(notes(imported("http.connect_ports STRING 443", many), "does not list 1, 2, 3, 4 ..., "))
        )

    def test_destinations(self) -> None:
        """The networks of rules for destinations; all addresses are none."""
        formed = FORMED.replace("{port}", "6651")
        out = "- {apply: out, ip_addrs: [10.0.0.0/8, 127.0.0.1], action: set_allow}\n"
        for rules, cidrs in (
            (out, ["10.0.0.0/8", "127.0.0.1/32"]),
            (
                out + "- {apply: out, ip_addrs: 10.1.0.0/16, action: allow}\n",
                ["10.0.0.0/8", "127.0.0.1/32", "10.1.0.0/16"],
            ),
            ("- {apply: out, ip_addrs: 0/0, action: set_allow, methods: ALL}\n", list(PRIVATE)),
            ("- {apply: out, ip_addrs: 10.0.0.0/8, action: set_deny, methods: [CONNECT]}\n", list(PRIVATE)),
            ("- {apply: out, ip_addrs: 10.0.0.0/8, action: set_allow, methods: [GET]}\n", list(PRIVATE)),
        ):
            found = imported(sni=formed, ip_allow_YAML=f"ip_allow:\n{rules}")
            self.assertEqual(cidrs, found.policy and found.policy.allow_cidrs, rules)

    def test_clients(self) -> None:
        """Rules for clients are reported if they keep some out."""
        anyone = "- {apply: in, ip_addrs: [0/0, '::/0'], action: allow, methods: ALL}\n"
        for rules, decides in (
            (anyone, 0),
            ("- {apply: in, ip_addrs: 0/0, action: deny, methods: [PUSH]}\n", 0),
            (anyone + "- {apply: in, ip_addrs: 10.0.0.0/8, action: deny}\n", 0),
            ("- {apply: in, ip_addrs: 10.0.0.0/8, action: deny}\n" + anyone, 1),
            ("- {apply: in, ip_addrs: 10.0.0.0/8, action: allow}\n", 1),
            ("- {apply: in, ip_addrs: x, action: allow}\n", 2),
            ("- {apply: in, ip_categories: X, action: allow}\n", 1),
            ("- {apply: out, ip_addrs: 10.0.0.0/8, action: allow}\n", 0),
        ):
            found = imported(ip_allow_YAML=f"ip_allow:\n{rules}")
            self.assertEqual(decides, sum(note.decides for note in found.report.notes), rules)


class RestTests(SynchronousTestCase):
    """note_rest."""

    def test_rest(self) -> None:
        """Settings without a counterpart, others in one line, and files that are not read."""
        found = imported(
            "http.transaction_active_timeout_in INT 900\nssl.client.verify.server.policy STRING ENFORCED\n"
            "net.x STRING NULL\n" + "".join(f"http.x{number} INT 1\n" for number in range(9)),
            remap_YAML="remap: []",
        )
        self.assertIn("maximum age", notes(found, "transaction_active_timeout_in")[0].text)
        self.assertIn("no counterpart", notes(found, "verify.server.policy")[0].text)
        (note,) = notes(found, "about HTTP, caching")
        self.assertIn("x (line 1), proxy.config.net.x (line 4), proxy.config.http.x0 (line 5)", note.text)
        self.assertIn("and 7 more", note.text)
        (note,) = notes(found, "not read")
        self.assertEqual("remap.yaml", note.place.file)
