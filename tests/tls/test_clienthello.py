"""Tests for sniproxy.tls.clienthello: the rules, one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from sniproxy.tls import clienthello, hellomessage
from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import MAX_HANDSHAKE_BYTES, ClientHello, ClientHelloReader, HelloTooLong, NotTLS
from tests.support import hellos
from tests.support.hellos import NAME, TLS13, extension, hello, message, record, records, vector
from tests.tls.reading import Fault, ReadingTests, byte_by_byte, read

PLAIN = ClientHello(NAME, (), 0x0303, True)
CUT_HELLOS = (hello()[:60], hello()[:-40])


class ReadableTests(ReadingTests):
    """The fields of a valid hello."""

    def test_name(self) -> None:
        """The name, the version and the offer of TLS 1.3 are read."""
        self.assertEqual(self.readable(hello()), PLAIN)

    def test_normalised(self) -> None:
        """Names are lower case; one trailing dot is removed."""
        self.assertEqual(self.readable(hello("Broker-1.PULSAR.Test.")).server_name, NAME)

    def test_random(self) -> None:
        """The random is read, with and without extensions."""
        for data in (hello(), hello(extensions=[])):
            found = ClientHelloReader().feed(data)
            assert found is not None
            self.assertEqual(data[11:43], found.random)

    def test_no_server_name(self) -> None:
        """A hello with extensions but without server_name is valid and has no name."""
        self.assertEqual(self.readable(hello(None)), ClientHello(None, (), 0x0303, True))

    def test_no_extensions(self) -> None:
        """A hello of TLS 1.2 or older may end after the compression methods, or have no extensions."""
        for block in (b"", b"\x00\x00"):
            self.assertEqual(self.readable(hello(block=block)), ClientHello(None, (), 0x0303, False))

    def test_alpn(self) -> None:
        """Protocols are in the client's order; bytes outside ASCII are escaped."""
        answer = self.readable(hello(extensions=[hellos.alpn(b"pulsar", b"h2", b"\xff\xfe")]))
        self.assertEqual(answer.alpn, ("pulsar", "h2", "\\xff\\xfe"))

    def test_offers_tls13(self) -> None:
        """Only 0x0304 in supported_versions offers TLS 1.3; drafts, GREASE and older versions do not."""
        for versions, offered in (
            ((0x0304,), True),
            ((0x0303, 0x0304), True),
            ((0x0303, 0x0302), False),
            ((0x7F1C, 0x0A0A), False),
            ((0x0003, 0x0400), False),  # 03 04 stands there, but across two versions
        ):
            answer = self.readable(hello(extensions=[hellos.supported_versions(*versions)]))
            self.assertEqual(answer.offers_tls13, offered, versions)

    def test_no_version_is_judged(self) -> None:
        """A hello with any legacy_version and supported_versions is valid if it parses."""
        for version in (0x0000, 0x0002, 0x0300, 0x0301, 0x0304, 0x0A0A, 0xFFFF):
            answer = self.readable(hello(legacy_version=version, extensions=[hellos.supported_versions(version)]))
            self.assertEqual((answer.server_name, answer.legacy_version), (NAME, version))

    def test_any_minor_record_version(self) -> None:
        """The major byte of the record version is 3; the minor byte is ignored."""
        for minor in (0, 1, 3, 4, 0x7F, 0xFF):
            self.assertEqual(self.readable(hello(record_version=0x0300 | minor)), PLAIN)

    def test_session_ids(self) -> None:
        """A session id of 0 to 32 bytes is accepted."""
        for size in (0, 1, 32):
            self.assertEqual(self.readable(hello(session_id=bytes(size))), PLAIN)

    def test_grease(self) -> None:
        """GREASE values (RFC 8701) are accepted as extensions, protocols and versions."""
        grease = [
            extension(hellos.GREASE),
            hellos.alpn(b"\x0a\x0a", b"h2"),
            hellos.supported_versions(0x1A1A, 0x0304),
            extension(0x2A2A, b"\x00"),
        ]
        self.assertEqual(self.readable(hello(extensions=grease)).server_name, NAME)

    def test_ech(self) -> None:
        """With encrypted_client_hello (RFC 9849) the outer name is read."""
        outer = b"\x00" + b"\x00\x01\x00\x01" + b"\x07" + vector(bytes(32), 2) + vector(bytes(200), 2)
        extensions = [*TLS13, extension(hellos.ENCRYPTED_CLIENT_HELLO, outer)]
        answer = self.readable(hello("public.test", extensions=extensions))
        self.assertEqual(answer.server_name, "public.test")

    def test_pre_shared_key_and_early_data(self) -> None:
        """A resumption with early data is read; the early data is ignored."""
        identity = vector(vector(bytes(180), 2) + bytes(4), 2)
        data = hello(
            extensions=[
                *TLS13,
                extension(hellos.PSK_MODES, b"\x01\x01"),
                extension(hellos.EARLY_DATA),
                extension(hellos.PRE_SHARED_KEY, identity + vector(vector(bytes(32), 1), 2)),
            ]
        )
        self.assertEqual(self.readable(data), PLAIN)
        early = record(bytes(range(256)) * 4, kind=hellos.APPLICATION_DATA, version=0x0303)
        self.assertEqual(read([data + early]), PLAIN)

    def test_post_quantum_sizes(self) -> None:
        """Hellos of 1.5 kB and 8 kB, as with post-quantum key shares, are read."""
        for size in (1500, 8000):
            share = extension(hellos.KEY_SHARE, vector(b"\x11\xec" + vector(bytes(size), 2), 2))
            self.assertEqual(self.readable(hello(extensions=[*TLS13[:3], share])), PLAIN)

    def test_real_clients(self) -> None:
        """Hellos of real Pulsar clients: small ones of Java, and of 1.5 kB of Python and Go."""
        for client, name in (
            ("java-pulsar-vip", "pulsar-vip.test"),
            ("java-broker-2", "broker-2.pulsar.test"),
            ("java-ip-literal", None),
            ("python-pulsar-vip", "pulsar-vip.test"),
            ("python-broker-1", "broker-1.pulsar.test"),
            ("go-pulsar-vip", "pulsar-vip.test"),
            ("go-broker-1", "broker-1.pulsar.test"),
        ):
            self.assertEqual(self.readable(hellos.recorded(client)), ClientHello(name, (), 0x0303, True), client)

    def test_again(self) -> None:
        """The same hello gives the same name again, and the same bad name the same error."""
        for _ in range(2):
            for name in ("a.test", "b.test"):
                found = self.readable(hello(name))
                self.assertEqual((name, True), (found.server_name, found.offers_tls13))
            self.assertFalse(self.readable(hello("a.test", extensions=())).offers_tls13)
            self.refused(hello("a..test"), Alert.ILLEGAL_PARAMETER)

    def test_remembered(self) -> None:
        """No long input is kept: a list with 16 kB of other entries is parsed and released."""
        kept = hellomessage._known_name.cache_info().currsize
        body = vector(b"\x01" + vector(bytes(16_000), 2) + b"\x00" + vector(b"long.test", 2), 2)
        found = self.readable(hello(None, extensions=(extension(0, body), *TLS13)))
        self.assertEqual("long.test", found.server_name)
        self.assertEqual(kept, hellomessage._known_name.cache_info().currsize)


