"""Reads a stream of bytes three ways, and compares."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.alerts import Alert
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader, HelloError


@attrs.frozen
class Fault:
    """A L{HelloError} as a value."""

    kind: type[HelloError]
    reason: str
    alert: Alert | None
    legacy_version: int


def read(pieces: Iterable[bytes]) -> ClientHello | Fault | None:
    """What a fresh reader says of a stream that comes in these pieces; None: it waits for more."""
    reader = ClientHelloReader()
    try:
        for piece in pieces:
            hello = reader.feed(piece)
            if hello is not None:
                return hello
    except HelloError as error:
        return Fault(type(error), str(error), error.alert, error.legacy_version)
    return None


def byte_by_byte(data: bytes) -> list[bytes]:
    """The smallest pieces."""
    return [data[at : at + 1] for at in range(len(data))]


TAILS = (b"\x00", b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\x40\x00early data", b"GET / HTTP/1.1\r\n", bytes(256))


class ReadingTests(SynchronousTestCase):
    """The three-way helper, for other test cases to inherit."""

    def three_ways(self, data: bytes) -> ClientHello | Fault:
        """Feed whole, byte by byte, and with a tail: the answer is always the same, and comes with the last byte.

        The data end where the answer is due: with the hello's last byte, or with the byte that shows the fault.
        """
        whole = read([data])
        assert whole is not None, "more is needed"
        self.assertEqual(read(byte_by_byte(data)), whole)
        self.assertIsNone(read([data[:-1]]), "the answer was there before the last byte")
        for tail in TAILS:
            self.assertEqual(read([data + tail]), whole)
            self.assertEqual(read([data[:-1], data[-1:] + tail]), whole)
        return whole

    def readable(self, data: bytes) -> ClientHello:
        """The hello, read three ways."""
        answer = self.three_ways(data)
        assert isinstance(answer, ClientHello), answer
        return answer

    def refused(self, data: bytes, alert: Alert | None, kind: type[HelloError] = HelloError) -> str:
        """The reason, read three ways, of a fault of exactly this type and with this alert."""
        answer = self.three_ways(data)
        assert isinstance(answer, Fault), answer
        self.assertEqual((answer.kind, answer.alert), (kind, alert), answer.reason)
        return answer.reason
