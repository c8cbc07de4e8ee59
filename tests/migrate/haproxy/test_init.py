"""Tests for L{sniproxy.migrate.haproxy}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable, LimitsTable
from sniproxy.migrate import haproxy
from sniproxy.migrate.model import MigrateError, SourceFile
from tests.support.haproxyconfig import BACKENDS, HEAD, notes, read, routes

_WORDS = (
    "global", "defaults", "frontend f", "listen l", "backend b", "from d", "bind :1", "mode tcp", "acl a",
    "acl a src", "req.ssl_sni", "-i", "-m end", "-f x", ".w.test", "use_backend b",
    "use_backend %[req.ssl_sni,map(x)]", "if", "unless", "{", "}", "!a", "a", "or", "default_backend b",
    "server s 10.0.0.1:1", "weight", "check", "use-server s", "'", '"', "\\", "tcp-request content reject",
    "tcp-request content accept", "tcp-request inspect-delay", "timeout client", "\n", "\n", "\n",
)  # fmt: skip


class ReadTests(SynchronousTestCase):
    """Whole configurations."""

    def test_whole(self) -> None:
        """Listeners, rules and settings come together."""
        found = read(
            "global\n maxconn 50\ndefaults\n mode tcp\n timeout connect 3s\nfrontend f\n bind :1\n"
            " use_backend b1 if { req.ssl_sni -i a.test }\nbackend b1\n server s 10.0.0.1:6651 check\n"
        )
        self.assertEqual([table.endpoint for _, table in found.listeners], ["tcp:1"])
        self.assertEqual(routes(found), [("a.test", "1")])
        self.assertEqual((found.health, found.limits), (HealthTable("tcp", 2.0), LimitsTable(max_connections=50)))
        assert found.timeouts is not None
        self.assertEqual(found.timeouts.connect, 3)
        self.assertIn("taken", [note.kind for note in found.report.notes])

    def test_disabled(self) -> None:
        """Disabled sections are not read."""
        found = read(f"frontend f\n disabled\n bind :1\nfrontend g\n bind :2\n {HEAD} default_backend b1\n{BACKENDS}")
        self.assertEqual([table.endpoint for _, table in found.listeners], ["tcp:2"])

    def test_http(self) -> None:
        """Frontends that read HTTP are left out; those for statistics decide nothing."""
        found = read("frontend f\n mode http\n bind :80\nlisten s\n mode http\n bind :81\n stats enable\n")
        self.assertEqual(found.listeners, [])
        texts = [text for text in notes(found) if "mode http" in text]
        self.assertEqual([text[0] for text in texts], ["-", "-"])
        self.assertIn("! 1 mode http", "".join(notes(read("frontend f\n mode http\n bind :443 ssl crt a.pem\n"))))

    def test_notes_once(self) -> None:
        """A note of several listeners is written once."""
        found = read("frontend f\n bind :1,:2\n use_backend x if { req.ssl_sni -i a }\n")
        self.assertEqual(len([text for text in notes(found) if "no backend x" in text]), 1)

    def test_by_listener(self) -> None:
        """A listener whose names are all refused gets no rules of others."""
        text = "use_backend b1 if { req.ssl_sni -i a }"
        found = read(f"frontend f\n bind :1\n {text}\nfrontend g\n bind :2\n acl x req.ssl_sni y\n{BACKENDS}")
        self.assertEqual([rule.listener for rule in found.rules], ["f"])

    def test_policy(self) -> None:
        """Targets whose port a header names are allowed by the policy."""
        text = f"frontend f\n bind 127.0.0.1:1 accept-proxy\n {HEAD} default_backend b\nbackend b\n server s 10.0.0.1"
        found = read(text)
        assert found.policy is not None
        self.assertIn("10.0.0.0/8", found.policy.allow_cidrs)
        self.assertIn("allow_ports", "".join(notes(found)))
        self.assertIsNone(read(f"{text}:6651").policy)

    def test_no_section(self) -> None:
        """Files without a section cannot be read; no files are nothing."""
        self.assertEqual(haproxy.read([]).listeners, [])
        self.assertIn(
            "names.map: no section", str(self.assertRaises(MigrateError, haproxy.read, [SourceFile("names.map", "")]))
        )

    @given(st.lists(st.sampled_from(_WORDS)).map(" ".join))
    def test_any_text(self, text: str) -> None:
        """No text raises anything but MigrateError."""
        try:
            read(f"frontend f\n bind :1\n{text}")
        except MigrateError:
            pass
