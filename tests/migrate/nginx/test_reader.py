"""Tests for whole nginx configurations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable, LimitsTable, PolicyTable, Timeouts
from sniproxy.migrate.formed import PRIVATE
from sniproxy.migrate.model import ANY, Imported, MigrateError, SourceFile
from sniproxy.migrate.nginx.reader import read

WORDS = st.sampled_from(
    ["stream {", "server {", "map $ssl_preread_server_name $x {", "upstream u {", "}", "listen 443;", "ssl_preread on;",
     "proxy_pass $x;", "proxy_pass u;", "a.test u;", "~^a u;", "default $x;", "server 10.0.0.7:1;", "hostnames;",
     "geo $x {", "set $x y;", "allow all;", "include x;", "listen;", "proxy_pass;", "server;", "map;"]
)  # fmt: skip


def imported(*texts: str) -> Imported:
    return read([SourceFile(f"n{number}.conf", text) for number, text in enumerate(texts)])


def notes(found: Imported) -> str:
    return "\n".join(f"{note.place} {note.text}{' !' if note.decides else ''}" for note in found.report.notes)


class ReaderTests(SynchronousTestCase):
    """All parts together."""

    def test_tables(self) -> None:
        """Rules, resolvers, timeouts, limits, health and the policy of one file."""
        found = imported(
            "user x; worker_processes 4; pid y; http { server { listen 80; } }"
            "stream { resolver 10.0.0.53; limit_conn_zone $remote_addr zone=z:1m; preread_timeout 2s; log_format a b;"
            "upstream u { server 10.0.0.7:1 max_fails=2; }"
            "map $ssl_preread_server_name $x { ~^(.)$ $1.w:6651; a.test u; }"
            "server { listen 443; ssl_preread on; proxy_pass $x; limit_conn z 5; } }"
        )
        self.assertEqual([rule.pattern for rule in found.rules], ["a.test", "~(.)"])
        self.assertEqual(found.resolvers, {"dns": {"type": "dns", "target": "{1}.w:6651", "servers": ["10.0.0.53"]}})
        self.assertEqual(found.timeouts, Timeouts(hello=2))
        self.assertEqual(found.limits, LimitsTable(max_connections_per_client=5))
        self.assertEqual(found.health, HealthTable(fall=2, eject=10))
        self.assertEqual(found.policy, PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=[6651]))
        report = notes(found)
        for text in (
            "workers = NUMBER", "--pidfile", "--uid", "only the stream context", "log_format the access log has",
            "listener tcp:443, 2 rules", "connections that are not TLS are refused", "names are in lower case",
            "names form targets",
        ):  # fmt: skip
            self.assertIn(text, report)
        self.assertNotIn("!", report)

    def test_variables_of_the_client(self) -> None:
        """geo, split_clients and scripts decide, and have their usual value."""
        found = imported(
            "upstream u { server 10.0.0.7:1; } upstream v { server 10.0.0.8:1; }"
            "geo $g { default u; 10.0.0.0/8 v; } split_clients $remote_addr $s { 10% u; * v; } js_set $j x.y;"
            "server { listen 1; ssl_preread on; proxy_pass $g; }"
            "server { listen 2; ssl_preread on; proxy_pass $s; }"
            "server { listen 3; ssl_preread on; proxy_pass $j; }"
        )
        targets = [(rule.listener, *rule.targets) for rule in found.rules if rule.pattern == ANY]
        self.assertEqual(targets, [("port-1", "10.0.0.7:1"), ("port-2", "10.0.0.8:1")])
        self.assertEqual(notes(found).count("is taken for all !"), 3)

    def test_files_of_a_stream_context(self) -> None:
        """Several files without a stream block are one context."""
        found = imported(
            "upstream u { server 10.0.0.7:1; }", "server { listen 1; ssl_preread on; proxy_pass u; }", "map $x;"
        )
        self.assertEqual(len(found.listeners), 1)
        self.assertEqual(len(found.rules), 2)

    def test_broken_files(self) -> None:
        """A file that is cut off is an error with its place."""
        error = self.assertRaises(MigrateError, imported, "stream {")
        self.assertIn("n0.conf:1", str(error))

    @given(st.lists(WORDS, max_size=25))
    def test_any_directives(self, words: list[str]) -> None:
        """Any directives are a configuration, or a MigrateError."""
        try:
            imported(" ".join(words))
        except MigrateError:
            pass
