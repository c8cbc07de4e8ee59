"""Tests for L{sniproxy.migrate.haproxy.entries}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.entries import stored_variables
from sniproxy.migrate.model import ANY, NAMELESS
from tests.support.haproxyconfig import BACKENDS, HEAD, frontend, notes, read, routes, section


class FrontendTests(SynchronousTestCase):
    """The rules of a frontend in their order."""

    def test_backends(self) -> None:
        """The first use_backend whose condition holds counts; then the default."""
        found = frontend(
            "use_backend b1 if { req.ssl_sni -i a.test }\n use_backend b2 if { req.ssl_sni -i -m end .w.test }\n"
            " default_backend b3"
        )
        self.assertEqual(routes(found), [("a.test", "1"), ("*.w.test", "2"), (ANY, "3"), (NAMELESS, "3")])
        self.assertEqual(notes(found), [])
        self.assertEqual(found.rules[0].place.line, 5)

    def test_no_default(self) -> None:
        """Without a default, names without a rule are refused."""
        self.assertEqual(routes(frontend("use_backend b1 if { req.ssl_sni -i a.test }")), [("a.test", "1")])

    def test_missing(self) -> None:
        """A backend that does not exist is reported; its names are refused."""
        found = frontend("use_backend x if { req.ssl_sni -i a.test }\n use_backend\n default_backend b1")
        self.assertEqual(routes(found)[0], ("a.test", ""))
        self.assertIn("! 5 there is no backend x", notes(found))

    def test_http(self) -> None:
        """A backend that reads HTTP is reported."""
        found = read(
            f"frontend f\n bind :1\n default_backend h\n acl x req.ssl_sni a\nbackend h\n mode http\n{BACKENDS}"
        )
        self.assertEqual(routes(found), [])
        self.assertIn("! 5 mode http: the backend reads HTTP, which is inside TLS here", notes(found))

    def test_unknown(self) -> None:
        """A rule with a condition that is not known is left out; limits do not decide where names go."""
        found = frontend(
            "tcp-request content reject if { src_conn_rate gt 5 }\n use_backend b1 if { nbsrv(b2) lt 1 }\n"
            " default_backend b3"
        )
        self.assertEqual(routes(found), [(ANY, "3"), (NAMELESS, "3")])
        self.assertEqual([text[0] for text in notes(found)], ["-", "!"])

    def test_own_servers(self) -> None:
        """A listen section has servers of its own, and use-server chooses among them."""
        found = read(
            f"listen l\n bind :1\n {HEAD}"
            " use-server two if { req.ssl_sni -i two.test }\n use-server nobody if { req.ssl_sni -i x.test }\n"
            " server one 10.0.0.1:6651\n server two 10.0.0.2:6651 weight 0"
        )
        self.assertEqual(routes(found), [("two.test", "2"), (ANY, "1"), (NAMELESS, "1")])


class RefusalTests(SynchronousTestCase):
    """C{tcp-request} rules."""

    def read(self, rules: str) -> list[tuple[str, str]]:
        """The rules of a frontend with these C{tcp-request} rules and a default."""
        found = read(f"frontend f\n bind :1\n tcp-request inspect-delay 1s\n {rules}\n default_backend b1\n{BACKENDS}")
        self.notes = notes(found)
        return routes(found)

    def test_reject(self) -> None:
        """Names that a rule rejects are refused."""
        self.assertEqual(
            self.read("tcp-request content reject if { req.ssl_sni -i a.test }"),
            [("a.test", ""), (ANY, "1"), (NAMELESS, "1")],
        )
        self.assertEqual(self.read("tcp-request content silent-drop if !{ req.ssl_sni -m found }")[0], (ANY, "1"))
        self.assertEqual(self.read("tcp-request content reject"), [])

    def test_accept(self) -> None:
        """What an accept takes, later rules of the same set do not reject."""
        rules = self.read(
            "tcp-request content accept if { req.ssl_sni -i a.test }\n"
            " tcp-request content reject if { req.ssl_sni -i -m end .test }"
        )
        self.assertEqual(rules, [("a.test", "1"), ("*.test", ""), (ANY, "1"), (NAMELESS, "1")])
        self.read(
            "tcp-request content accept if { req_ssl_hello_type 1 }\n tcp-request content reject if { req.ssl_sni a }"
        )
        self.assertIn("~ 5 never reached: an accept before it takes these hellos, in HAProxy, too", self.notes)

    def test_too_many(self) -> None:
        """A rule with too many alternatives is reported."""
        terms = " or ".join(f"{{ req.ssl_sni -i a{number} }} {{ src 10.0.0.{number} }}" for number in range(10))
        self.read(f"tcp-request content accept if {terms}\n tcp-request content reject if {{ req.ssl_sni -i b }}")
        self.assertIn("alternatives", self.notes[0])

    def test_other_actions(self) -> None:
        """Other actions are reported; those that form targets decide where names go."""
        self.read("tcp-request content do-resolve(txn.ip,dns) req.ssl_sni\n tcp-request content set-dst var(txn.ip)")
        self.assertEqual([text[0] for text in self.notes], ["!", "!"])
        self.read(
            "tcp-request connection track-sc0 src\n tcp-request content set-var(txn.x) req.ssl_sni\n"
            " tcp-request content"
        )
        self.assertEqual([text[0] for text in self.notes], ["-", "-"])

    def test_backend_rules(self) -> None:
        """A backend may reject clients and names, too."""
        found = frontend(
            "use_backend b4 if { req.ssl_sni -i -m end .w.test }\n default_backend b1\nbackend b4\n"
            " tcp-request content reject if { req.ssl_sni -i a.w.test }\n"
            " tcp-request content reject if !{ src 10.0.0.0/8 }\n"
            " server s 10.0.0.4:6651"
        )
        self.assertEqual(routes(found)[:2], [("a.w.test", ""), ("*.w.test", "4")])
        self.assertEqual(found.rules[1].only_from, ("10.0.0.0/8",))


class DynamicTests(SynchronousTestCase):
    """C{use_backend %[...]}."""

    def test_map(self) -> None:
        """The first line of a key counts; names without one go to the map's default, hellos without a name do not."""
        names = "a.test b1\nb.test b2\na.test b3\nc.test nowhere\nd.test b1\n"
        found = frontend("use_backend %[req.ssl_sni,lower,map(names.map,b2)]\n default_backend b3", names_map=names)
        expected = [("a.test", "1"), ("d.test", "1"), ("b.test", "2"), ("c.test", "3"), (ANY, "2"), (NAMELESS, "3")]
        self.assertEqual(sorted(routes(found)[:3]), sorted(expected[:3]))
        self.assertEqual(routes(found)[3:6], expected[3:6])
        self.assertIn("~ 4 there is no backend nowhere: the default one, as HAProxy does", notes(found))
        self.assertEqual(found.rules[0].place.file, "names.map")

    def test_ordered_map(self) -> None:
        """Other maps are tried in order; prefixes with the longest first."""
        lines = "use_backend b%[req.ssl_sni,lower,map_{}(m.map)]"
        found = frontend(lines.format("end"), m_map=".a.test 1\n.test 2\n.b.test 1\n")
        self.assertEqual(routes(found), [("*.a.test", "1"), ("*.test", "2"), ("*.b.test", "1")])
        found = frontend(lines.format("beg"), m_map="a 1\nab 2\n")
        self.assertEqual(routes(found), [("~ab.*", "2"), ("~a.*", "1")])

    def test_condition(self) -> None:
        """Behind a condition, further rules follow."""
        found = frontend(
            "use_backend %[req.ssl_sni,lower,map(m.map)] if { req.ssl_sni -i -m end .w.test }\n"
            " use_backend b2 if { req.ssl_sni -i a.test }\n default_backend b3",
            m_map="x.w.test b1\na.test b1\n",
        )
        expected = [("x.w.test", "1"), ("*.w.test", "3"), ("a.test", "2"), (ANY, "3"), (NAMELESS, "3")]
        self.assertEqual(routes(found), expected)

    def test_named(self) -> None:
        """A backend that is named after the server name."""
        found = frontend(
            "use_backend x_%[req.ssl_sni,lower]\n default_backend b3\nbackend x_a.test\n server s 10.0.0.4:6651\n"
            "backend x_no:name\nbackend x_"
        )
        self.assertEqual(routes(found), [("a.test", "4"), (ANY, "3"), (NAMELESS, "3")])

    def test_not_understood(self) -> None:
        """Other expressions are reported."""
        for text in (
            "%[src,map(m.map)]",
            "%[req.ssl_sni,map(n.map)]",
            "%[req.ssl_sni]%[req.ssl_sni]",
            "%[req.ssl_sni,regsub(a,b)]",
            "%[req.ssl_sni",
        ):
            found = frontend(f"use_backend {text}\n default_backend b1", m_map="a b1\n")
            self.assertEqual(routes(found), [(ANY, "1"), (NAMELESS, "1")], text)
            self.assertTrue(notes(found)[0].startswith("! 5 "), text)

    def test_no_names(self) -> None:
        """Keys that no name matches are no routes."""
        found = frontend("use_backend %[req.ssl_sni,lower,map(m.map)]", m_map="*.w.test b1\n")
        self.assertEqual(routes(found), [])


class VariableTests(SynchronousTestCase):
    """C{set-var}."""

    def test_stored(self) -> None:
        """The lines that store a sample in a variable."""
        text = "".join(
            f"tcp-request content {rule}\n" for rule in ("set-var(sess.a) req.ssl_sni", "set-var(b)", "accept")
        )
        self.assertEqual(list(stored_variables(section(text))), ["sess.a"])
