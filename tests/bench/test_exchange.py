"""A client and a broker with TLS."""

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
    """Without a proxy."""

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
        """All SENDs are answered, and all MESSAGEs arrive, on one connection after the other."""
        broker = self.broker(100_000)
        way = ClientPath(broker.port, self.trust)
        for cycles in (1, 3):
            self.assertGreater(produce(way, broker.port, made(1_000, 100_000), cycles), 0)
            self.assertGreater(consume(way, broker.port, messages(1_000, 100_000), cycles), 0)

    def test_round_trip(self) -> None:
        """Single SENDs are answered; a cycle of several SENDs is refused."""
        broker = self.broker(1)
        way = ClientPath(broker.port, self.trust)
        self.assertGreater(round_trip(way, broker.port, made(1_000, 1), 3), 0)
        self.assertRaises(ValueError, round_trip, way, broker.port, made(1_000, 10_000), 3)

    def test_failures(self) -> None:
        """An untrusted and a missing broker are errors."""
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
