"""Tests for servers that pass connections to other servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.nginx.chains import links_of
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.servers import read_server


class LinkTests(SynchronousTestCase):
    """How servers are named."""

    def links(self, text: str) -> list[str]:
        report = Notes()
        return list(links_of([read_server(one, (), report) for one in directives(SourceFile("n.conf", text))]))

    def test_texts(self) -> None:
        """A server has a text for each of its addresses that reaches it on this machine."""
        self.assertEqual(
            self.links("server { listen 1; listen [::]:2; listen 10.0.0.1:3; listen unix:/a; }"),
            ["127.0.0.1:1", "localhost:1", "[::1]:2", "10.0.0.1:3", "unix:/a"],
        )
        self.assertEqual(
            self.links("server { listen 127.0.0.1:1; listen [::1]:2; }"), ["127.0.0.1:1", "localhost:1", "[::1]:2"]
        )

    def test_servers_that_are_no_link(self) -> None:
        """Servers that share an address, or terminate TLS."""
        self.assertEqual(
            self.links("server { listen 10.0.0.1:1; } server { listen 10.0.0.1:1; listen 10.0.0.1:2 ssl; }"), []
        )
