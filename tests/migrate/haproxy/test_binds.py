"""Tests for L{sniproxy.migrate.haproxy.binds}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.binds import MAX_PORTS, Bound, is_local, read_binds
from sniproxy.migrate.model import Notes
from sniproxy.net.endpoints import parse_endpoint
from tests.support.haproxyconfig import notes, section


class BindTests(SynchronousTestCase):
    """Listeners of C{bind} lines."""

    def read(self, text: str, *believed: str) -> list[Bound]:
        """The listeners of a bind; the report is in C{report}."""
        self.report = Notes()
        return read_binds(section(f"bind {text}", "frontend"), believed, self.report)

    def test_addresses(self) -> None:
        """Each address and port is a listener of its own."""
        for text, expected in (
            (":4443", ["tcp:4443"]),
            ("*:4443", ["tcp:4443"]),
            ("0.0.0.0:1,127.0.0.1:2", ["tcp:1", "tcp:2:interface=127.0.0.1"]),
            ("ipv4@:1,ipv6@:2", ["tcp:1", "tcp6:2"]),
            ("[::]:1,:::2", ["tcp6:1", "tcp6:2"]),
            ("::1:5", [r"tcp6:5:interface=\:\:1"]),
            (":1000-1002", ["tcp:1000", "tcp:1001", "tcp:1002"]),
            (":1 backlog 1000000", ["tcp:1"]),
            ("host.test:1 backlog 5", ["tcp:1:interface=host.test:backlog=5"]),
            ("unix@/run/a.sock mode 600", ["unix:/run/a.sock:mode=600"]),
            ("/run/a.sock", ["unix:/run/a.sock"]),
        ):
            found = self.read(text)
            self.assertEqual([one.table.endpoint for one in found], expected, text)
            for one in found:
                self.assertEqual(parse_endpoint(one.table.endpoint).port, one.port)

    def test_not_read(self) -> None:
        """Other addresses are reported, because names on them go nowhere."""
        for text in ("fd@5", "abns@x", ":x", "", f":1-{MAX_PORTS + 1}", ":5-4", ":0", ":70000", "quic4@:1"):
            self.assertEqual(self.read(text), [], text)
            self.assertTrue(self.report.notes[0].decides, text)

    def test_options(self) -> None:
        """Names, PROXY protocol headers and TLS are keys of the listener."""
        (one,) = self.read(":1 name x accept-proxy defer-accept")
        table = one.table
        self.assertEqual((table.name, table.proxy_protocol, table.deferred_accept), ("x", "required", True))
        for text, expected in (("127.0.0.1:1", True), ("[::1]:1 backlog 5", True), ("unix@/x", True), (":1", False)):
            self.assertEqual(is_local(self.read(text)[0].table.endpoint), expected, text)
        table = self.read(":1", "10.0.0.0/8")[0].table
        self.assertEqual((table.proxy_protocol, table.proxy_protocol_from), ("optional", ["10.0.0.0/8"]))

    def test_tls(self) -> None:
        """A bind with ssl ends TLS."""
        (one,) = self.read(":1 ssl crt /etc/a.pem alpn h2")
        self.assertEqual((one.terminates, one.table.certificates), (True, "/etc/a.pem"))
        (one,) = self.read(":1 ssl crt-list l verify required ca-file x")
        self.assertEqual(one.table.certificates, "certificates.pem")
        self.assertEqual([note.decides for note in self.report.notes], [False, True, True])

    def test_reported(self) -> None:
        """Options without a counterpart are reported."""
        for text, expected in (
            ("v6only", "~ 2 v6only"),
            ("interface eth0", "- 2 interface eth0: has no counterpart"),
            ("transparent", "- 2 transparent: has no counterpart"),
            ("nice", ""),
        ):
            self.assertEqual(len(self.read(f":1 {text}")), 1)
            self.assertIn(expected, "".join(notes(self.report)))

    @given(st.text(alphabet="a1.:[]@/-*, ", max_size=20))
    def test_whole(self, text: str) -> None:
        """Every text gives listeners or notes."""
        self.read(text)
