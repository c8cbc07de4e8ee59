"""Parses a stream of bytes in three splits, and compares the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    """The result of a new parser for these pieces; None: it needs more bytes."""
    reader = ClientHelloReader()
    try:
        for piece in pieces:
            hello = reader.feed(piece)
            if hello is not None:
                return hello
    except HelloError as error:
        return fault_of(error)
    return None


def fault_of(error: HelloError) -> Fault:
    """An error as a value."""
    return Fault(type(error), str(error), error.alert, error.legacy_version)


def parsed(parse: Callable[[bytes], ClientHello], message: bytes) -> tuple[object, ...]:
    """All that a parser says of a message, for comparison; of a hello also the random."""
    try:
        hello = parse(message)
    except HelloError as error:
        return (fault_of(error),)
    return attrs.astuple(hello)


def byte_by_byte(data: bytes) -> list[bytes]:
    """Single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


TAILS = (b"\x00", b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\x40\x00early data", b"GET / HTTP/1.1\r\n", bytes(256))


class ReadingTests(SynchronousTestCase):
    """Base class with the comparison of three splits."""

    def three_ways(self, data: bytes) -> ClientHello | Fault:
        """Parse the data whole, byte by byte, and with a tail: the result is the same, and comes with the last byte.

        The data must end with the byte that decides: the last one of the hello, or the one that shows the fault.
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
        """The parsed hello, the same for three splits."""
        answer = self.three_ways(data)
        assert isinstance(answer, ClientHello), answer
        return answer

    def refused(self, data: bytes, alert: Alert | None, kind: type[HelloError] = HelloError) -> str:
        """The reason of an error with exactly this type and alert, the same for three splits."""
        answer = self.three_ways(data)
        assert isinstance(answer, Fault), answer
        self.assertEqual((answer.kind, answer.alert), (kind, alert), answer.reason)
        return answer.reason
