"""Tunnels that stay open, and new clients beside them."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.running import free_port
from bench.upgradeends import MIX
from bench.upgradeload import Load
from bench.upgradeprocesses import MORE


class Forwarder:
    """A proxy in threads, which can cut all its tunnels."""

    def __init__(self, case: SynchronousTestCase, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        case.addCleanup(self.stop)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += client, server
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self) -> None:
        """Cut all tunnels, and refuse new clients."""
        if self._listening.fileno() < 0:
            return
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for sock in self._sockets:
            sock.close()


class LoadTests(SynchronousTestCase):
    """The load, each with a server and clients of its own."""

    def load(self, tunnels: int) -> Load:
        """A load that ends with the test."""
        folder = Path(self.mktemp())
        folder.mkdir()
        load = Load(folder, tunnels, 1)
        self.addCleanup(load.stop)
        return load

    def test_whole(self) -> None:
        """Without a proxy nothing is lost, and tunnels can be added."""
        load = self.load(len(MIX))
        load.open(load.port)
        load.add()
        while not (seen := load.look()).new:
            pass
        self.assertEqual((len(MIX) + MORE, len(MIX) + MORE), (seen.tunnels, seen.open))
        self.assertEqual(MIX.count("echo") + MORE, len(seen.turns))
        seen = load.end()
        self.assertEqual(([], [], {}, 0), (seen.lost, seen.wrong, dict(seen.failed), seen.open))

    def test_cut(self) -> None:
        """Each tunnel that is cut is lost, and new clients are refused."""
        load = self.load(10)
        forwarder = Forwarder(self, load.port)
        load.open(forwarder.port)
        forwarder.stop()
        while not any("refused" in why for why in load.look().failed):
            pass
        seen = load.end()
        self.assertEqual((10, 10), (seen.tunnels, len(seen.lost)))

    def test_absent(self) -> None:
        """A proxy that refuses the first tunnels is an error."""
        load = self.load(1)
        self.assertIn("a tunnel does not open", str(self.assertRaises(LoadError, load.open, free_port())))

    def test_gone(self) -> None:
        """A process that has ended is an error."""
        load = self.load(1)
        load.open(load.port)
        load.stop()
        self.assertRaises(LoadError, load.look)
