"""Tests for sniproxy.tls.hellomessage: faults inside a hello, rule by rule."""

from __future__ import annotations

from sniproxy.tls.alerts import Alert
from sniproxy.util.text import bounded
from tests.support import hellos
from tests.support.hellos import NAME, extension, hello, message, names, record, server_name, vector
from tests.tls.reading import Fault, ReadingTests, read

FIXED = b"\x03\x03" + bytes(32)
SESSION, CIPHERS, COMPRESSIONS = b"\x00", b"\x00\x02\x13\x01", b"\x01\x00"


def client_hello(body: bytes) -> bytes:
    """A ClientHello with any body in one record."""
    return record(b"\x01" + vector(body, 3))


def with_extensions(*extensions: bytes) -> bytes:
    """A hello with only these extensions."""
    return hello(None, extensions=extensions)


class FixedFieldTests(ReadingTests):
    """Wrong lengths before the extensions: decode_error."""

    def test_builder(self) -> None:
        """The parts that these tests vary form a valid hello."""
        self.assertIsNone(self.readable(client_hello(FIXED + SESSION + CIPHERS + COMPRESSIONS)).server_name)

    def test_too_short(self) -> None:
        """A hello that ends before its compression methods is refused."""
        body = FIXED + SESSION + CIPHERS + COMPRESSIONS
        for size in range(len(body)):
            self.refused(client_hello(body[:size]), Alert.DECODE_ERROR)

    def test_session_id_too_long(self) -> None:
        """A session id has at most 32 bytes."""
        reason = self.refused(client_hello(FIXED + vector(bytes(33), 1) + CIPHERS + COMPRESSIONS), Alert.DECODE_ERROR)
        self.assertIn("33 bytes", reason)

    def test_session_id_over_the_end(self) -> None:
        """A session id longer than the hello is refused."""
        self.refused(client_hello(FIXED + b"\x20" + bytes(31)), Alert.DECODE_ERROR)

    def test_cipher_suites(self) -> None:
        """The cipher suites are at least one, two bytes each, and inside the hello."""
        for ciphers in (b"\x00\x00", b"\x00\x03\x13\x01\x13", b"\xff\xfe\x13\x01"):
            self.refused(client_hello(FIXED + SESSION + ciphers + COMPRESSIONS), Alert.DECODE_ERROR)

    def test_compressions(self) -> None:
        """The compression methods are at least one, and inside the hello."""
        for compressions in (b"\x00", b"\x02\x00"):
            self.refused(client_hello(FIXED + SESSION + CIPHERS + compressions), Alert.DECODE_ERROR)

    def test_extensions_length(self) -> None:
        """The list of extensions ends exactly with the hello."""
        good = server_name(NAME)
        for size in (0, 1, len(good) - 1, len(good) + 1, 0xFFFF):
            self.refused(hello(block=size.to_bytes(2, "big") + good), Alert.DECODE_ERROR)
        for block in (b"\x00", b"\x00\x01", b"\x01\x00"):
            self.refused(hello(block=block), Alert.DECODE_ERROR)

    def test_extension_length(self) -> None:
        """An extension that is truncated, or longer than the list, is refused."""
        for block in (b"\x00", b"\x00\x15\x00", b"\x00\x15\x00\x01", extension(21, b"ab")[:-1]):
            self.refused(hello(block=vector(server_name(NAME) + block, 2)), Alert.DECODE_ERROR)

    def test_own_version_told(self) -> None:
        """The error has the hello's version, for the record of the alert."""
        answer = read([hello(legacy_version=0x0301, block=b"\x00")])
        assert isinstance(answer, Fault)
        self.assertEqual(answer.legacy_version, 0x0301)

    def test_own_version_told_between_fragments(self) -> None:
        """The same for an error between fragments, after the version."""
        for size, version in ((5, 0x0303), (6, 0x0301)):
            answer = read([record(message(legacy_version=0x0301)[:size]) + b"\x15\x03"])
            assert isinstance(answer, Fault)
            self.assertEqual((answer.alert, answer.legacy_version), (Alert.UNEXPECTED_MESSAGE, version))


