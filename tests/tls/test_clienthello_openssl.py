"""Tests for sniproxy.tls.clienthello against OpenSSL: both read the same name, or the parser refuses the hello."""

from __future__ import annotations

import ssl
import sys
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sniproxy.tls.clienthello import MAX_HANDSHAKE_BYTES, ClientHello
from sniproxy.util.names import server_name
from tests.support import hellos
from tests.support.hellos import TLS13, extension, hello, message, record, records, vector
from tests.tls.reading import ReadingTests, read

NOT_READ = object()
"""OpenSSL refused the hello before it looked for the name."""


class OpenSSLServer:
    """Returns the server name that OpenSSL reads from a hello."""

    def __init__(self) -> None:
        self._read: Any = NOT_READ
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.sni_callback = self._called

    def _called(self, connection: object, name: str | None, context: object) -> None:
        self._read = name

    def name(self, data: bytes) -> Any:
        """The name; None: a hello without a name; or L{NOT_READ}."""
        self._read = NOT_READ
        incoming = ssl.MemoryBIO()
        incoming.write(data)
        connection = self._context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        try:
            connection.do_handshake()
        except ssl.SSLError:  # there is no certificate: it never gets further
            pass
        return self._read


def client_hello(name: str | None, protocols: list[str] | None = None, version: ssl.TLSVersion | None = None) -> bytes:
    """The first bytes of the standard library's TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    if version is not None:
        context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


REAL = [
    client_hello("broker-1.pulsar.test"),
    client_hello("Broker-1.Pulsar.TEST", ["pulsar", "h2"]),
    client_hello("b", version=ssl.TLSVersion.TLSv1_2),
    client_hello(None),
    hello("a.broker.test"),
    hello("a.b", extensions=()),
    *map(hellos.recorded, ("java-pulsar-vip", "go-broker-1", "python-broker-1", "java-ip-literal")),
]

HOST_NAMES = st.one_of(
    st.sampled_from([b"a.test", b"B.Test.", b"x.y.z", b"127.0.0.1"]),
    st.sampled_from([b"", b"a\0.test", b"a b", b"x" * 256, b"\xc3\xa9.test", b"::1"]),
    st.text("aB-_.0*", min_size=1, max_size=12).map(str.encode),
)
ENTRIES = st.one_of(
    st.tuples(st.tuples(st.just(0), HOST_NAMES)),
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 255]), HOST_NAMES), max_size=3),
)
OTHERS = st.lists(st.sampled_from([extension(35), extension(0xFE0D, b"\x01"), hellos.alpn(b"h2")]), max_size=2)


@st.composite
def crooked(draw: st.DrawFn) -> bytes:
    """A hello with server_name, in which at most one of the lengths around the names is wrong."""
    lies = [0] * 8
    lies[draw(st.integers(0, 7))] = draw(st.sampled_from([0, 0, 0, 1, -1, 2, 3, -3]))

    def lying(body: bytes, width: int) -> bytes:
        return max(0, len(body) + (lies.pop() if lies else 0)).to_bytes(width, "big") + body

    entries = b"".join(bytes((kind,)) + lying(name, 2) for kind, name in draw(ENTRIES))
    others = [*TLS13, *draw(OTHERS)]
    others.insert(draw(st.integers(0, len(others))), b"\x00\x00" + lying(lying(entries, 2), 2))
    if draw(st.integers(0, 9)) == 9:
        others.append(hellos.server_name("second.test"))
    handshake = message(block=lying(b"".join(others), 2))
    return records(handshake, draw(st.lists(st.integers(1, 300), min_size=1, max_size=4)))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid hello with bytes changed, removed, inserted or doubled; outer lengths are usually corrected."""
    data = bytearray(draw(st.sampled_from(REAL))[5:])
    name_at = max(data.find(b"\x00\x00\x00"), 60)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.one_of(st.integers(0, len(data) - 1), st.integers(name_at - 60, min(name_at + 60, len(data) - 1))))
        size = draw(st.integers(0, 4))
        way = draw(st.sampled_from(["change", "add", "cut", "put", "double"]))
        if way == "change":
            data[at] = draw(st.integers(0, 255))
        elif way == "add":
            data[at] = (data[at] + draw(st.sampled_from([1, 255, 2, 254]))) % 256
        elif way == "cut":
            del data[at : at + size]
        elif way == "put":
            data[at:at] = draw(st.binary(max_size=4))
        else:
            data[at:at] = data[at : at + 10 * size]
        assume(len(data) > 60)
    if draw(st.integers(0, 4)):
        data[1:4] = (len(data) - 4).to_bytes(3, "big")
    return record(bytes(data))


