"""A client and a broker that speak TLS."""

from __future__ import annotations

import socket
from pathlib import Path

import trustme
from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.exchange import NAME, Broker, ClientPath, consume, produce, round_trip
from bench.traffic import messages
from bench.traffic import produce as made


class ExchangeTests(SynchronousTestCase):
    """Without anything between them."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = trustme.CA()
        self.trust, self.certificate = folder / "ca.pem", folder / "broker.pem"
        authority.cert_pem.write_to_path(self.trust)
        authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(self.certificate)

    def broker(self, cycle: int, messages_cycle: int = 100_000) -> Broker:
        broker = Broker(self.certificate, made(1_000, cycle), messages(1_000, messages_cycle))
        self.addCleanup(broker.stop)
        return broker

    def test_streams(self) -> None:
        """All SENDs are answered, and all MESSAGEs come, connection after connection."""
        broker = self.broker(100_000)
        way = ClientPath(broker.port, self.trust)
        for cycles in (1, 3):
            self.assertGreater(produce(way, broker.port, made(1_000, 100_000), cycles), 0)
            self.assertGreater(consume(way, broker.port, messages(1_000, 100_000), cycles), 0)

    def test_round_trip(self) -> None:
        """One SEND at a time is answered; for more than one a cycle the broker would count wrongly."""
        broker = self.broker(1)
        way = ClientPath(broker.port, self.trust)
        self.assertGreater(round_trip(way, broker.port, made(1_000, 1), 3), 0)
        self.assertRaises(ValueError, round_trip, way, broker.port, made(1_000, 10_000), 3)

    def test_failures(self) -> None:
        """A broker that is not trusted, or not there, is told."""
        other = self.trust.with_name("other.pem")
        trustme.CA().cert_pem.write_to_path(other)
        broker = self.broker(100_000)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            for way, said in (
                (ClientPath(broker.port, other), "certificate verify failed"),
                (ClientPath(sock.getsockname()[1], None), "refused"),
            ):
                error = self.assertRaises(LoadError, produce, way, broker.port, made(1_000, 100_000), 1)
                self.assertIn(said, str(error))