class DuplicateTests(ReadingTests):
    """Duplicates: illegal_parameter."""

    def test_second_server_name(self) -> None:
        """A second server_name extension is refused, with the same name or another."""
        for second in (NAME, "other.test"):
            self.refused(with_extensions(server_name(NAME), server_name(second)), Alert.ILLEGAL_PARAMETER)

    def test_second_server_name_apart(self) -> None:
        """The same with other extensions between them, and if the second is the first readable one."""
        self.refused(
            with_extensions(server_name(NAME), extension(35), hellos.alpn(b"h2"), server_name(NAME)),
            Alert.ILLEGAL_PARAMETER,
        )
        self.refused(with_extensions(names((7, b"x")), server_name(NAME)), Alert.ILLEGAL_PARAMETER)

    def test_any_extension_twice(self) -> None:
        """No extension may be repeated (RFC 8446, section 4.2), not even GREASE."""
        for kind in (hellos.ALPN, 35, hellos.GREASE, 0xFFFF):
            body = vector(b"\x02h2", 2)
            self.refused(with_extensions(extension(kind, body), extension(kind, body)), Alert.ILLEGAL_PARAMETER)

    def test_second_host_name(self) -> None:
        """A second host name in the list is refused, the same or another."""
        for second in (b"other.test", NAME.encode()):
            self.refused(with_extensions(names((0, NAME.encode()), (0, second))), Alert.ILLEGAL_PARAMETER)
            self.refused(with_extensions(names((0, NAME.encode()), (9, b"z"), (0, second))), Alert.ILLEGAL_PARAMETER)


class ServerNameTests(ReadingTests):
    """The server_name extension."""

    def test_unknown_name_type(self) -> None:
        """Another name type than host_name is skipped by its 16-bit length, before or after the host name."""
        for entries in (((1, b"\x00\x00\x03abc"), (0, NAME.encode())), ((0, NAME.encode()), (255, b""))):
            self.assertEqual(self.readable(with_extensions(names(*entries))).server_name, NAME)

    def test_only_unknown_name_types(self) -> None:
        """A list without a host name is a hello without a name."""
        self.assertIsNone(self.readable(with_extensions(names((1, b"a"), (2, b"")))).server_name)

    def test_empty_list(self) -> None:
        """An empty list, and an extension without a list, are a decode_error."""
        self.assertIn("empty list", self.refused(with_extensions(extension(0, b"\x00\x00")), Alert.DECODE_ERROR))
        self.refused(with_extensions(extension(0)), Alert.DECODE_ERROR)
        self.refused(with_extensions(extension(0, b"\x00")), Alert.DECODE_ERROR)

    def test_empty_name(self) -> None:
        """An empty host name is a decode_error."""
        self.assertIn("empty", self.refused(hello(""), Alert.DECODE_ERROR))

    def test_list_length(self) -> None:
        """The list fills its extension exactly."""
        entry = b"\x00" + vector(NAME.encode(), 2)
        for size in (0, len(entry) - 1, len(entry) + 1, 0xFFFF):
            self.refused(with_extensions(extension(0, size.to_bytes(2, "big") + entry)), Alert.DECODE_ERROR)
        self.refused(with_extensions(extension(0, vector(entry, 2) + b"\x00")), Alert.DECODE_ERROR)

    def test_name_length(self) -> None:
        """A name longer than its list, and bytes after the last name, give decode_error."""
        name = NAME.encode()
        for size in (len(name) - 1, len(name) + 1, 0xFFFF):
            body = vector(b"\x00" + size.to_bytes(2, "big") + name, 2)
            self.refused(with_extensions(extension(0, body)), Alert.DECODE_ERROR)
        for rest in (b"\x00", b"\x01\x00", b"\x01\x00\x02a"):
            self.refused(with_extensions(extension(0, vector(b"\x00" + vector(name, 2) + rest, 2))), Alert.DECODE_ERROR)

    def test_forbidden_characters(self) -> None:
        """NUL, space, slash, non-ASCII and others give illegal_parameter; the reason shows the character."""
        for character in "\0 /\t\n*:@[%\\\"'\x7f\x80\xe9\xff\xb2\xaa":
            for name in (f"a{character}b.test", f"a.test{character}", f"{character}a.test"):
                self.assertIn(ascii(character), self.refused(hello(name), Alert.ILLEGAL_PARAMETER))

    def test_bad_name_shown(self) -> None:
        """The reason quotes the bad name: at most 160 characters, printable ASCII in one line."""
        for name, shown in (
            ("broker-1.test:6651", "'broker-1.test:6651': the character ':'"),
            ("[::1]", "'[::1]': "),
            ("br\xf6ker.test", r"'br\xf6ker.test': "),
            (b"br\xc3\xb6ker.test", r"'br\xc3\xb6ker.test': "),
            ("a\r\n\x1b[1m\x00\x9b", r"'a\r\n\x1b[1m\x00\x9b': "),
            ("a\\n'\"", r"""'a\\n\'"': """),
            ("a..b", "'a..b': a label"),
            ("x" * 64, "'" + "x" * 64 + "': a label"),
            ("\xff" * 16_000, "'" + r"\xff" * 39 + "'...: the name has 16000 characters"),
        ):
            reason = self.refused(hello(name), Alert.ILLEGAL_PARAMETER)
            self.assertTrue(reason.startswith(f"bad server name {shown}"), reason)
            self.assertTrue(reason.isascii() and reason.isprintable())
            self.assertEqual(reason, bounded(reason))
        two = self.refused(with_extensions(names((0, b"a.test"), (0, b"b\n"))), Alert.ILLEGAL_PARAMETER)
        self.assertEqual(r"the hello has two host names: a.test and 'b\n'", two)

    def test_cure_of_utf8(self) -> None:
        """For a UTF-8 name the cure has its ASCII form."""
        reason = self.refused(hello("bröker.test".encode()), Alert.ILLEGAL_PARAMETER)
        self.assertTrue(reason.endswith("; write it as xn--brker-kua.test"), reason)

    def test_upper_case_outside_ascii(self) -> None:
        """The reason shows the received character, not its lower case."""
        self.assertIn(r"'\xc9'", self.refused(hello("\xc9.test"), Alert.ILLEGAL_PARAMETER))

    def test_lengths(self) -> None:
        """A name has 1 to 253 characters in labels of 1 to 63."""
        longest = ".".join(["a" * 63] * 3 + ["b" * 61])
        for good in ("a", "a" * 63, "a." + "b" * 63, longest, longest + "."):
            self.assertEqual(self.readable(hello(good)).server_name, good.rstrip("."))
        for bad in ("a" * 64, "a." + "b" * 64 + ".c", longest + "b", ".", "..", ".a", "a..b", "a..", "x" * 16_000):
            self.refused(hello(bad), Alert.ILLEGAL_PARAMETER)

    def test_ip_literals(self) -> None:
        """IP literals are read in their shortest form: C++ and Python clients send them."""
        for said, read_as in (
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
            ("::1", "::1"),
        ):
            self.assertEqual(self.readable(hello(said)).server_name, read_as)
        for bad in ("[::1]", "fe80::1%eth0", "1:2", "127.0.0.1:6651"):
            self.refused(hello(bad), Alert.ILLEGAL_PARAMETER)


