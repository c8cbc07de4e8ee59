"""Tests for sniproxy.proxyprotocol.writer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.proxyprotocol.header import Address, ProxyHeader
from sniproxy.proxyprotocol.reader import read_header
from sniproxy.proxyprotocol.writer import write_v1, write_v2

ADDRESSES = st.builds(lambda host, port: Address(str(host), port), st.ip_addresses(), st.integers(0, 65535))
NORMAL = ADDRESSES.filter(lambda address: not address.host.startswith("::ffff:"))
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100)


class WriterTests(SynchronousTestCase):
    """write_v1 and write_v2."""

    def test_examples(self) -> None:
        """The bytes of simple headers."""
        one, two = Address("192.0.2.7", 50123), Address("198.51.100.1", 4443)
        self.assertEqual(b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 4443\r\n", write_v1(one, two))
        self.assertEqual(b"PROXY UNKNOWN\r\n", write_v1(None, two))
        self.assertEqual(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", write_v2(one, None, {"authority": "a"}))
        self.assertEqual(
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\2\7\xc6\x33\x64\1\xc3\xcb\x11\x5b\2\0\1a",
            write_v2(one, two, {"authority": "a"}),
        )

    @given(NORMAL, NORMAL, NAMES, NAMES)
    def test_read_back(self, source: Address, destination: Address, name: str, unique: str) -> None:
        """What is written is read, also with addresses of two families."""
        data = write_v1(source, destination)
        self.assertEqual((ProxyHeader(1, str(source), destination), len(data)), read_header(data))
        fields = {"authority": name, "unique_id": unique}
        data = write_v2(source, destination, fields)
        self.assertEqual((ProxyHeader(2, str(source), destination, fields), len(data)), read_header(data))
