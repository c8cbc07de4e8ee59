"""TLS connections of the upgrade's load."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from bench.running import free_port
from bench.upgradetls import TlsEnd, connect
from tests.support.upgradetunnels import NAME, Ends


class Heard:
    """A handler that notes all calls."""

    def __init__(self) -> None:
        self.is_open = self.ended = False
        self.data = b""
        self.drains = 0
        self.end: list[str | None] = []

    def opened(self) -> None:
        """See `bench.upgradetls.Handler`."""
        self.is_open = True

    def received(self, data: bytes) -> None:
        """See `bench.upgradetls.Handler`."""
        self.data += data

    def drained(self) -> None:
        """See `bench.upgradetls.Handler`."""
        self.drains += 1

    def peer_ended(self) -> None:
        """See `bench.upgradetls.Handler`."""
        self.ended = True

    def closed(self, why: str | None) -> None:
        """See `bench.upgradetls.Handler`."""
        self.end.append(why)


class TlsEndTests(SynchronousTestCase):
    """Two ends, each with a handler that notes its calls."""

    def setUp(self) -> None:
        """Connect two ends."""
        self.ends = Ends(self)
        self.sockets = self.ends.connected()
        self.heard = Heard(), Heard()
        client, server = self.sockets
        self.client = TlsEnd(self.ends.loop, client, self.ends.client_context, self.heard[0], NAME)
        self.server = TlsEnd(self.ends.loop, server, self.ends.server_context, self.heard[1])

    def open(self) -> None:
        """Make the handshake."""
        self.ends.run(lambda: all(one.is_open for one in self.heard))

    def test_half_closed(self) -> None:
        """After the end of one direction, the other still carries bytes; both ends close in order."""
        self.open()
        self.client.write(b"up")
        self.client.finish()
        self.ends.run(lambda: self.heard[1].ended)
        self.server.write(b"x" * 1_000_000)
        self.server.finish()
        self.ends.run(lambda: all(one.end for one in self.heard))
        self.assertEqual((b"up", 1_000_000), (self.heard[1].data, len(self.heard[0].data)))
        self.assertEqual([[None], [None]], [one.end for one in self.heard])
        self.assertFalse(self.client.alive or self.server.alive)

    def test_cut(self) -> None:
        """A FIN without a close_notify is an error, and so is a reset."""
        self.open()
        self.sockets[1].shutdown(socket.SHUT_WR)
        self.ends.run(lambda: bool(self.heard[0].end))
        self.assertEqual(["the connection ended without a close_notify"], self.heard[0].end)

    def test_reset(self) -> None:
        """A reset is an error, also for an end that reads slowly."""
        self.open()
        self.server.slow_down(1)
        self.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.abort("here")
        self.ends.run(lambda: bool(self.heard[1].end))
        self.assertIn("reset", str(self.heard[1].end))

    def test_slow(self) -> None:
        """A slow end reads only what it asks for, until it reads all again."""
        self.open()
        self.server.slow_down(1024)
        self.client.write(b"x" * 10_000)
        later: list[bool] = []
        self.ends.loop.later(0.01, lambda: later.append(True))
        self.ends.run(lambda: bool(later))
        self.assertEqual(b"", self.heard[1].data)
        self.server.slow_down(0)
        self.ends.run(lambda: len(self.heard[1].data) == 10_000)

    def test_fill(self) -> None:
        """A filling end is asked for more as long as the kernel takes it."""
        self.open()
        self.client.fill(True)
        self.ends.run(lambda: self.heard[0].drains > 3)

    def test_hold(self) -> None:
        """A client can wait in the middle of its hello."""
        client, server = self.ends.connected()
        heard = Heard(), Heard()
        TlsEnd(self.ends.loop, client, self.ends.client_context, heard[0], NAME, hold_s=0.05)
        peeked: list[bytes] = []
        self.ends.loop.later(0.02, lambda: peeked.append(server.recv(1000, socket.MSG_PEEK)))
        self.ends.run(lambda: bool(peeked))
        self.assertLessEqual(len(peeked[0]), 100)
        TlsEnd(self.ends.loop, server, self.ends.server_context, heard[1])
        self.ends.run(lambda: all(one.is_open for one in heard))

    def test_untrusted(self) -> None:
        """A certificate of another authority fails the handshake."""
        client, server = self.ends.connected()
        heard = Heard(), Heard()
        TlsEnd(self.ends.loop, client, Ends(self).client_context, heard[0], NAME)
        TlsEnd(self.ends.loop, server, self.ends.server_context, heard[1])
        self.ends.run(lambda: bool(heard[0].end))
        self.assertIn("TLS handshake: ", str(heard[0].end))

    def test_refused(self) -> None:
        """A refused connection is an error."""
        heard = Heard()
        TlsEnd(self.ends.loop, connect(free_port()), self.ends.client_context, heard, NAME)
        self.ends.run(lambda: bool(heard.end))
        self.assertIn("Connection refused", str(heard.end))
