"""Tests for sniproxy.net.synfilter."""

from __future__ import annotations

import os
import socket
import sys

from sniproxy.net.synfilter import ignore_new, welcome_new
from tests.support.sockets import TIMEOUT_S, SocketTestCase


class SynFilterTests(SocketTestCase):
    """A listening socket that ignores new clients."""

    def test_tcp(self) -> None:
        """A waiting client is accepted, and its socket inherits the filter; a new one waits until the filter is
        removed.
        """
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = listening.getsockname()
            with socket.create_connection(address) as before:
                ignore_new(listening)
                with socket.socket() as later:
                    later.setblocking(False)
                    later.connect_ex(address)
                    self.assertRaises(OSError, later.getpeername)
                    accepted, client = listening.accept()
                    self.assertEqual(before.getsockname(), client)
                    listening.setblocking(False)
                    self.assertRaises(BlockingIOError, listening.accept)
                    before.sendall(b"it still gets data")
                    accepted.settimeout(TIMEOUT_S)
                    self.assertEqual(b"it still", accepted.recv(8))
                    welcome_new(accepted)
                    accepted.close()
                welcome_new(listening)
                welcome_new(listening)  # there is none any more
                with socket.create_connection(address, timeout=TIMEOUT_S):
                    listening.accept()[0].close()

    if sys.platform != "linux":
        test_tcp.skip = "socket filters are Linux's"  # type: ignore[attr-defined]

    def test_unix(self) -> None:
        """A waiting client is accepted, a new one is refused."""
        path = os.path.relpath(self.mktemp())
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            with socket.socket(socket.AF_UNIX) as before, socket.socket(socket.AF_UNIX) as later:
                before.connect(path)
                ignore_new(listening)
                self.assertRaises(ConnectionRefusedError, later.connect, path)
                accepted, _ = listening.accept()
                accepted.close()
                welcome_new(listening)