class AgainstOpenSSLTests(ReadingTests):
    """Both parsers on the same bytes."""

    def setUp(self) -> None:
        self.openssl = OpenSSLServer()
        # A name outside ASCII cannot be told to the callback; the standard library then complains aloud.
        self.patch(sys, "unraisablehook", lambda told: None)

    def compare(self, data: bytes) -> Any:
        """@return: OpenSSL's answer."""
        theirs = self.openssl.name(data)
        ours = read([data])
        if theirs is not NOT_READ and isinstance(ours, ClientHello):
            self.assertEqual(ours.server_name, None if theirs is None else server_name(theirs))
        return theirs

    def test_clients(self) -> None:
        """Both read the same name from hellos of TLS clients."""
        for data in REAL:
            theirs = self.compare(data)
            self.assertIsNot(theirs, NOT_READ)
            self.assertIsInstance(read([data]), ClientHello)

    def test_names(self) -> None:
        """Both read a valid name; ours refuses the invalid ones that OpenSSL accepts."""
        for name, allowed in (
            ("a", True),
            ("a_b.test", True),
            ("A.TEST.", True),
            ("127.0.0.1", True),
            ("::1", True),
            ("a b", False),
            ("a/b", False),
            ("*.test", False),
            ("a..b", False),
            ("x" * 64, False),
        ):
            data = hello(name)
            self.assertEqual(self.compare(data), name)
            self.assertEqual(isinstance(read([data]), ClientHello), allowed, name)

    def test_fragments(self) -> None:
        """Both read a hello in records of any size that OpenSSL accepts."""
        for size in (1, 3, 100, 16_384):
            self.assertEqual(self.compare(hello("a.test", record_size=size)), "a.test")
        self.assertEqual(self.compare(records(hellos.hello_of_size(40_000))), hellos.NAME)

    def test_longest(self) -> None:
        """Both read a hello of maximum length."""
        data = records(hellos.hello_of_size(MAX_HANDSHAKE_BYTES))
        self.assertEqual(self.compare(data), hellos.NAME)
        self.assertIsInstance(read([data]), ClientHello)

    def test_other_name_types(self) -> None:
        """OpenSSL refuses other name types, which ours skips: it never reads a different name."""
        data = hello(None, extensions=[hellos.names((1, b"x"), (0, b"a.test"))])
        self.assertIs(self.compare(data), NOT_READ)

    @settings(max_examples=400)
    @given(crooked())
    def test_crooked_lengths(self, data: bytes) -> None:
        """With wrong lengths around the name, ours never reads a different name from OpenSSL."""
        self.compare(data)

    @settings(max_examples=400)
    @given(mutated())
    def test_mutations(self, data: bytes) -> None:
        """A mutated hello never gives a different name from OpenSSL."""
        self.compare(data)

    @settings(max_examples=100)
    @given(st.binary(max_size=12), st.binary(max_size=40))
    def test_any_name(self, name: bytes, more: bytes) -> None:
        """Any bytes in the place of the name."""
        self.compare(hello(name, extensions=[*TLS13, extension(0xFE0D, vector(more, 1))]))