class OtherExtensionTests(ReadingTests):
    """Other extensions that are read."""

    def test_alpn(self) -> None:
        """ALPN: a malformed or empty list, or an empty protocol, gives decode_error (RFC 7301)."""
        for body in (b"", b"\x00", b"\x00\x00", b"\x00\x01\x00", b"\0\x03\x03h2", b"\0\x04\x02h2", b"\0\x04\x02h2\x00"):
            self.refused(hello(extensions=[extension(hellos.ALPN, body)]), Alert.DECODE_ERROR)
        self.refused(hello(extensions=[extension(hellos.ALPN, vector(b"\x02h2", 2) + b"\x00")]), Alert.DECODE_ERROR)

    def test_supported_versions(self) -> None:
        """supported_versions: a malformed, empty or odd list gives decode_error (RFC 8446, 4.2.1)."""
        for body in (b"", b"\x00", b"\x01\x03", b"\x03\x03\x04\x03", b"\x02\x03", b"\x02\x03\x04\x00", b"\x04\x03\x04"):
            self.refused(hello(extensions=[extension(hellos.SUPPORTED_VERSIONS, body)]), Alert.DECODE_ERROR)

    def test_others_are_not_opened(self) -> None:
        """The contents of other extensions are not parsed."""
        for kind in (5, 10, 13, 21, 23, 35, 41, 51, 0xFF01):
            self.assertEqual(self.readable(hello(extensions=[extension(kind, b"\xff" * 9)])).server_name, NAME)
