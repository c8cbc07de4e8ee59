"""Socket options."""

from __future__ import annotations

import socket

from twisted.trial.unittest import TestCase

from sniproxy.net.sockopts import KEEPALIVE_IDLE, is_over, reset_on_close, tune
from tests.support.sockets import connected, reset


class TuningTests(TestCase):
    """Options of every connection."""

    def test_tune(self) -> None:
        """Small writes are sent at once, and keepalive is on."""
        theirs, ours = connected()
        tune(ours)
        with theirs, ours:
            self.assertEqual(1, ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertEqual(1, ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            self.assertEqual(KEEPALIVE_IDLE, ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    def test_unix(self) -> None:
        """A unix socket needs none of these options."""
        a, b = socket.socketpair()
        with a, b:
            tune(a)

    def test_reset_on_close(self) -> None:
        """The peer gets a reset; a closed socket raises nothing."""
        theirs, ours = connected()
        reset_on_close(ours)
        ours.close()
        with theirs:
            self.assertRaises(ConnectionResetError, theirs.recv, 1)
        reset_on_close(ours)

    def test_is_over(self) -> None:
        """A connection that was reset has ended, whether it was read or not; one with a FIN from both sides has not."""
        theirs, ours = connected()
        with ours:
            self.assertFalse(is_over(ours))
            reset(theirs)
            self.assertTrue(is_over(ours))
        theirs, ours = connected()
        with ours:
            theirs.send(b"last")
            ours.shutdown(socket.SHUT_WR)
            theirs.recv(1)
            theirs.close()
            self.assertFalse(is_over(ours))
        a, b = socket.socketpair()
        with a, b:
            self.assertFalse(is_over(a))
