"""Tests for L{sniproxy.migrate.haproxy.decisions}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy import decisions, names
from sniproxy.migrate.model import ANY, NAMELESS
from tests.support.haproxyconfig import frontend, notes, routes

INSIDE = "{ src 10.0.0.0/8 }"


class DecisionTests(SynchronousTestCase):
    """Rules on names and clients become rules on names."""

    def test_exceptions(self) -> None:
        """The names that a rule excepts have their later outcome before it."""
        found = frontend("use_backend b1 unless { req.ssl_sni -i a.test }\n default_backend b2")
        self.assertEqual(routes(found), [("a.test", "2"), (ANY, "1"), (NAMELESS, "1")])
        found = frontend(
            "use_backend b1 if { req.ssl_sni -i -m end .w } !{ req.ssl_sni -i a.w b }\n default_backend b2"
        )
        self.assertEqual(routes(found), [("a.w", "2"), ("*.w", "1"), (ANY, "2"), (NAMELESS, "2")])
        found = frontend("use_backend b1 if !{ req.ssl_sni -m found }\n default_backend b2")
        self.assertEqual(routes(found), [(ANY, "2"), (NAMELESS, "1")])
        self.assertEqual(notes(found), [])

    def test_only_from(self) -> None:
        """A rule for some clients only, whose other clients are refused, has only_from."""
        found = frontend(f"use_backend b1 if {{ req.ssl_sni -i a.test }} {INSIDE}")
        self.assertEqual(routes(found), [("a.test", "1")])
        self.assertEqual(found.rules[0].only_from, ("10.0.0.0/8",))
        self.assertEqual(notes(found), [])

    def test_several(self) -> None:
        """Clients that different rules lead to one backend are joined."""
        found = frontend(f"use_backend b1 if {{ req.ssl_sni -i a.test }} {INSIDE}\n default_backend b1")
        self.assertEqual(routes(found), [("a.test", "1"), (ANY, "1"), (NAMELESS, "1")])
        self.assertIsNone(found.rules[0].only_from)

    def test_rejected_clients(self) -> None:
        """Clients that are rejected are left out of all later rules."""
        found = frontend("default_backend b1").rules
        self.assertIsNone(found[0].only_from)
        found = frontend("tcp-request connection reject if { src 128.0.0.0/1 }\n default_backend b1").rules
        self.assertEqual([rule.only_from for rule in found], [("0.0.0.0/1", "::/0")] * 2)

    def test_conflict(self) -> None:
        """A name that leads clients to different backends has the route of the first rule, and is reported."""
        found = frontend(f"use_backend b1 if {{ req.ssl_sni -i a.test }} {INSIDE}\n default_backend b2")
        self.assertEqual(routes(found)[0], ("a.test", "1"))
        self.assertEqual(found.rules[0].only_from, ("10.0.0.0/8",))
        self.assertTrue(notes(found)[0].startswith("! 6 a.test: a name has one route here, that of haproxy.cfg:5"))
        found = frontend(f"use_backend b1 if {INSIDE}\n default_backend b2")
        self.assertEqual(routes(found), [(ANY, "1"), (NAMELESS, "1")])
        self.assertTrue(notes(found)[0].startswith("! 6 all names: "))

    def test_impossible(self) -> None:
        """Rules for no client and for no name are skipped."""
        found = frontend(
            f"use_backend b1 if {INSIDE} !{INSIDE}\n use_backend b2 if {{ req.ssl_sni -i a }} {{ req.ssl_sni -i b }}"
        )
        self.assertEqual(routes(found), [])

    def test_refused(self) -> None:
        """Rules at the end that refuse are not written; others are."""
        found = frontend(
            "use_backend b4 if { req.ssl_sni -i a.test }\n use_backend b1 if { req.ssl_sni -i -m end .test }\n"
            " use_backend b4 if { req.ssl_sni -i b }\nbackend b4\n server s 10.0.0.4:1 disabled"
        )
        self.assertEqual(routes(found), [("a.test", ""), ("*.test", "1")])

    def test_bounds(self) -> None:
        """Too many combinations, and too long expressions, are reported."""
        self.patch(decisions, "MAX_STEPS", 3)
        found = frontend(" use_backend b1 if { req.ssl_sni -i a }\n" * 9)
        self.assertEqual(notes(found), [])
        found = frontend(f"use_backend b1 if {INSIDE}\n" + " use_backend b1 if { req.ssl_sni -i a }\n" * 9)
        self.assertTrue(notes(found)[-1].startswith("! 1 more than 3 combinations"))
        self.patch(decisions, "MAX_STEPS", 100)
        self.patch(names, "MAX_EXPRESSION_CHARS", 20)
        long = "a" * 30
        found = frontend(
            f"use_backend b1 if {{ req.ssl_sni -i -m beg {long} }} {{ req.ssl_sni -i -m sub {long} }}\n"
            " default_backend b2"
        )
        self.assertIn("it needs an expression", notes(found)[0])
