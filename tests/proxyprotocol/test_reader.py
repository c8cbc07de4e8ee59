"""Tests for sniproxy.proxyprotocol.reader, also against Twisted's parser and the package proxy-protocol."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.proxyprotocol.header import V2_SIGNATURE, Address, HeaderError, NoHeader, ProxyHeader
from sniproxy.proxyprotocol.reader import MAX_V1_BYTES, MAX_V2_BYTES, begins_header, read_header
from sniproxy.proxyprotocol.tlvs import crc32c
from sniproxy.util.names import host_port

V4 = IPv4Address("192.0.2.7").packed + IPv4Address("198.51.100.1").packed + (50123).to_bytes(2) + (4443).to_bytes(2)
V6 = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + (50123).to_bytes(2) + (4443).to_bytes(2)
SOURCE, DESTINATION = "192.0.2.7:50123", Address("198.51.100.1", 4443)
SOURCE_6, DESTINATION_6 = "[2001:db8::7]:50123", Address("2001:db8::1", 4443)
V1_LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 4443\r\n"
V1_LINE_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 50123 4443\r\n"


def v2(command: int, family: int, block: bytes) -> bytes:
    """A header of version 2."""
    return V2_SIGNATURE + bytes((command, family)) + len(block).to_bytes(2) + block


def with_checksum(family: int, block: bytes) -> bytes:
    """A header with CRC32c as its last field."""
    zeroed = v2(0x21, family, block + b"\x03\x00\x04" + bytes(4))
    return zeroed[:-4] + crc32c(zeroed).to_bytes(4)


AWS = v2(
    0x21,
    0x11,
    bytes.fromhex("ac1f0771 ac1f0a1f c8f2 0050")  # 172.31.7.113:51442 to 172.31.10.31:80
    + bytes.fromhex("03 0004 e8d6892d")
    + b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9"
    + b"\x04\x00\x24" + bytes(36),
)  # fmt: skip
"""What a Network Load Balancer sends for a VPC endpoint, as AWS prints it in the compatibility test of its parser
(github.com/aws/elastic-load-balancing-tools, proprot)."""

AWS_CLASSIC = {
    b"PROXY TCP4 198.51.100.22 203.0.113.7 35646 80\r\n": ("198.51.100.22", "203.0.113.7"),
    b"PROXY TCP6 2001:DB8::21f:5bff:febf:ce22:8a2e 2001:DB8::12f:8baa:eafc:ce29:6b2e 35646 80\r\n": (
        "2001:db8:0:21f:5bff:febf:ce22:8a2e",
        "2001:db8:0:12f:8baa:eafc:ce29:6b2e",
    ),
}
"""The examples of a Classic Load Balancer (its user guide, "Configure proxy protocol support")."""

HEADERS = {
    AWS: ProxyHeader(2, "172.31.7.113:51442", Address("172.31.10.31", 80), {"aws_vpce_id": "vpce-08d2bf15fac5001c9"}),
    **{
        line: ProxyHeader(1, host_port(source, 35646), Address(destination, 80))
        for line, (source, destination) in AWS_CLASSIC.items()
    },
    V1_LINE: ProxyHeader(1, SOURCE, DESTINATION),
    b"PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n": ProxyHeader(1, "192.0.2.7:0", Address("198.51.100.1", 65535)),
    V1_LINE_6: ProxyHeader(1, SOURCE_6, DESTINATION_6),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 50123 4443\r\n": ProxyHeader(1, SOURCE, DESTINATION),
    b"PROXY UNKNOWN\r\n": ProxyHeader(1),
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": ProxyHeader(1),
    v2(0x21, 0x11, V4): ProxyHeader(2, SOURCE, DESTINATION),
    v2(0x21, 0x12, V4): ProxyHeader(2, SOURCE, DESTINATION),
    v2(0x21, 0x21, V6): ProxyHeader(2, SOURCE_6, DESTINATION_6),
    v2(0x21, 0x22, V6): ProxyHeader(2, SOURCE_6, DESTINATION_6),
    v2(0x21, 0x31, b"/run/a".ljust(216, b"\0")): ProxyHeader(2),
    v2(0x21, 0x32, bytes(216) + b"\x02\x00\x01a"): ProxyHeader(2, tlvs={"authority": "a"}),
    v2(0x21, 0x00, b"anything"): ProxyHeader(2),
    v2(0x20, 0x00, b""): ProxyHeader(2),
    v2(0x20, 0x11, V4 + b"\x01"): ProxyHeader(2),
    v2(0x20, 0xFF, b"ignored"): ProxyHeader(2),
    v2(0x21, 0x11, V4 + b"\x02\x00\x06a.test\x04\x00\x00"): ProxyHeader(
        2, SOURCE, DESTINATION, {"authority": "a.test"}
    ),
    with_checksum(0x11, V4 + b"\x05\x00\x01x"): ProxyHeader(2, SOURCE, DESTINATION, {"unique_id": "x"}),
    with_checksum(0x21, V6): ProxyHeader(2, SOURCE_6, DESTINATION_6),
}
MALFORMED = {
    b"PROXY \r\n": "malformed",
    b"PROXY TCP4\r\n": "malformed",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 50123 4443\r\n": "malformed",
    b"PROXY  TCP4 192.0.2.7 198.51.100.1 50123 4443\r\n": "malformed",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 4443 \r\n": "malformed",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 4443\n\r\n": "port",
    b"PROXY TCP4 2001:db8::7 198.51.100.1 50123 4443\r\n": "says TCP4",
    b"PROXY TCP6 192.0.2.7 2001:db8::1 50123 4443\r\n": "says TCP6",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2 198.51.100.1 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.7. 198.51.100.1 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.7 198.51.100.256 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.7 198.51.100 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.7 198.51.100.01 50123 4443\r\n": "address",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 50123 4443\r\n": "address",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 050 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 00 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1_0 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 \t1 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 0000000001 4443\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 65536\r\n": "port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 4443\r\n": "port",
    b"PROXY UNKNOWN".ljust(MAX_V1_BYTES, b" "): "line end",
    v2(0x11, 0x11, V4): "version and command 0x11",
    v2(0x22, 0x11, V4): "version and command 0x22",
    v2(0x21, 0x10, V4): "family and transport 0x10",
    v2(0x21, 0x13, V4): "family and transport 0x13",
    v2(0x21, 0x01, b""): "family and transport 0x01",
    v2(0x21, 0x41, V4): "family and transport 0x41",
    v2(0x21, 0x11, V4[:-1]): "11 bytes for addresses of 12",
    v2(0x21, 0x21, V4): "12 bytes for addresses of 36",
    v2(0x21, 0x31, bytes(215)): "215 bytes for addresses of 216",
    v2(0x21, 0x11, V4 + b"\x02\x00"): "last field",
    v2(0x21, 0x11, V4 + b"\x02\x00\x02a"): "of which 1 came",
    v2(0x21, 0x11, bytes(MAX_V2_BYTES)): "at most 8,192",
    v2(0x20, 0x00, bytes(MAX_V2_BYTES - 15)): "at most 8,192",
    v2(0x21, 0x11, V4 + b"\x03\x00\x03abc"): "malformed checksum",
    with_checksum(0x11, V4 + b"\x03\x00\x04" + bytes(4)): "malformed checksum",
    with_checksum(0x11, V4)[:-1] + b"\xaa": "(CRC32c) is wrong",
}


class ReadHeaderTests(SynchronousTestCase):
    """read_header."""

    def test_begins(self) -> None:
        """Whether bytes begin a header is known as soon as it can be."""
        for header, size in ((V1_LINE, 6), (v2(0x21, 0x11, V4), 12)):
            for end in range(len(header)):
                self.assertEqual(True if end >= size else None, begins_header(header[:end]))
        for data in (b"\x16\x03", b"PROXX", b"\r\n\r\nx", b"Q"):
            self.assertIs(False, begins_header(data))

    def test_whole(self) -> None:
        """Each form of header, alone and with bytes behind it."""
        for data, header in HEADERS.items():
            for tail in (b"", b"\x16\x03\x01", b"PROXY ", b"\r\n", b"\x00" * 300):
                self.assertEqual((header, len(data)), read_header(data + tail), data)
                self.assertEqual((header, len(data)), read_header(bytearray(data + tail)), data)

    def test_byte_by_byte(self) -> None:
        """A header is incomplete until its last byte."""
        for data in HEADERS:
            for size in range(len(data)):
                self.assertIsNone(read_header(data[:size]), data[:size])

    def test_malformed(self) -> None:
        """Each fault is named, as early as the bytes show it, and later bytes do not change that."""
        for data, why in MALFORMED.items():
            for tail in (b"", b"more"):
                error = self.assertRaises(HeaderError, read_header, data + tail)
                self.assertIn(why, str(error))
                self.assertTrue(str(error).isprintable())
            for size in range(len(data)):
                with contextlib.suppress(HeaderError):
                    self.assertIsNone(read_header(data[:size]))

    def test_early(self) -> None:
        """A wrong command, family or length is refused before the rest arrives."""
        self.assertRaises(HeaderError, read_header, V2_SIGNATURE + b"\x31")
        self.assertRaises(HeaderError, read_header, V2_SIGNATURE + b"\x21\x77")
        self.assertRaises(HeaderError, read_header, V2_SIGNATURE + b"\x21\x11\xff\xff")

    def test_shared(self) -> None:
        """Idle tunnels of clients that came to one address share its object."""
        for data in (V1_LINE, V1_LINE_6, v2(0x21, 0x11, V4), v2(0x21, 0x21, V6)):
            one, other = read_header(data), read_header(data)
            assert one is not None and other is not None
            self.assertIsNotNone(one[0].destination)
            self.assertIs(one[0].destination, other[0].destination)

    def test_largest(self) -> None:
        """Headers of exactly the allowed size are read."""
        line = b"PROXY UNKNOWN".ljust(MAX_V1_BYTES - 2, b" ") + b"\r\n"
        self.assertEqual((ProxyHeader(1), MAX_V1_BYTES), read_header(line))
        padding = MAX_V2_BYTES - 16 - len(V4) - 3
        data = v2(0x21, 0x11, V4 + b"\x04" + padding.to_bytes(2) + bytes(padding))
        self.assertEqual((ProxyHeader(2, SOURCE, DESTINATION), MAX_V2_BYTES), read_header(data))

    def test_none(self) -> None:
        """Other protocols are known by their first different byte."""
        for data in (b"\x16\x03\x01", b"PROXX", b"PROXY\r\n", b"P\x00", b"\r\n\r\n\x00\r\nQUIX", b"\r\n\r\r", b"\x00"):
            self.assertRaises(NoHeader, read_header, data)
            self.assertRaises(NoHeader, read_header, data + bytes(300))
        self.assertIsNone(read_header(b""))

    @given(st.sampled_from(sorted(HEADERS)), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255))), st.binary())
    def test_changed(self, data: bytes, changes: list[tuple[int, int]], tail: bytes) -> None:
        """With some bytes changed there is a header, an incomplete one, or an error; parts of the bytes agree."""
        changed = bytearray(data + tail)
        for at, byte in changes:
            changed[at % len(changed)] = byte
        whole = verdict(changed)
        for size in range(len(changed)):
            part = verdict(changed[:size])
            if part is not None:
                self.assertEqual(whole, part)
                break


class OtherReadersTests(SynchronousTestCase):
    """What others read, we read alike."""

    @given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 65535), st.integers(0, 65535), st.binary())
    def test_ipv4(self, one: IPv4Address, two: IPv4Address, port: int, other: int, tail: bytes) -> None:
        """IPv4, in both versions."""
        block = one.packed + two.packed + port.to_bytes(2) + other.to_bytes(2)
        self.compare(f"PROXY TCP4 {one} {two} {port} {other}\r\n".encode(), tail)
        self.compare(v2(0x21, 0x11, block), tail)

    @given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 65535), st.binary())
    def test_ipv6(self, one: IPv6Address, two: IPv6Address, port: int, other: int, tail: bytes) -> None:
        """IPv6, in both versions."""
        block = one.packed + two.packed + port.to_bytes(2) + other.to_bytes(2)
        self.compare(f"PROXY TCP6 {one} {two} {port} {other}\r\n".encode(), tail)
        self.compare(v2(0x21, 0x21, block), tail)
        self.compare(with_checksum(0x21, block), tail)

    def compare(self, data: bytes, tail: bytes) -> None:
        found = read_header(data + tail)
        assert found is not None
        header, size = found
        self.assertEqual(len(data), size)
        theirs: Any = (ProxyProtocolV1() if header.version == 1 else ProxyProtocolV2()).unpack(data)
        twisted: Any = V1Parser.parse(data[:-2]) if header.version == 1 else V2Parser.parse(data)
        assert header.source is not None and header.destination is not None
        for ours, pair, address in (
            (header.source, theirs.source, twisted.source),
            (str(header.destination), theirs.dest, twisted.destination),
        ):
            host = pair[0]
            mapped = getattr(host, "ipv4_mapped", None)
            self.assertEqual(host_port(str(mapped or host), pair[1]), ours)
            self.assertEqual(ours.rpartition(":")[2], str(address.port))

    def test_malformed(self) -> None:
        """What both others refuse, we refuse. They accept more, and let other exceptions out."""
        for data in [*MALFORMED, *HEADERS]:
            if not others_accept(data):
                self.assertRaises(HeaderError, read_header, data)


def others_accept(data: bytes) -> bool:
    """Whether Twisted's parser or proxy-protocol takes the header. Both also raise what is not their own error."""
    first = data.startswith(b"PROXY")
    for read in (
        (ProxyProtocolV1() if first else ProxyProtocolV2()).unpack,
        lambda whole: V1Parser.parse(whole[:-2]) if first else V2Parser.parse(whole),
    ):
        with contextlib.suppress(Exception):
            read(data)
            return True
    return False


def verdict(data: bytearray) -> object:
    """The header and its size, the error, or None."""
    try:
        return read_header(data)
    except HeaderError as error:
        return type(error), str(error)
