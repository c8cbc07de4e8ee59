"""Tests for L{sniproxy.migrate.haproxy.listeners}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.haproxy.binds import EVERYBODY
from tests.support.haproxyconfig import BACKENDS, HEAD, frontend, notes, read, routes


class ListenerTests(SynchronousTestCase):
    """Listeners with their rules."""

    def test_names(self) -> None:
        """A single listener needs no name; several have different ones."""
        (_, table) = frontend("default_backend b1").listeners[0]
        self.assertEqual(table, ListenerTable("tcp:4443"))
        text = f"frontend f\n bind :1\n bind :2 name x\nfrontend g\n bind :3\nlisten x\n bind :4\n{BACKENDS}"
        found = read(text.replace("bind", "acl a req.ssl_sni a\n bind"))
        self.assertEqual([table.name for _, table in found.listeners], ["f-1", "x", "g", "x-4"])

    def test_by_port(self) -> None:
        """Rules that differ by listener are for that listener; the port of a condition is known."""
        rules = "use_backend b1 if { dst_port 1 }\n default_backend b2"
        found = frontend(rules, ":1,:2")
        self.assertEqual([rule.listener for rule in found.rules], ["f-1", "f-1", "f-2", "f-2"])
        self.assertEqual([target for _, target in routes(found)], ["1", "1", "2", "2"])
        self.assertEqual([rule.listener for rule in frontend("default_backend b2", ":1,:2").rules], [None, None])

    def test_plaintext(self) -> None:
        """Where no rule reads the hello, all bytes are relayed."""
        more = "send-proxy-v2 proxy-v2-options authority"
        found = read(
            f"listen l\n bind :1\n balance leastconn\n server a 10.0.0.1:1 {more}\n server b 10.0.0.2:1 {more}"
        )
        self.assertEqual(found.rules, [])
        (_, table) = found.listeners[0]
        self.assertEqual((table.plaintext, table.target), (True, ["10.0.0.1:1", "10.0.0.2:1"]))
        self.assertEqual((table.send_proxy, table.proxy_tlvs), ("v2", ["authority"]))
        self.assertEqual([text[0] for text in notes(found)], ["~", "-"])
        (_, table) = read("listen l\n bind :1\n server a 10.0.0.1:1\n").listeners[0]
        self.assertEqual((table.target, table.proxy_tlvs), ("10.0.0.1:1", None))

    def test_plaintext_clients(self) -> None:
        """A plaintext listener may be for some clients only."""
        found = read("listen l\n bind :1\n tcp-request connection reject if !{ src 10.0.0.0/8 }\n server a 10.0.0.1:1")
        (_, table) = found.listeners[0]
        self.assertEqual((table.plaintext, table.only_from), (True, ["10.0.0.0/8"]))

    def test_not_plaintext(self) -> None:
        """With ACLs on names, or without servers, the listener reads the hello."""
        found = read("listen l\n bind :1\n use-server a if { req.ssl_sni -i a }\n server a 10.0.0.1:1")
        self.assertFalse(found.listeners[0][1].plaintext)
        self.assertIn("without inspect-delay", notes(found)[0])
        self.assertFalse(read("listen l\n bind :1\n").listeners[0][1].plaintext)

    def test_terminating(self) -> None:
        """A listener that ends TLS trusts what its servers are verified with."""
        rules = "use_backend b if { ssl_fc_sni -i a.test }"
        text = f"frontend f\n bind :1 ssl crt /a.pem\n {rules}\nbackend b\n server s 10.0.0.1:1 ssl "
        found = read(f"{text} verify required ca-file /ca.pem crt /c.pem\n")
        table = found.listeners[0][1]
        self.assertEqual((table.certificates, table.upstream_trust), ("/a.pem", "/ca.pem"))
        self.assertEqual(table.upstream_certificate, "/c.pem")
        self.assertEqual([rule.pattern for rule in found.rules], ["a.test"])
        self.assertEqual(notes(found), [])
        for more in ("verify none", "verify required ca-file @system-ca"):
            found = read(f"{text} {more}\n")
            self.assertEqual(found.listeners[0][1].upstream_trust, "upstream-ca.pem")
            self.assertIn("upstream-ca.pem", "".join(notes(found)))

    def test_expect_proxy(self) -> None:
        """expect-proxy for some clients makes headers optional; other conditions are reported."""
        rule = "tcp-request connection expect-proxy layer4"
        found = frontend(f"{rule} if {{ src 10.0.0.0/8 }}\n default_backend b1")
        table = found.listeners[0][1]
        self.assertEqual((table.proxy_protocol, table.proxy_protocol_from), ("optional", ["10.0.0.0/8"]))
        self.assertIn("without a header are taken here", notes(found)[0])
        found = frontend(f"{rule} if {{ nbsrv lt 1 }}\n default_backend b1")
        self.assertIsNone(found.listeners[0][1].proxy_protocol)
        self.assertIn("expect-proxy: only conditions on src", notes(found)[0])

    def test_accept_proxy(self) -> None:
        """The peers that are let in before the header are those whose headers are believed."""
        rule = "tcp-request connection reject if {}{{ src 10.0.0.0/8 }}\n default_backend b1"
        found = frontend(rule.format("!"), ":1 accept-proxy")
        self.assertEqual(found.listeners[0][1].proxy_protocol_from, ["10.0.0.0/8"])
        self.assertIsNone(found.rules[0].only_from)
        self.assertEqual(notes(found), [])
        found = frontend("default_backend b1", ":1 accept-proxy")
        self.assertEqual(found.listeners[0][1].proxy_protocol_from, EVERYBODY)
        self.assertIn("believes headers of all peers", notes(found)[0])
        self.assertEqual(frontend("default_backend b1", "[::1]:1 accept-proxy").listeners[0][1].proxy_protocol_from, [])
        rules = "tcp-request session reject if !{ src 10.0.0.0/8 }\n default_backend b1"
        self.assertEqual(frontend(rules, "[::1]:1 accept-proxy").rules[0].only_from, ("10.0.0.0/8",))

    def test_header_port(self) -> None:
        """Behind a header, a server without a port has that of the header."""
        text = "frontend f\n bind 127.0.0.1:1 accept-proxy\n {} default_backend b\nbackend b\n server s 10.0.0.1\n"
        found = read(text.format(HEAD))
        self.assertEqual(found.rules[0].targets, ("10.0.0.1:{proxy_protocol_port}",))
        found = read(text.format(HEAD).replace(" accept-proxy", ""))
        self.assertEqual(found.rules[0].targets, ("10.0.0.1:{port}",))

    def test_variables(self) -> None:
        """A variable holds a sample; one that is not understood is reported."""
        rules = "tcp-request content set-var(sess.a) req.ssl_sni,lower\n tcp-request content set-var(sess.b) (("
        text = f"frontend f\n bind :1\n {rules}\n {HEAD} use_backend b1 if {{ var(sess.a) -m str a.test }}\n{BACKENDS}"
        found = read(text)
        self.assertEqual(routes(found), [("a.test", "1")])
        self.assertIn("set-var: ", notes(found)[0])

    def test_case(self) -> None:
        """Names that are compared with case are one note."""
        found = frontend("use_backend b1 if { req.ssl_sni a b }\n use_backend b2 if { req.ssl_sni c }")
        self.assertEqual(len(notes(found)), 1)
        self.assertIn("(lines: 2)", notes(found)[0])

    def test_no_bind(self) -> None:
        """A frontend without a listener is reported."""
        self.assertTrue(notes(read("frontend f\n default_backend b1\n"))[0].startswith("! 1 no listener"))
