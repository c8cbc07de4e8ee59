"""Tests for sniproxy.tls.nottls."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.nottls import MAX_PREFIX_BYTES, Protocol, diagnose, protocol_of

PULSAR_CONNECT = bytes.fromhex("0000003f 0000003b 0802 1237 0a05")
HEADS = (
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"PUT /", "HTTP"),
    (b"HEAD /", "HTTP"),
    (b"POST /", "HTTP"),
    (b"PATCH /", "HTTP"),
    (b"DELETE /", "HTTP"),
    (b"OPTIONS * ", "HTTP"),
    (b"CONNECT a:1 ", "HTTP"),
    (b"PRI * HTTP/2.0\r\n", "HTTP"),
    (b"PROXY TCP4 1", "PROXY protocol header (v1)"),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21", "PROXY protocol header (v2)"),
    (b"SSH-2.0-OpenSSH", "SSH"),
    (b"\x05\x01\x00", "SOCKS 5"),
    (PULSAR_CONNECT, "pulsar+ssl://"),
    (b"\x80\x2e\x01\x03\x00", "SSLv2"),
)


class DiagnoseTests(SynchronousTestCase):
    """diagnose: the protocol in place of TLS."""

    def test_protocols(self) -> None:
        """Protocols that are sent to such a port by mistake are named, PROXY and Pulsar with the cure."""
        for head, said in HEADS:
            self.assertIn(said, diagnose(head[:MAX_PREFIX_BYTES]) or "(undecided)")

    def test_undecided(self) -> None:
        """While the bytes are ambiguous, there is no answer."""
        for head in (b"G", b"P", b"PROXY", b"\r\n\r\n", b"\x00\x00", PULSAR_CONNECT[:9], b"\x80", b"\x80\x2e", b"SSH"):
            self.assertIsNone(diagnose(head))

    def test_unknown(self) -> None:
        """Other bytes are called not TLS as soon as this is certain."""
        for head in (b"h", b"get /", b"GETX", b"PROXY\t", b"\x00\x01", b"\x80\x2e\x02", b"\r\n\r\n\x01"):
            self.assertEqual(diagnose(head), "the first bytes are not TLS")

    def test_pulsar_limits(self) -> None:
        """Two sizes under 64 KiB and a CONNECT are plaintext Pulsar; another command, or a larger size, is unknown."""
        for at, byte in ((0, 1), (1, 1), (4, 1), (5, 1), (8, 0x0A), (9, 3)):
            head = bytearray(PULSAR_CONNECT[:MAX_PREFIX_BYTES])
            head[at] = byte
            self.assertEqual(diagnose(bytes(head)), "the first bytes are not TLS", at)

    @given(
        st.binary(min_size=1) | st.sampled_from([head for head, _ in HEADS]) | st.text("PROXYGETS /-").map(str.encode)
    )
    @example(b"PROXYING IT ")
    def test_stable(self, head: bytes) -> None:
        """More bytes do not change the answer; with enough bytes there is one."""
        answers = [diagnose(head[:size]) for size in range(1, min(len(head), MAX_PREFIX_BYTES) + 1)]
        told = [answer for answer in answers if answer is not None]
        self.assertEqual(answers, [None] * (len(answers) - len(told)) + told)
        self.assertLessEqual(len(set(told)), 1)
        if len(head) >= MAX_PREFIX_BYTES:
            self.assertTrue(told)


class ProtocolOfTests(SynchronousTestCase):
    """protocol_of: the table of first bytes."""

    def test_protocols(self) -> None:
        """TLS and HTTP responses are in the table, too, although diagnose has no text for them."""
        for head, protocol in (
            (b"\x16\x03\x01\x02", Protocol.TLS),
            (b"\x15\x03\x03\x00", Protocol.TLS_ALERT),
            (b"HTTP/1.1 200", Protocol.HTTP_RESPONSE),
            (b"\r\n\r\n\x00\r\nQUI", Protocol.PROXY_V2),
            (b"\x80\x2e\x01", Protocol.SSLV2),
            (PULSAR_CONNECT, Protocol.PULSAR),
            (b"\x80\x2e", None),
            (PULSAR_CONNECT[:9], None),
            (b"get /", None),
            (b"", None),
        ):
            self.assertIs(protocol, protocol_of(head), head)
