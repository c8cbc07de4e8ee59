"""Tests for sniproxy.tls.hellolayout: which layouts are known, and that they change no result."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import hellomessage
from sniproxy.tls.hellolayout import LEARN_EVERY, MAX_EXTENSIONS, MAX_LAYOUTS, MAX_OF_ONE_LENGTH, LayoutCache
from sniproxy.tls.hellomessage import MAX_CACHED_BYTES, parse_hello, parse_in_full
from tests.support.hellos import (
    GREASE,
    PRE_SHARED_KEY,
    TLS13,
    alpn,
    extension,
    message,
    padding,
    recorded,
    supported_versions,
)
from tests.tls.reading import Fault, parsed

CLIENTS = ("go-broker-1", "go-pulsar-vip", "java-broker-2", "java-ip-literal", "java-pulsar-vip", "python-broker-1")
BASES = (
    *(recorded(client)[5:] for client in CLIENTS),
    message(),
    message("other.test", extensions=(alpn(b"pulsar", b"h2"), *TLS13, padding(40))),
    message(None, extensions=(*TLS13, extension(GREASE), extension(PRE_SHARED_KEY, bytes(70)))),
    message(block=b""),
    message(block=b"\x00\x00"),
    message(session_id=b"", legacy_version=0x0301, extensions=(supported_versions(0x0303),)),
)


def cache() -> LayoutCache:
    """A cache that learns each layout at once."""
    return LayoutCache(MAX_CACHED_BYTES, learn_every=1)


class KnownTests(SynchronousTestCase):
    """What is known."""

    def test_learned(self) -> None:
        """A layout is known after one message of it, whatever the bodies are."""
        layouts = cache()
        self.assertIsNone(layouts.find(message("a.test")))
        layouts.learn(message("a.test"))
        bodies = layouts.find(message("b.test"))
        assert bodies is not None and bodies[0] is not None
        self.assertEqual(b"b.test", message("b.test")[bodies[0]][5:])
        self.assertIsNone(bodies[1])
        self.assertIsNone(layouts.find(message("aa.test")))

    def test_not_parsed_again(self) -> None:
        """The structure of a message of a known layout is not parsed again, and each field is its own."""
        layouts = cache()
        shapes = [("a.test", b"h2", b"\x01"), ("b.test", b"h3", b"\x02")]
        messages = [message(name, extensions=(alpn(p), *TLS13), session_id=key * 32) for name, p, key in shapes]
        messages[1] = messages[1][:4] + b"\x03\x01" + bytes(32) + messages[1][38:]
        expected = [parse_in_full(one) for one in messages]
        parse_hello(messages[0], layouts)
        self.patch(hellomessage, "parse_in_full", None)
        found = parse_hello(messages[1], layouts)
        self.assertEqual((expected[1], bytes(32)), (found, found.random))
        self.assertEqual(("b.test", ("h3",), 0x0301), (found.server_name, found.alpn, found.legacy_version))

    def test_padded(self) -> None:
        """Names of several lengths in hellos of one length are known side by side, up to a number."""
        layouts = cache()
        messages = [message("a" * size, extensions=(padding(80 - size),)) for size in range(1, MAX_OF_ONE_LENGTH + 2)]
        self.assertEqual(1, len({len(one) for one in messages}))
        for one in messages:
            layouts.learn(one)
        self.assertIsNone(layouts.find(messages[0]))
        self.assertNotIn(None, [layouts.find(one) for one in messages[1:]])
        self.assertEqual(MAX_OF_ONE_LENGTH, len(layouts))

    def test_bounded(self) -> None:
        """The layout that was learned first is forgotten when there are too many."""
        layouts = cache()
        messages = [message(extensions=(padding(size),)) for size in range(4, 4 + 3 * MAX_LAYOUTS)]
        for one in messages:
            layouts.learn(one)
        self.assertEqual(MAX_LAYOUTS, len(layouts))
        self.assertEqual(MAX_LAYOUTS, len(layouts._by_length))
        known = [layouts.find(one) is not None for one in messages]
        self.assertEqual([False] * 2 * MAX_LAYOUTS + [True] * MAX_LAYOUTS, known)

    def test_not_each_is_learned(self) -> None:
        """One in some unknown messages is learned, so that a flood of layouts costs little."""
        layouts = LayoutCache(MAX_CACHED_BYTES)
        for number in range(LEARN_EVERY):
            self.assertEqual(0, len(layouts))
            layouts.learn(message(extensions=(padding(4 + number),)))
        self.assertEqual(1, len(layouts))

    def test_large(self) -> None:
        """A hello with many extensions, with a long one that is parsed, or without any is not learned."""
        layouts = cache()
        many = [extension(1000 + number) for number in range(MAX_EXTENSIONS)]
        long = alpn(bytes(100), bytes(100), bytes(100))
        for one in (message(extensions=many), message(extensions=(long,)), message(block=b"")):
            layouts.learn(one)
            self.assertEqual(0, len(layouts))
        layouts.learn(message(extensions=many[1:]))
        self.assertEqual(1, len(layouts))


class SameResultTests(SynchronousTestCase):
    """A known layout changes no result."""

    def setUp(self) -> None:
        self.layouts = cache()
        for base in BASES:
            parse_hello(base, self.layouts)
        self.assertGreater(len(self.layouts), 8)

    def test_bases(self) -> None:
        """The hellos of real clients, and built ones."""
        for base in BASES:
            self.assertEqual(parsed(parse_in_full, base), parsed(partial(parse_hello, layouts=self.layouts), base))

    def test_each_byte(self) -> None:
        """A hello with any one byte changed in any way that could matter."""
        faults = 0
        for base in BASES:
            for at in range(4, len(base)):
                for value in {0, 1, 2, base[at] - 1 & 255, base[at] + 1 & 255, base[at] ^ 0x80, 255}:
                    changed = base[:at] + bytes((value,)) + base[at + 1 :]
                    full = parsed(parse_in_full, changed)
                    faults += isinstance(full[0], Fault)
                    self.assertEqual(
                        full, parsed(partial(parse_hello, layouts=self.layouts), changed), (base, at, value)
                    )
        self.assertGreater(faults, 1000)

    @given(st.data())
    def test_mutated(self, data: Any) -> None:
        """Several bytes changed, inserted or removed: the same hello or the same error, with all its fields."""
        changed = bytearray(data.draw(st.sampled_from(BASES)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(4, len(changed)))
            out = data.draw(st.integers(0, 2))
            changed[at : at + out] = data.draw(st.binary(max_size=2))
        full = parsed(parse_in_full, bytes(changed))
        for _ in range(2):  # the second time its layout is known, unless it is malformed
            self.assertEqual(full, parsed(partial(parse_hello, layouts=self.layouts), bytes(changed)))
