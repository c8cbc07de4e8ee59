"""A producer and a broker in processes of their own."""

from __future__ import annotations

import signal
import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.load import Broker, send
from bench.traffic import produce


class LoadTests(SynchronousTestCase):
    """Sending until all is answered."""

    def setUp(self) -> None:
        self.traffic = produce(1_000, cycle=100_000)

    def test_answered(self) -> None:
        """All that is sent is answered, connection after connection."""
        broker = Broker(self.traffic)
        self.addCleanup(broker.stop)
        for cycles in (1, 3):
            sent = send(self.traffic, cycles, broker.port)
            expected = self.traffic.frames_in(cycles), cycles * len(self.traffic.frames)
            self.assertEqual((sent.frames, sent.bytes), expected)
            self.assertGreater(sent.seconds, 0)

    def test_stop(self) -> None:
        """A broker ends even when this process has a handler for TERM, as it has after a test with a reactor."""
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, lambda *ignored: None))
        Broker(self.traffic).stop()

    def test_no_answers(self) -> None:
        """Answers of other frames are too few: the run is no run."""
        broker = Broker(produce(2_000, cycle=100_000))
        self.addCleanup(broker.stop)
        error = self.assertRaises(LoadError, send, self.traffic, 1, broker.port)
        self.assertIn("bytes missing", str(error))

    def test_nobody(self) -> None:
        """When nobody listens, the run says so."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            error = self.assertRaises(LoadError, send, self.traffic, 1, sock.getsockname()[1])
        self.assertIn("refused", str(error))
