"""Tests for sniproxy.inspector.capture.sniff."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.sniff import MAX_HELD_BYTES, StreamKind, sniff
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from tests.inspector.capture.commands import CONNECT, CONNECTED, LOOKUP, SEND
from tests.support.hellos import hello, recorded


class SniffTests(SynchronousTestCase):
    """sniff: recognizes streams by their first bytes."""

    def test_pulsar(self) -> None:
        """Frames are recognized, with their sender if the command tells."""
        for data, kind in (
            (CONNECT, StreamKind.CLIENT),
            (LOOKUP, StreamKind.CLIENT),
            (SEND, StreamKind.CLIENT),
            (CONNECTED, StreamKind.BROKER),
            (write(pb.CommandSuccess(request_id=1)), StreamKind.BROKER),
            (write(pb.CommandPing()), StreamKind.EITHER),
            (write(pb.CommandCloseProducer(producer_id=1, request_id=2)), StreamKind.EITHER),
        ):
            self.assertIs(sniff(data), kind)
            self.assertIs(sniff(data + b"more"), kind)
            self.assertTrue(kind.is_pulsar)
            for end in range(len(data)):
                self.assertIn(sniff(data[:end]), (StreamKind.MORE, kind))
            self.assertIs(sniff(data[:MAX_HELD_BYTES]), kind)

    def test_tls(self) -> None:
        """TLS records are recognized, at the beginning of a connection and later."""
        for data in (
            hello(),
            recorded("java-pulsar-vip"),
            b"\x17\x03\x03\x40\x00more",
            b"\x15\x03\x01\x00\x02\x01\x00",
        ):
            self.assertIs(sniff(data), StreamKind.TLS)
            self.assertIs(sniff(data[:4]), StreamKind.MORE)
        for data in (
            b"\x16\x03\x03\x00\x00more",
            b"\x16\x03\x03\x41\x01more",
            b"\x16\x02more",
            b"\x16\x03\x09\0\1more",
        ):
            self.assertIs(sniff(data), StreamKind.OTHER)

    def test_other(self) -> None:
        """Other protocols are recognized as neither."""
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-OpenSSH",
            bytes(20),
            CONNECT[1:] + b"more",
            SEND[len(SEND) - 7 :] * 3,
            b"\0\0\0\x05\0\0\0\x02\x08\x12aaaaaaaa",
        ):
            self.assertIs(sniff(data), StreamKind.OTHER, data)

    @given(st.binary(max_size=30))
    def test_enough(self, data: bytes) -> None:
        """Any bytes give an answer, which comes early and does not change."""
        kind = sniff(data)
        if len(data) >= MAX_HELD_BYTES:
            self.assertIsNot(kind, StreamKind.MORE)
        if kind is not StreamKind.MORE:
            self.assertIs(sniff(data + b"\0"), kind)
