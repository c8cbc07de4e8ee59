"""The two ends of a tunnel of the upgrade's load."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from bench.soakload import Source
from bench.upgradeends import KINDS, MIX, End, Paces
from tests.support.upgradetunnels import NAME, Ends

PACES = Paces(message_s=0.001, stream_s=0.001, slow_s=0.001, piece_bytes=1000)


class EndTests(SynchronousTestCase):
    """A client's end and the server's, without a proxy."""

    def tunnel(self, kind: str) -> tuple[End, End]:
        """Both ends of a tunnel, connected."""
        client, server = self.ends.connected()
        return (
            End(self.ends.loop, client, self.ends.client_context, PACES, self.ended.append, kind, 7, NAME),
            End(self.ends.loop, server, self.ends.server_context, PACES, self.ended.append),
        )

    def setUp(self) -> None:
        """Start a loop."""
        self.ends = Ends(self)
        self.ended: list[End] = []

    def run_to_end(self, kind: str, enough: Callable[[End, End], bool]) -> tuple[End, End]:
        """Run a tunnel until both ends have said enough, then end it in order."""
        client, server = self.tunnel(kind)
        self.ends.run(lambda: client.open and server.open and enough(client, server))
        server.order_end()
        client.order_end()
        self.ends.run(lambda: len(self.ended) == 2)
        return client, server

    def test_kinds(self) -> None:
        """Each kind of tunnel ends in order; each end has received what the other has sent."""
        for kind in KINDS:
            self.ended.clear()
            client, server = self.run_to_end(kind, lambda client, server: True)
            for one, other in ((client, server), (server, client)):
                self.assertEqual((None, False, kind, 7), (one.outcome.fault, one.outcome.wrong, kind, 7))
                self.assertEqual(one.outcome.sent, other.outcome.received, kind)
            self.assertEqual(server.outcome.kind, kind)

    def test_directions(self) -> None:
        """Streams run in the directions of their kind, also after the other direction has ended."""
        cases = {"up": (1, 0), "down": (0, 1), "both": (1, 1), "client ended": (0, 1), "server ended": (1, 0)}
        for kind, (up, down) in cases.items():
            self.ended.clear()

            def enough(client: End, server: End, up: int = up, down: int = down) -> bool:
                return server.outcome.received >= 5000 * up and client.outcome.received >= 5000 * down

            client, server = self.run_to_end(kind, enough)
            self.assertEqual((bool(up), bool(down)), (bool(client.outcome.sent), bool(server.outcome.sent)), kind)

    def test_turns(self) -> None:
        """The longest round trip of messages is known, and starts again after a look."""
        client, server = self.tunnel("echo")
        self.ends.run(lambda: client.outcome.received > 200)
        self.assertGreater(client.look(), 0.0)
        self.assertEqual(0.0, server.look())

    def test_late(self) -> None:
        """A message on its way counts with its age."""
        client, _ = self.tunnel("idle")
        self.ends.run(lambda: client.open)
        client.order_end()
        self.assertGreater(client.look(), 0.0)

    def test_wrong(self) -> None:
        """Bytes of another stream are wrong, and end the tunnel."""
        client, server = self.tunnel("down")
        self.ends.run(lambda: server.open)
        server._out = Source(8, "down")
        self.ends.run(lambda: client in self.ended)
        self.assertTrue(client.outcome.wrong)
        self.assertIn("are not those that were sent", client.outcome.fault or "")

    def test_broken(self) -> None:
        """A byte too many below TLS is wrong, too."""
        client, server = self.tunnel("down")
        self.ends.run(lambda: client.outcome.received > 0)
        server.tls._sock.send(b"x")
        self.ends.run(lambda: client in self.ended)
        self.assertTrue(client.outcome.wrong, client.outcome.fault)

    def test_cut(self) -> None:
        """A tunnel that is cut says why."""
        client, server = self.tunnel("both")
        self.ends.run(lambda: client.open)
        server.tls.abort("cut")
        self.ends.run(lambda: client in self.ended)
        self.assertIsNotNone(client.outcome.fault)
        self.assertFalse(client.outcome.wrong)

    def test_mix(self) -> None:
        """The mix has each kind, except for new clients."""
        self.assertEqual({*KINDS} - {"new"}, {*MIX})
