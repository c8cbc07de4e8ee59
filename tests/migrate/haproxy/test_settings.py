"""Tests for L{sniproxy.migrate.haproxy.settings}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable, LimitsTable, Timeouts
from sniproxy.migrate.haproxy.sections import Section, read_sections
from sniproxy.migrate.haproxy.servers import read_servers
from sniproxy.migrate.haproxy.settings import read_health, read_limits, read_timeouts
from sniproxy.migrate.model import Notes
from tests.support.haproxyconfig import notes, source


class SettingsTests(SynchronousTestCase):
    """Timeouts, checks and limits."""

    def sections(self, text: str) -> Sequence[Section]:
        """The sections of a text; the report is in C{report}."""
        self.report = Notes()
        return read_sections([source(text)], self.report)

    def timeouts(self, text: str) -> Timeouts:
        """The timeouts of sections."""
        return read_timeouts(self.sections(text), self.report)

    def test_timeouts(self) -> None:
        """Each timeout has its counterpart; without one of an idle tunnel there is no limit."""
        found = self.timeouts(
            "defaults\n timeout connect 3s\n timeout client 1m\n timeout server 50s\n timeout client-fin 20s\n"
            "global\n hard-stop-after 5s\nfrontend f\n tcp-request inspect-delay 2s\n"
        )
        self.assertEqual(found, Timeouts(hello=2, connect=3, idle=50, half_closed=20, drain=5))
        self.assertEqual(self.timeouts("frontend f\n"), Timeouts(idle=0))
        self.assertEqual(self.timeouts("frontend f\n timeout client 5s\n timeout tunnel 1h"), Timeouts(idle=3600))
        self.assertEqual(self.timeouts("frontend f\n timeout client 0"), Timeouts(idle=0))

    def test_different(self) -> None:
        """Of several values the first is taken; what is no time is reported."""
        text = "frontend f\n timeout connect 3s\nbackend b\n timeout connect 4s\nbackend c\n timeout connect 3000\n"
        self.assertEqual(self.timeouts(text).connect, 3)
        self.assertEqual(notes(self.report), ["~ 4 timeout connect 4s: one value for all proxies here, 3 s"])
        for line in ("timeout connect", "timeout connect soon", "timeout connect 9999999999s"):
            self.assertEqual(self.timeouts(f"frontend f\n {line}").connect, 10)
            self.assertIn("not a time", notes(self.report)[0])

    def health(self, text: str) -> HealthTable | None:
        """The health checks of sections."""
        sections = self.sections(text)
        servers = [one for section in sections for one in read_servers(section.lines, None, Notes())]
        return read_health(sections, servers, self.report)

    def test_health(self) -> None:
        """Checks are for all targets, with the settings of the first server."""
        self.assertIsNone(self.health("backend b\n server a 10.0.0.1:1"))
        self.assertEqual(self.health("backend b\n server a 10.0.0.1:1 check"), HealthTable("tcp", 2.0, 2, 3))
        found = self.health(
            "backend b\n option ssl-hello-chk\n option httpchk\n server a 10.0.0.1:1 check inter 500 rise 4 fall x\n"
            " server b 10.0.0.2:1\n server c 10.0.0.3:1 check\n server d 10.0.0.4:1 check inter 500 rise 4 fall x"
        )
        self.assertEqual(found, HealthTable("tls", 0.5, 4, 2))
        self.assertEqual([text[:3] for text in notes(self.report)], ["~ 3", "~ 5", "~ 6"])
        found = self.health("backend b\n server a 10.0.0.1:1 check check-ssl\n option tcp-check\n no option tcp-check")
        self.assertEqual(found, HealthTable("tls", 2.0, 2, 3))
        self.assertEqual(notes(self.report), [])

    def test_limits(self) -> None:
        """The global limit counts, or the sum of those of frontends."""
        for text, expected in (
            ("frontend f\n", None),
            ("global\n maxconn 500\nfrontend f\n maxconn 500\n", LimitsTable(max_connections=500)),
            ("frontend f\n maxconn 5\nlisten g\n maxconn 6\nbackend b\n maxconn 7", LimitsTable(max_connections=11)),
            ("global\n maxconn x\n", None),
            ("global\n maxconn\n", None),
        ):
            self.assertEqual(read_limits(self.sections(text), self.report), expected, text)
        read_limits(self.sections("global\n maxconn 500\nfrontend f\n maxconn 5\n"), self.report)
        self.assertEqual(notes(self.report), ["~ 3 maxconn 5: the limit is one for all listeners, 500"])
