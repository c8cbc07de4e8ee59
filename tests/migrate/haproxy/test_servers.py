"""Tests for L{sniproxy.migrate.haproxy.servers}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.servers import Server, read_servers
from sniproxy.migrate.model import Notes
from tests.support.haproxyconfig import notes, section


class ServerTests(SynchronousTestCase):
    """Servers of a backend."""

    def read(self, text: str, port: int | None = 4443) -> list[Server]:
        """The servers of lines."""
        self.report = Notes()
        return read_servers(section(text).lines, port, self.report)

    def test_addresses(self) -> None:
        """An address is a target; without a port it has that of the listener."""
        for text, expected in (
            ("10.0.0.7:6651", "10.0.0.7:6651"),
            ("broker.test:6651", "broker.test:6651"),
            ("ipv4@10.0.0.7:1", "10.0.0.7:1"),
            ("10.0.0.7", "10.0.0.7:{port}"),
            ("10.0.0.7:", "10.0.0.7:{port}"),
            ("10.0.0.7:0", "10.0.0.7:{port}"),
            ("10.0.0.7:+10", "10.0.0.7:4453"),
            ("10.0.0.7:-43", "10.0.0.7:4400"),
            ("[2001:db8::7]:6651", "[2001:db8::7]:6651"),
            ("[2001:db8::7]", "[2001:db8::7]:{port}"),
            ("2001:db8::7:6651", "[2001:db8::7]:6651"),
            ("2001:db8::abcd", "[2001:db8::abcd]:{port}"),
        ):
            (server,) = self.read(f"server s {text}")
            self.assertEqual(server.target, expected, text)
            self.assertEqual(self.report.notes, [])

    def test_no_target(self) -> None:
        """What is no target is reported, because it decides where names go."""
        for text in (
            "/run/x.sock",
            "unix@/run/x",
            "a_b..:5",
            "_https._tcp.a.test",
            "_x._tcp.a.test:5",
            "10.0.0.7:99999",
        ):
            self.assertEqual(self.read(f"server s {text}"), [], text)
            self.assertTrue(self.report.notes[0].decides)
        self.assertEqual(self.read("server s 10.0.0.7:+1", None), [])

    def test_options(self) -> None:
        """Options follow the address; those of default-server come first."""
        text = (
            "server s 10.0.0.7:1 weight 3 backup check inter 1s send-proxy-v2 proxy-v2-options authority,ssl,unique-id"
        )
        (server,) = self.read(f"default-server rise 4 weight 9\n{text} source 0.0.0.0 usesrc clientip maxconn 5")
        self.assertEqual((server.weight, server.send_proxy, server.tlvs), (3, "v2", ("authority", "unique_id")))
        self.assertTrue(server.from_client and server.has("backup"))
        self.assertEqual((server.options["rise"], server.options["maxconn"]), ("4", "5"))
        self.assertEqual(notes(self.report), ["- 3 proxy-v2-options ssl: this field is not sent here"])

    def test_taken_back(self) -> None:
        """A later option takes an earlier one back."""
        (server,) = self.read("default-server disabled check backup\nserver s 10.0.0.7:1 enabled no-check weight")
        self.assertEqual((server.has("check"), server.has("backup"), server.weight), (False, True, 1))
        self.assertEqual(self.read("server s 10.0.0.7:1 disabled"), [])
        self.assertIn("disabled", notes(self.report)[0])

    def test_reported(self) -> None:
        """Options without a counterpart are reported."""
        for text, expected in (
            ("send-proxy-v2-ssl", "without the fields about TLS"),
            ("port 80", "the target's own address and port"),
            ("observe layer4", "see eject"),
            ("source 10.0.0.1", "the system chooses"),
            ("source 10.0.0.1 interface eth0", "the system chooses"),
            ("socks4 1.2.3.4:5", "socks4 1.2.3.4:5: has no counterpart"),
        ):
            self.assertEqual(len(self.read(f"server s 10.0.0.7:1 {text}")), 1)
            self.assertIn(expected, notes(self.report)[0])
        (server,) = self.read("server s 10.0.0.7:1 send-proxy proxy-v2-options authority")
        self.assertEqual((server.send_proxy, server.tlvs), ("v1", ()))

    def test_both_headers(self) -> None:
        """send-proxy and send-proxy-v2 are two options; version 2 wins, in either order."""
        for text in (
            "default-server send-proxy-v2\nserver s 10.0.0.7:1 send-proxy",
            "server s 10.0.0.7:1 send-proxy-v2 send-proxy",
            "server s 10.0.0.7:1 send-proxy send-proxy-v2",
        ):
            self.assertEqual(["v2"], [server.send_proxy for server in self.read(text)])

    def test_templates(self) -> None:
        """A template is one target; dispatch is one, too; incomplete lines are none."""
        found = self.read(
            "server-template b 3 brokers.test:6651 check\ndispatch 10.0.0.9:1\nserver x\nserver-template y 3"
        )
        self.assertEqual([server.target for server in found], ["brokers.test:6651", "10.0.0.9:1"])
        self.assertIn("resolver dns", notes(self.report)[0])
        self.assertEqual(self.read("server-template b 3 /x\ndispatch /y"), [])

    @given(st.text(alphabet="a1.:[]@/+-%{} ", max_size=20), st.one_of(st.none(), st.integers(1, 65535)))
    def test_whole(self, text: str, port: int | None) -> None:
        """Every text gives targets or a note."""
        self.read(f"server s {text}", port)
