"""Tests for server blocks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.servers import Server, read_server


class ServerTests(SynchronousTestCase):
    """The server block."""

    def read(self, text: str, outer: str = "") -> Server:
        self.report = Notes()
        (block,) = directives(SourceFile("n.conf", f"server {{ {text} }}"))
        return read_server(block, directives(SourceFile("n.conf", outer)), self.report)

    def notes(self) -> str:
        return "\n".join(f"{note.place} {note.text}{' !' if note.decides else ''}" for note in self.report.notes)

    def test_inheritance(self) -> None:
        """A server has its own directives, or else those around it; the last one counts."""
        server = self.read("listen 1; deny all; ssl_preread off; ssl_preread on;", "allow 10.0.0.1; proxy_timeout 5s;")
        self.assertEqual([one.name for one in server.all("allow", "deny")], ["deny"])
        self.assertTrue(server.reads_names)
        found = server.get("proxy_timeout")
        assert found is not None
        self.assertEqual(found.first, "5s")
        self.assertIsNone(server.get("resolver"))
        self.assertFalse(server.ends_tls)
        self.assertEqual(self.notes(), "")

    def test_listens(self) -> None:
        """All addresses of TCP; names of the server."""
        server = self.read("listen 1 ssl; listen 2-3; listen 53 udp; listen h.test:1; server_name a b; server_name c;")
        self.assertEqual([one.address.port for one in server.listens], [1, 2, 3])
        self.assertEqual(server.names, ["a", "b", "c"])
        self.assertTrue(server.ends_tls)
        self.assertEqual(
            self.notes(), "n.conf:1 listen UDP is not proxied here\nn.conf:1 listen h.test:1: no address to listen on !"
        )

    def test_header(self) -> None:
        """The version of the PROXY protocol."""
        self.assertIsNone(self.read("").send_proxy())
        self.assertEqual(self.read("proxy_protocol on;").send_proxy(), "v1")
        self.assertEqual(self.read("proxy_protocol on; proxy_protocol_version 2;").send_proxy(), "v2")
        self.assertEqual(self.read("proxy_protocol on; proxy_protocol_version 1;").send_proxy(), "v1")

    def test_clients(self) -> None:
        """allow and deny are networks; a wrong one is reported, and decides."""
        self.assertEqual(self.read("allow 10.0.0.0/8; deny all;").clients(self.report), ["10.0.0.0/8"])
        self.assertIsNone(self.read("allow x;").clients(self.report))
        self.assertIn("'x' does not appear to be", self.notes())
        self.assertIn("!", self.notes())

    def test_variables(self) -> None:
        """set directives of a variable and a value."""
        server = self.read("set $a b; set c d; set $e;", "set $f g;")
        self.assertEqual([one.first for one in server.set_variables()], ["$f", "$a"])

    def test_other_directives(self) -> None:
        """What has a counterpart elsewhere, none, or is unknown."""
        self.read("access_log x; return a; foo; tcp_nodelay on;")
        self.assertEqual(
            self.notes(),
            "n.conf:1 access_log write [access_log]: it has a JSON object for each connection\n"
            "n.conf:1 return it has no equal here !\nn.conf:1 foo unknown directive",
        )