class FragmentTests(ReadingTests):
    """A hello in several records with arbitrary boundaries."""

    def test_every_cut_into_two_records(self) -> None:
        """A record boundary may split the handshake header and the name."""
        handshake = message(session_id=b"")
        for cut in range(1, len(handshake)):
            self.assertEqual(read([records(handshake, (cut, 16384))]), PLAIN, cut)

    def test_records_of_one_byte(self) -> None:
        """Each byte of the hello may be a record."""
        handshake = message(session_id=b"", extensions=())
        self.assertEqual(ClientHello(NAME, (), 0x0303, False), self.readable(records(handshake, (1,))))

    def test_many_small_records(self) -> None:
        """Hellos of usual size may have a record for each byte, the longest one records of nine bytes."""
        for size, cut in (
            (250, 1),
            (1_500, 1),
            (8_000, 1),
            (65_536, 5),
            (MAX_HANDSHAKE_BYTES, 9),
            (MAX_HANDSHAKE_BYTES, 512),
        ):
            stream = records(hellos.hello_of_size(size), (cut,))
            self.assertEqual(PLAIN, read([stream]), (size, cut))
            self.assertEqual(PLAIN, read(stream[at : at + 1460] for at in range(0, len(stream), 1460)), (size, cut))

    def test_most_records(self) -> None:
        """The header of a record beyond the limit gives illegal_parameter."""
        self.assertEqual(16_384, clienthello.MAX_RECORDS)
        self.patch(clienthello, "MAX_RECORDS", 128)
        handshake = message()
        self.assertEqual(PLAIN, self.readable(records(handshake, (1,) * 127 + (16_384,))))
        self.refused(records(handshake, (1,))[: 128 * 6 + 5], Alert.ILLEGAL_PARAMETER, HelloTooLong)

    def test_largest_record(self) -> None:
        """A record of 2^14 bytes is allowed; one more byte gives record_overflow."""
        handshake = hellos.hello_of_size(20_000)
        self.assertEqual(self.readable(records(handshake, (16_384,))), PLAIN)
        self.refused(record(handshake[:16_385])[:5], Alert.RECORD_OVERFLOW)
        self.refused(records(handshake, (1_000, 19_000))[: 5 + 1_000 + 5], Alert.RECORD_OVERFLOW)

    def test_limit(self) -> None:
        """A handshake of 131400 bytes is read; one more byte gives illegal_parameter after 4 bytes."""
        self.assertEqual(MAX_HANDSHAKE_BYTES, 131_400)
        handshake = hellos.hello_of_size(131_400)
        self.assertEqual(len(handshake), 131_400)
        self.assertEqual(read([records(handshake)]), PLAIN)
        self.assertEqual(read(byte_by_byte(records(handshake))), PLAIN)
        self.refused(record(b"\x01" + (131_401 - 4).to_bytes(3, "big")), Alert.ILLEGAL_PARAMETER, HelloTooLong)

    def test_own_limit(self) -> None:
        """The limit is a parameter."""
        size = len(message())
        self.assertEqual(ClientHelloReader(limit=size).feed(hello()), PLAIN)
        self.assertRaises(HelloTooLong, ClientHelloReader(limit=size - 1).feed, hello())

    def test_empty_record(self) -> None:
        """An empty handshake record gives unexpected_message, first or between fragments."""
        self.refused(record(b""), Alert.UNEXPECTED_MESSAGE)
        self.refused(record(message()[:50]) + record(b""), Alert.UNEXPECTED_MESSAGE)

    def test_other_record_types(self) -> None:
        """A record of another type, first or between fragments, gives unexpected_message after two bytes."""
        for kind, name in ((20, "change_cipher_spec"), (21, "alert"), (23, "application_data"), (24, "heartbeat")):
            self.assertIn(f"{name} ({kind}) before the hello", self.refused(bytes((kind, 3)), Alert.UNEXPECTED_MESSAGE))
        for kind in (0, 20, 21, 23, 24, 99, 255):
            data = record(message()[:50]) + bytes((kind, 3))
            self.assertIn(f"({kind}) between", self.refused(data, Alert.UNEXPECTED_MESSAGE))

    def test_version_changes_between_fragments(self) -> None:
        """A later record of version 2.x is refused; another minor version is ignored."""
        first, rest = message()[:50], message()[50:]
        self.assertEqual(self.readable(record(first) + record(rest, version=0x0303)), PLAIN)
        self.refused(record(first) + b"\x16\x02", Alert.DECODE_ERROR)

    def test_other_handshake_message(self) -> None:
        """A handshake message other than ClientHello gives unexpected_message after its first byte."""
        for kind in (0, 2, 11, 255):
            self.refused(record(bytes((kind,)) + message()[1:])[:6], Alert.UNEXPECTED_MESSAGE)

    def test_bytes_behind_the_hello_in_its_record(self) -> None:
        """Bytes after the hello in its last record are refused as soon as both lengths are known."""
        longer = record(message() + b"\x00")
        self.refused(longer[: 5 + 4], Alert.DECODE_ERROR)
        two = record(message()[:50]) + record(message()[50:] + message())
        self.assertIsInstance(read([two]), Fault)


