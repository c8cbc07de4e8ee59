"""Tests for L{sniproxy.migrate.export.haproxybackends}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import DefaultTable, HealthTable, ListenerTable, RouteEntry
from sniproxy.migrate.export.haproxybackends import REFUSED, Backends, Table, milliseconds, placeholders, quoted
from sniproxy.migrate.haproxy.words import split_words
from sniproxy.migrate.model import Notes
from tests.support.haproxyconfig import notes


class BackendsTests(SynchronousTestCase):
    """Backends of routes."""

    def setUp(self) -> None:
        self.report = Notes()
        self.backends = Backends(HealthTable(), {"no": {"type": "refuse"}, "dns": {"type": "dns"}}, self.report)

    def lines(self, table: Table, health: HealthTable | None = None) -> list[str]:
        """The lines of a backend."""
        self.backends.health = health or HealthTable()
        found = self.backends.lines("route[0]", table)
        assert found is not None
        return found

    def test_servers(self) -> None:
        """Each target is a server; without a port it has that of the listener."""
        table = RouteEntry(
            "a", ["10.0.0.1:1 weight=3", "[2001:db8::7]:2", "broker.test", "10.0.0.2:{port}", "[::1]:{port}"]
        )
        host = "server s3 broker.test:6651 resolvers system init-addr last,libc,none"
        self.assertEqual(
            self.lines(table),
            [
                "server s1 10.0.0.1:1 weight 3",
                "server s2 [2001:db8::7]:2",
                host,
                "server s4 10.0.0.2",
                "server s5 [::1]",
            ],
        )
        self.assertTrue(self.backends.resolves)
        self.assertEqual(self.report.notes, [])

    def test_spares(self) -> None:
        """Spares are checked for, because HAProxy needs it; large weights are scaled."""
        check = " check inter 5s rise 2 fall 3"
        found = self.lines(RouteEntry("a", ["10.0.0.1:1 weight=512", "10.0.0.2:1", "10.0.0.3:1 weight=0"]))
        self.assertEqual(
            found,
            [
                f"server s1 10.0.0.1:1 weight 256{check}",
                f"server s2 10.0.0.2:1{check}",
                f"server s3 10.0.0.3:1 backup{check}",
            ],
        )
        self.assertEqual([text[0] for text in notes(self.report)], ["~", "~"])
        self.assertEqual(self.lines(RouteEntry("a", "10.0.0.1:1 weight=0")), ["server s1 10.0.0.1:1"])

    def test_keys(self) -> None:
        """Keys of a route are lines of a backend."""
        table = RouteEntry(
            "a", "10.0.0.1:1", balance="least_connections", max_connections=7, only_from=["10.0.0.0/8", "::1"],
            send_proxy="v2", proxy_tlvs=["authority"], target_source="client",
        )  # fmt: skip
        self.assertEqual(
            self.lines(table, HealthTable("tls", 2.5)),
            [
                "tcp-request content reject if !{ src 10.0.0.0/8 ::1 }",
                "tcp-request content reject if { be_conn gt 7 }",
                "balance leastconn",
                "source 0.0.0.0 usesrc clientip",
                "server s1 10.0.0.1:1 check inter 2500ms rise 2 fall 3 check-ssl verify none send-proxy-v2 "
                "check-send-proxy",
            ],
        )
        self.assertIn("authority", notes(self.report)[0])
        self.assertEqual(
            self.lines(RouteEntry("a", "10.0.0.1:1", send_proxy="v1")), ["server s1 10.0.0.1:1 send-proxy"]
        )

    def test_private_endpoints(self) -> None:
        """Ids of private endpoints cannot be had; without a network all clients are refused."""
        found = self.lines(DefaultTable("10.0.0.1:1", only_from=["vpce-1"]))
        self.assertEqual(found[0], "tcp-request content reject")
        self.assertTrue(self.report.notes[0].decides)

    def test_refused(self) -> None:
        """Names of a resolver, or whose target the client forms, are refused."""
        for table, decides in (
            (RouteEntry("a", resolver="no"), []),
            (RouteEntry("a", resolver=["no", "dns"]), [True]),
            (RouteEntry("*.a", "{1}.test:1"), [True]),
        ):
            self.report.notes.clear()
            self.assertEqual(self.backends.name("route[0]", "a", table), REFUSED)
            self.assertEqual([note.decides for note in self.report.notes], decides)
        self.assertTrue(self.backends.refuses)

    def test_ports(self) -> None:
        """A port that HAProxy would take from elsewhere cannot be had."""
        header, plain = ListenerTable("tcp:1", proxy_protocol="required"), ListenerTable("tcp:2")
        for listeners, text, expected in (
            ([plain], "{port}", True),
            ([plain], "{proxy_protocol_port}", False),
            ([header], "{proxy_protocol_port}", True),
            ([header, plain], "{port}", False),
        ):
            backends = Backends(HealthTable(), {}, self.report, placeholders(listeners))
            found = backends.lines("default", DefaultTable(f"10.0.0.1:{text}"))
            self.assertEqual(found, ["server s1 10.0.0.1"] if expected else None)

    def test_names(self) -> None:
        """Routes to the same targets share a backend, unless a limit counts their connections."""
        name = self.backends.name
        self.assertEqual(name("route[0]", "*.w.test", RouteEntry("a", "10.0.0.1:1")), "any.w.test")
        self.assertEqual(name("route[1]", "b", RouteEntry("b", "10.0.0.1:1")), "any.w.test")
        limited = RouteEntry("c", "10.0.0.1:1", max_connections=5)
        self.assertEqual([name("route[2]", "b/c", limited), name("route[3]", "b/c", limited)], ["b-c", "b-c-3"])
        self.assertEqual(name("default", "refused", DefaultTable("10.0.0.9:1")), "refused-4")
        self.assertEqual(name("default", "::", DefaultTable("10.0.0.8:1")), "backend")

    def test_words(self) -> None:
        """A quoted text is one word with the same characters."""
        for text in ("a.test", r"^(?:a|b)\.c$", "it's", 'it\'s "$x" \\ #', ""):
            self.assertEqual(split_words(quoted(text)).words, (text,))
        self.assertEqual([milliseconds(5), milliseconds(0.25), milliseconds(0.0001)], ["5s", "250ms", "1ms"])
