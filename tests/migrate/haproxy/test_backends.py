"""Tests for L{sniproxy.migrate.haproxy.backends}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.backends import REFUSED, Destination, destination, is_limit, servers_of
from tests.support.haproxyconfig import notes, scene, section


class DestinationTests(SynchronousTestCase):
    """Where a backend sends connections."""

    def of(self, text: str, terminates: bool = False) -> Destination:
        """The destination of a backend; the report is in C{report}."""
        where, found = scene(terminates=terminates), section(text)
        self.report = where.report
        return destination(found, servers_of(found, where), where)

    def test_targets(self) -> None:
        """Weights are kept among several servers; a spare has weight 0, as no server without weight."""
        one, two, three = (f"server s{number} 10.0.0.{number}:1" for number in (1, 2, 3))
        for text, expected in (
            (f"{one} weight 5", ("10.0.0.1:1",)),
            (f"{one} weight 5\n{two}", ("10.0.0.1:1 weight=5", "10.0.0.2:1")),
            (f"{one}\n{two} backup weight 4", ("10.0.0.1:1", "10.0.0.2:1 weight=0")),
            (f"{one} weight 0\n{two}", ("10.0.0.2:1",)),
            (f"{one} backup\n{two} backup", ("10.0.0.1:1", "10.0.0.2:1 weight=0")),
            (f"{one} backup\n{two} backup\noption allbackups", ("10.0.0.1:1", "10.0.0.2:1")),
            (f"{one} weight 0\n{two} weight 0\n{three} disabled", ()),
            ("", ()),
        ):
            self.assertEqual(self.of(text).targets, expected, text)
        self.assertEqual(self.of(""), REFUSED)

    def test_keys(self) -> None:
        """Balance, limits, headers and the source are keys of the route."""
        more = "send-proxy-v2 proxy-v2-options authority maxconn 5"
        text = (
            f"balance leastconn\nsource 0.0.0.0 usesrc clientip\nserver a 10.0.0.1:1 {more}\nserver b 10.0.0.2:1 {more}"
        )
        expected = Destination(("10.0.0.1:1", "10.0.0.2:1"), "least_connections", 10, "v2", ("authority",), "client")
        self.assertEqual(self.of(text), expected)
        self.assertIn("max_connections = 10", notes(self.report)[0])

    def test_limits(self) -> None:
        """A server without a limit means none; a rule of our own exports is one."""
        for text, expected in (
            ("server a 10.0.0.1:1 maxconn 5\nserver b 10.0.0.2:1", None),
            ("server a 10.0.0.1:1 maxconn 0", None),
            ("server a 10.0.0.1:1 maxconn x", None),
            ("tcp-request content reject if { be_conn gt 7 }\nserver a 10.0.0.1:1", 7),
            ("tcp-request content reject if { be_conn gt x }\nserver a 10.0.0.1:1", None),
            ("tcp-request content reject if { be_conn gt 7 } x\nserver a 10.0.0.1:1", None),
        ):
            self.assertEqual(self.of(text).max_connections, expected, text)
        self.assertFalse(any(is_limit(line) for line in section("tcp-request content accept").lines))

    def test_reported(self) -> None:
        """What a route cannot have is reported."""
        for text, expected in (
            ("balance source", "~ 2 source: targets are used in turn"),
            ("balance roundrobin", ""),
            ("source 10.0.0.9", "- 2 the system chooses"),
            ("option transparent", "! 2 connections to their original destination"),
        ):
            self.of(f"{text}\nserver a 10.0.0.1:1\nserver b 10.0.0.2:1")
            self.assertIn(expected, "".join(notes(self.report)), text)
        self.of("server a 10.0.0.1:1\nserver b 10.0.0.2:1 send-proxy")
        self.assertIn("those of the first server", notes(self.report)[0])

    def test_tls(self) -> None:
        """TLS to targets is for listeners that end TLS, and always verified."""
        for text, terminates, expected in (
            ("", False, []),
            ("ssl", False, ["! 2 ssl: clients' TLS passes through as it is, without a second TLS around it"]),
            ("", True, ["! 2 behind certificates this proxy always speaks TLS to targets"]),
            ("ssl verify required", True, []),
            (
                "ssl verify none",
                True,
                ["~ 2 the target's certificate is always verified, for the client's server name"],
            ),
        ):
            self.of(f"server a 10.0.0.1:1 {text}", terminates)
            self.assertEqual(notes(self.report), expected)