class NotTLSTests(ReadingTests):
    """Other protocols, which get no alert."""

    def test_other_major_version(self) -> None:
        """A first record whose version is not 3.x is not TLS."""
        for major in (0, 1, 2, 4, 0x22):
            self.assertIn(f"version {major}.x", self.refused(bytes((22, major)), None, NotTLS))

    def test_other_protocols(self) -> None:
        """HTTP, the PROXY protocol, plaintext Pulsar and SSLv2 are named as early as possible."""
        for data, said in (
            (b"GET ", "HTTP"),
            (b"PROXY ", "PROXY protocol"),
            (b"\r\n\r\n\x00\r\nQUIT\n", "PROXY protocol"),
            (b"\x00\x00\x00\x2a\x00\x00\x00\x26\x08\x02", "plaintext Pulsar"),
            (b"\x80\x2e\x01", "SSLv2"),
            (b"hello", "not TLS"),
        ):
            end = next(n for n in range(1, len(data) + 1) if read([data[:n]]) is not None)
            self.assertIn(said, self.refused(data[:end], None, NotTLS))

    def test_nothing_yet(self) -> None:
        """For no bytes, or undecided ones, more bytes are awaited."""
        for data in (b"", b"\x16", b"\x16\x03\x01\x00", b"G", b"PROXY", b"\x00\x00", b"\x80\x2e"):
            self.assertIsNone(read([data]))
            self.assertIsNone(read(byte_by_byte(data)))


