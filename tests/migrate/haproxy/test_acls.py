"""Tests for L{sniproxy.migrate.haproxy.acls}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.acls import AclWords, Scene, literals
from sniproxy.migrate.haproxy.clients import Clients
from sniproxy.migrate.haproxy.literals import Literal, Unknown
from sniproxy.migrate.haproxy.names import Names
from sniproxy.migrate.haproxy.samples import parse_sample
from sniproxy.migrate.model import ANY, Place
from tests.support.haproxyconfig import scene

HERE = Place("haproxy.cfg", 4)


def read(text: str, where: Scene | None = None) -> Literal:
    """The one literal of an ACL."""
    (found,) = literals(AclWords(tuple(text.split()), HERE), where or scene())
    return found


class AclTests(SynchronousTestCase):
    """ACLs on names, clients and what is known of every hello."""

    def names(self, text: str, where: Scene | None = None) -> list[str]:
        """The patterns of an ACL on names."""
        found = read(text, where)
        assert isinstance(found, Names) and not found.negated, found
        return [pattern for pattern, _ in found.members]

    def test_names(self) -> None:
        """Flags choose how the patterns match."""
        for text, expected in (
            ("req.ssl_sni a b", ["a", "b"]),
            ("req_ssl_sni -i a", ["a"]),
            ("req.ssl_sni -u 5 -n -m end .w", ["*.w"]),
            ("req.ssl_sni -m end -i .w", ["*.w"]),
            ("req.ssl_sni -i -- -a", ["-a"]),
            ("req.ssl_sni -m found", [ANY]),
            ("req.ssl_sni,lower,field(1,.) -m str a", [r"~a(?:\..*)?"]),
        ):
            self.assertEqual(self.names(text), expected, text)

    def test_files(self) -> None:
        """A list has more patterns; one that was not given is unknown."""
        where = scene(l_lst="a.test\nb.test\n")
        self.assertEqual(self.names("req.ssl_sni -f /etc/l.lst c.test", where), ["c.test", "a.test", "b.test"])
        self.assertIsInstance(read("req.ssl_sni -f /etc/other.lst", where), Unknown)

    def test_maps(self) -> None:
        """A map in a condition means the names with a value, or with a certain value."""
        where = scene(m_map="a b1\nb b2\na b2\n")
        for text, expected in (
            ("req.ssl_sni,map(m.map) -m found", ["a", "b", "a"]),
            ("req.ssl_sni,map(m.map,x) -m found", [ANY]),
            ("req.ssl_sni,map(m.map) b2", ["b"]),
            ("req.ssl_sni,map(m.map) -m str b1", ["a", "a"]),
            ("req.ssl_sni,map_beg(m.map) -m found", ["~a.*", "~b.*", "~a.*"]),
        ):
            self.assertEqual(self.names(text, where), expected, text)
        for text in ("map(m.map,b1) b1", "map_end(m.map) b1", "map(m.map) -m beg b", "map(n.map) b"):
            self.assertIsInstance(read(f"req.ssl_sni,{text}", where), Unknown, text)

    def test_terminated(self) -> None:
        """Where the listener ends TLS, only ssl_fc_sni has the name."""
        ends = scene(terminates=True)
        self.assertEqual(self.names("ssl_fc_sni_end .w", ends), ["*.w"])
        self.assertIs(read("req.ssl_sni a", ends), False)
        where = scene()
        self.assertIs(read("ssl_fc_sni a", where), False)
        for one, text in ((ends, "req.ssl_sni has no value on a listener that ends TLS"), (where, "does not end TLS")):
            self.assertIn(text, one.report.notes[-1].text)

    def test_variable(self) -> None:
        """A variable is what was stored in it."""
        where = attrs.evolve(scene(), variables={"s": parse_sample("req.ssl_sni,lower")})
        self.assertEqual(self.names("var(s) -m str a", where), ["a"])

    def test_case(self) -> None:
        """The places of texts with letters that are compared with case are kept."""
        where = scene()
        for text in ("req.ssl_sni a", "req.ssl_sni 1", "req.ssl_sni -i b", "req.ssl_sni,lower c"):
            read(text, where)
        self.assertEqual(where.sensitive, [HERE])

    def test_clients(self) -> None:
        """The client's address is in networks."""
        found = read("src 10.0.0.0/8")
        assert isinstance(found, Clients)
        self.assertEqual(found.networks(), ("10.0.0.0/8",))
        self.assertIsInstance(read("src -m ip 10.0.0.1"), Clients)
        for text in ("src host.test", "src -m str 10.0.0.1"):
            self.assertIsInstance(read(text), Unknown, text)

    def test_constants(self) -> None:
        """What holds for every hello, or for every hello of the listener, is known."""
        for text, expected in (
            ("req.ssl_hello_type 1", True),
            ("req_ssl_hello_type 2", False),
            ("req.ssl_hello_type gt 0", True),
            ("wait_end", True),
            ("always_false", False),
            ("req.proto_http", False),
            ("req.len gt 0", True),
            ("req_ssl_ver 3.0:3.4", True),
            ("dst_port 4443", True),
            ("dst_port 1:1000", False),
        ):
            self.assertIs(read(text), expected, text)

    def test_unknown(self) -> None:
        """Everything else is unknown, with a reason; limits are told apart."""
        for text in (
            "",
            "req.len gt 500",
            "req.ssl_ver x",
            "dst_port,add(1) 5",
            "hour 5",
            "req.ssl_sni -M a",
            "req.ssl_sni -m int 5",
            "req.ssl_sni,regsub(a,b) a",
            "(",
        ):
            found = read(text)
            assert isinstance(found, Unknown), text
            self.assertFalse(found.limits)
        self.assertIsInstance(read("dst_port 1", scene(port=None)), Unknown)
        for text in ("src_conn_rate gt 5", "sc0_conn_cur gt 5", "nbsrv(b1) lt 1", "be_conn(b) gt 5"):
            found = read(text)
            assert isinstance(found, Unknown), text
            self.assertTrue(found.limits)
            self.assertIn("servers are up" if text.startswith("nbsrv") else "it limits connections", found.text)
