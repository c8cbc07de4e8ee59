"""Tests for sniproxy.proxyprotocol.tlvs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.proxyprotocol.header import HeaderError
from sniproxy.proxyprotocol.tlvs import MAX_UNIQUE_ID_BYTES, MAX_VALUE_CHARS, crc32c, named, split


def tlv(kind: int, value: bytes) -> bytes:
    """One field."""
    return bytes((kind,)) + len(value).to_bytes(2) + value


def names(*fields: bytes) -> dict[str, str]:
    """The fields by name."""
    return dict(named(split(b"".join(fields))))


class TLVTests(SynchronousTestCase):
    """split and named."""

    def test_split(self) -> None:
        """Each field comes with the offset of its value."""
        self.assertEqual([(1, 3, b"h2"), (4, 8, b"")], list(split(tlv(1, b"h2") + tlv(4, b""))))

    def test_cut(self) -> None:
        """A block that ends within a field is refused, wherever it is cut."""
        whole = tlv(1, b"h2") + tlv(2, b"broker-1.pulsar.test")
        for size in set(range(1, len(whole))) - {5}:
            self.assertRaises(HeaderError, list, split(whole[:size]))

    def test_texts(self) -> None:
        """ALPN, authority, namespace and unique id are texts."""
        found = names(tlv(1, b"pulsar"), tlv(2, b"a.test"), tlv(0x30, b"blue"), tlv(5, b"id-7"))
        self.assertEqual({"alpn": "pulsar", "authority": "a.test", "netns": "blue", "unique_id": "id-7"}, found)

    def test_bytes(self) -> None:
        """Values that are not printable ASCII are in hexadecimal, and long ones are cut."""
        self.assertEqual({"unique_id": "00ff", "0xe5": "0a"}, names(tlv(5, b"\x00\xff"), tlv(0xE5, b"\n")))
        self.assertEqual("c3a9", names(tlv(2, "é".encode()))["authority"])
        self.assertLessEqual(len(names(tlv(2, b"a" * 5000))["authority"]), MAX_VALUE_CHARS)
        self.assertLessEqual(len(names(tlv(0xE5, b"a" * 5000))["0xe5"]), MAX_VALUE_CHARS)

    def test_no_information(self) -> None:
        """Padding and checksum say nothing."""
        self.assertEqual({}, names(tlv(4, b"\0\0"), tlv(3, b"1234")))

    def test_unique_id(self) -> None:
        """A unique id has at most 128 bytes."""
        names(tlv(5, b"a" * MAX_UNIQUE_ID_BYTES))
        self.assertRaises(HeaderError, names, tlv(5, b"a" * (MAX_UNIQUE_ID_BYTES + 1)))

    def test_providers(self) -> None:
        """The endpoint ids of AWS, Azure and Google Cloud."""
        found = names(
            tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9"),
            tlv(0xEE, b"\x01\x78\x56\x34\x12"),
            tlv(0xE0, (1 << 40).to_bytes(8)),
        )
        expected = {
            "aws_vpce_id": "vpce-08d2bf15fac5001c9",
            "azure_link_id": str(0x12345678),
            "gcp_psc_id": str(1 << 40),
        }
        self.assertEqual(expected, found)

    def test_other_forms(self) -> None:
        """A provider's field in a form that is not known is kept by its type."""
        found = names(tlv(0xEA, b"\x02x"), tlv(0xEE, b"\x01\x02"), tlv(0xE0, b"\x01"))
        self.assertEqual({"0xea": "0278", "0xee": "0102", "0xe0": "01"}, found)

    def test_ssl(self) -> None:
        """The client's TLS version and the name in its certificate, and whether that was verified."""
        parts = tlv(0x21, b"TLSv1.3") + tlv(0x22, b"client") + tlv(0x28, b"\x30\x82")
        for client, verify, verified in ((1, 0, None), (3, 0, "true"), (5, 0, "true"), (3, 19, "false")):
            more = {} if verified is None else {"ssl_verified": verified}
            found = names(tlv(0x20, bytes((client,)) + verify.to_bytes(4) + parts))
            self.assertEqual({"ssl_version": "TLSv1.3", "ssl_cn": "client", **more}, found)
        self.assertEqual({}, names(tlv(0x20, bytes(5) + parts)))

    def test_malformed_ssl(self) -> None:
        """An SSL field that is too short or ends within a part is refused."""
        for value in (b"", b"\x01\0\0\0", b"\x01\0\0\0\0\x21\x00"):
            self.assertRaises(HeaderError, names, tlv(0x20, value))

    @given(st.binary(max_size=200))
    def test_any(self, data: bytes) -> None:
        """Nothing but HeaderError is raised; values are printable and bounded."""
        try:
            found = named(split(data))
        except HeaderError as error:
            self.assertTrue(str(error).isprintable())
            return
        for value in found.values():
            self.assertTrue(value.isascii() and (value.isprintable() or not value) and len(value) <= MAX_VALUE_CHARS)


class CRC32CTests(SynchronousTestCase):
    """crc32c."""

    def test_vectors(self) -> None:
        """The check value of CRC-32C, and RFC 3720's appendix B.4."""
        vectors = {
            b"123456789": 0xE3069283,
            bytes(32): 0x8A9136AA,
            b"\xff" * 32: 0x62A8AB43,
            bytes(range(32)): 0x46DD794E,
            bytes(reversed(range(32))): 0x113FDB5C,
        }
        for data, expected in vectors.items():
            self.assertEqual(expected, crc32c(data))
