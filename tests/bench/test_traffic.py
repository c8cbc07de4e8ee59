"""The traffic of benchmarks."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.traffic import lookups, messages, produce, send_receipts
from sniproxy.inspector.inspection import Inspection
from sniproxy.pulsar.frames import FrameReader


class ProduceTests(SynchronousTestCase):
    """The traffic of a producer."""

    def setUp(self) -> None:
        self.traffic = produce(1_000, cycle=50_000)

    def test_read(self) -> None:
        """The inspector reads two cycles completely, with a receipt per frame."""
        traffic, inspection = self.traffic, Inspection("c")
        inspection.client(traffic.hello + 2 * traffic.frames, 1.0)
        inspection.broker(traffic.welcome + 2 * traffic.receipts, 1.0)
        count = traffic.frames_in(2)
        self.assertFalse(inspection.lost)
        self.assertEqual((inspection.commands["SEND"], inspection.commands["SEND_RECEIPT"]), (count, count))
        self.assertEqual((traffic.ends[-1], traffic.receipt_ends[-1]), (len(traffic.frames), len(traffic.receipts)))

    def test_same(self) -> None:
        """It is always the same, and has about the requested size."""
        self.assertEqual(produce(1_000, cycle=50_000), self.traffic)
        self.assertTrue(40 < len(self.traffic.ends) < 60)

    def test_receipts_due(self) -> None:
        """A receipt is due with the last byte of its frame, in every cycle."""
        traffic = self.traffic
        first, receipt = traffic.ends[0], traffic.receipt_ends[0]
        whole, receipts = len(traffic.frames), len(traffic.receipts)
        for received, due in ((0, 0), (first - 1, 0), (first, receipt), (whole - 1, traffic.receipt_ends[-2])):
            self.assertEqual(traffic.receipt_bytes(received), due)
            self.assertEqual(traffic.receipt_bytes(3 * whole + received), 3 * receipts + due)

    def test_send_receipts(self) -> None:
        """The receipts that are due are sent in order, each once, across the end of a cycle."""
        traffic = self.traffic
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sent, cycle = 0, len(traffic.frames)
            for received in (traffic.ends[0] - 1, traffic.ends[0], cycle - 1, cycle + traffic.ends[1]):
                sent = send_receipts(ours, traffic, received, sent)
                self.assertEqual(traffic.receipt_bytes(received), sent)
            self.assertEqual(traffic.receipts + traffic.receipts[: traffic.receipt_ends[1]], theirs.recv(2 * sent))


class MessageTests(SynchronousTestCase):
    """The traffic of a consumer."""

    def test_read(self) -> None:
        """The inspector reads all frames, which have about the requested size."""
        inspection = Inspection("c")
        inspection.broker(messages(1_000, cycle=50_000), 1.0)
        self.assertFalse(inspection.lost)
        self.assertTrue(40 < len(FrameReader().feed(messages(1_000, cycle=50_000))) < 60)


class LookupTests(SynchronousTestCase):
    """The traffic of a client that looks topics up."""

    def test_read(self) -> None:
        """Each request with its response is one lookup."""
        inspection, names = Inspection("c"), []
        for question, answer in lookups(10):
            told = inspection.client(question, 1.0) + inspection.broker(answer, 2.0)
            names += [event.fields["topic"] for event in told]
        self.assertEqual(names, [f"persistent://public/default/orders-{number}" for number in range(10)])
