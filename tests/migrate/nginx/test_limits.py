"""Tests for timeouts and limits."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import LimitsTable, Timeouts
from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.limits import limits_of, timeouts_of
from sniproxy.migrate.nginx.servers import read_server


class LimitTests(SynchronousTestCase):
    """What nginx has for each server."""

    def read(self, text: str) -> tuple[Timeouts | None, LimitsTable | None, str]:
        report = Notes()
        stream = directives(SourceFile("n.conf", text))
        servers = [read_server(one, stream, report) for one in stream if one.name == "server"]
        found = timeouts_of(servers, report), limits_of(servers, stream, report)
        return *found, "\n".join(f"{note.place} {note.text}" for note in report.notes)

    def test_nothing(self) -> None:
        """Without directives there is no table."""
        self.assertEqual(self.read("server { }"), (None, None, ""))

    def test_timeouts(self) -> None:
        """The longest timeout counts; a wrong one is left out."""
        timeouts, _, report = self.read(
            "preread_timeout 3s; server { proxy_timeout 1h; } server { proxy_timeout 2h; proxy_connect_timeout 0; }"
        )
        self.assertEqual(timeouts, Timeouts(hello=3, idle=7200))
        self.assertIn("[timeouts] idle is for all listeners: 7200 s", report)
        self.assertIn("0: no time for connect", report)

    def test_limits(self) -> None:
        """A limit by the client's address is one for each client; the largest counts."""
        _, limits, report = self.read(
            "limit_conn_zone $binary_remote_addr zone=a:1m; limit_conn_zone $server_name zone=b:1m; "
            "limit_conn_zone $x; "
            "limit_conn a 3; server { } server { } "
            "server { limit_conn a 5; limit_conn b 1; limit_conn a x; limit_conn c 1; }"
        )
        self.assertEqual(limits, LimitsTable(max_connections_per_client=5))
        for text in ("the largest counts", "a limit by $server_name", "no zone and number", "a zone that is not there"):
            self.assertEqual(report.count(text), 1, text)