class LinearTests(ReadingTests):
    """The cost of slow or hostile clients."""

    def visited(self, size: int) -> int:
        """The number of bytes examined or copied for a hello of this size that arrives byte by byte."""
        count = 0

        class Counted(bytes):
            def __getitem__(self, key: Any) -> Any:
                nonlocal count
                found = super().__getitem__(key)
                count += 1 if isinstance(found, int) else len(found)
                return found

        class CountedBuffer(bytearray):
            def __getitem__(self, key: Any) -> Any:
                nonlocal count
                found = super().__getitem__(key)
                count += 1 if isinstance(found, int) else len(found)
                return found

            def __iadd__(self, more: bytes) -> CountedBuffer:  # type: ignore[override, misc]
                nonlocal count
                count += len(more)
                self.extend(more)
                return self

            def __bytes__(self) -> bytes:
                nonlocal count
                count += len(self)
                return Counted(bytearray(self))

        reader = ClientHelloReader()
        reader._handshake = CountedBuffer()
        for byte in byte_by_byte(records(hellos.hello_of_size(size))):
            answer = reader.feed(Counted(byte))
        self.assertEqual(answer, PLAIN)
        return count

    def test_linear(self) -> None:
        """A hello of 60 KiB that arrives byte by byte costs as much per byte as one of 30 KiB."""
        for size in (30 * 1024, 60 * 1024):
            visited = self.visited(size)
            self.assertGreater(visited, 2 * size, "the test does not count")
            self.assertLess(visited, 5 * size)

    def test_parsed_once(self) -> None:
        """The message is parsed once, when it is complete."""
        calls: list[int] = []
        parse = hellomessage.parse_hello

        def counted(data: bytes) -> ClientHello:
            calls.append(len(data))
            return parse(data)

        self.patch(clienthello, "parse_hello", counted)
        read(byte_by_byte(hello(record_size=3)))
        self.assertEqual(calls, [len(message())])


class AnyBytesTests(ReadingTests):
    """Random input."""

    @given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([b"", b"\x16\x03\x01", *CUT_HELLOS]))
    def test_only_hello_errors(self, pieces: list[bytes], head: bytes) -> None:
        """Only HelloError is raised, and the split does not change the result."""
        data = head + b"".join(pieces)
        self.assertEqual(read([head, *pieces]), read([data]))
        self.assertEqual(read(byte_by_byte(data)), read([data]))

    @given(st.binary(max_size=300))
    def test_any_message(self, body: bytes) -> None:
        """Any bytes after a ClientHello header give a hello or a HelloError, never a wait."""
        self.assertIsNotNone(read([record(b"\x01" + vector(body, 3))]))

    @given(st.binary(max_size=200))
    def test_any_extensions(self, block: bytes) -> None:
        """The same for any bytes in place of the extensions."""
        self.assertIsNotNone(read([hello(block=vector(block, 2))]))

    @given(st.binary(max_size=200), st.binary(max_size=9), st.sampled_from([0, 1, 0xFFFF]), st.binary(max_size=20))
    def test_one_piece(self, block: bytes, head: bytes, more: int, tail: bytes) -> None:
        """A hello in one record gives the same result as byte by byte, for any fault."""
        whole = hello(block=vector(block, 2))
        for data in (
            whole + tail,
            head + whole[len(head) :] + tail,
            whole[:6] + (len(whole) - 9 ^ more).to_bytes(3, "big") + whole[9:] + tail,
        ):
            self.assertEqual(read(byte_by_byte(data)), read([data]))

    @given(
        st.sampled_from([message(), message(None), message("a.b", block=None), hellos.hello_of_size(1500)]),
        st.lists(st.integers(1, 700), min_size=1, max_size=12),
        st.lists(st.integers(0, 3000), max_size=12),
    )
    def test_any_cuts(self, handshake: bytes, sizes: list[int], cuts: list[int]) -> None:
        """A hello in records and TCP segments of any size gives the same result."""
        stream = records(handshake, sizes)
        assume(len(stream) - len(handshake) <= 5 * clienthello.MAX_RECORDS)
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        pieces = [stream[start:end] for start, end in pairwise(edges)]
        expected = read([record(handshake)])
        self.assertIsInstance(expected, ClientHello)
        self.assertEqual(read(pieces), expected)
