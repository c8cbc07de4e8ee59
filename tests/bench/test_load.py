"""The producer and the broker of the inspector's benchmark."""

from __future__ import annotations

import signal
import socket

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.load import Broker, send
from bench.traffic import produce


class LoadTests(SynchronousTestCase):
    """Sending until everything is answered."""

    def setUp(self) -> None:
        self.traffic = produce(1_000, cycle=100_000)

    def test_answered(self) -> None:
        """All SENDs are answered, on one connection after the other."""
        broker = Broker(self.traffic)
        self.addCleanup(broker.stop)
        for cycles in (1, 3):
            sent = send(self.traffic, cycles, broker.port)
            expected = self.traffic.frames_in(cycles), cycles * len(self.traffic.frames)
            self.assertEqual((sent.frames, sent.bytes), expected)
            self.assertGreater(sent.seconds, 0)

    def test_stop(self) -> None:
        """The broker can be stopped although this process has a reactor's handler for SIGTERM."""
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, lambda *ignored: None))
        Broker(self.traffic).stop()

    def test_no_answers(self) -> None:
        """Missing answers are an error."""
        broker = Broker(produce(2_000, cycle=100_000))
        self.addCleanup(broker.stop)
        error = self.assertRaises(LoadError, send, self.traffic, 1, broker.port)
        self.assertIn("bytes missing", str(error))

    def test_nobody(self) -> None:
        """A refused connection is an error."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            error = self.assertRaises(LoadError, send, self.traffic, 1, sock.getsockname()[1])
        self.assertIn("refused", str(error))
