"""Tunnels of the soak test that stay open: their echoes, and the faults that they report."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from threading import Event, Thread

from twisted.trial.unittest import SynchronousTestCase

from bench.soakopen import Opened
from bench.targets import Target

HELLO = b"a hello"


class Kills:
    """A backend with a settable generation."""

    def __init__(self, generation: int = 0) -> None:
        self.generation = generation


class OpenedTests(SynchronousTestCase):
    """Tunnels without a proxy."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.heard = Event()
        self.again = Event()
        self.kills = Kills()

    def tell(self, text: str) -> None:
        self.told.append(text)
        self.heard.set()

    def opened(self, port: int, count: int = 1) -> Opened:
        """Open a tunnel that sends a byte as soon as the previous one has come back."""
        opened = Opened(port, HELLO, count, self.kills, self.tell, 0.0)
        opened.start()
        return opened

    def server(self, *works: Callable[[socket.socket], object]) -> int:
        """A port that handles its first connections with these functions, after the hello, and echoes on later ones."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def serve() -> None:
            for work in (*works, self.echo):
                sock, _ = listening.accept()
                with sock:
                    sock.settimeout(60)
                    got = b""
                    while len(got) < len(HELLO):
                        got += sock.recv(len(HELLO) - len(got))
                    work(sock)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        return int(listening.getsockname()[1])

    def echo(self, sock: socket.socket) -> None:
        """Read until a FIN."""
        self.again.set()
        while data := sock.recv(64):
            sock.sendall(data)

    def test_whole(self) -> None:
        """All tunnels are opened, get their bytes back, and end on request."""
        target = Target("echo", len(HELLO))
        self.addCleanup(target.stop)
        opened = self.opened(target.port, 30)
        tunnels = opened.stop()
        self.assertEqual(self.told, [])
        self.assertEqual((len(tunnels), len({tunnel.port for tunnel in tunnels}), opened.cut), (30, 30, 0))
        for tunnel in tunnels:
            self.assertTrue(tunnel.whole)
            self.assertGreaterEqual(tunnel.down, 2)
            self.assertEqual(tunnel.up, len(HELLO) + tunnel.down)

    def fails(self, work: Callable[[socket.socket], object]) -> str:
        """Run with a faulty first tunnel. @return: the faults; a second tunnel has none."""
        opened = self.opened(self.server(work))
        self.assertTrue(self.heard.wait(60))
        self.assertEqual(len(opened.stop()), 1)
        self.assertEqual((len(self.told), opened.cut), (1, 0))
        return self.told[0]

    def test_other(self) -> None:
        """A wrong byte is reported."""
        self.assertIn("came back in place of", self.fails(other))

    def test_more(self) -> None:
        """A duplicated byte is reported."""
        self.assertIn("came back in place of", self.fails(twice))

    def test_ended(self) -> None:
        """A FIN without a kill is reported."""
        self.assertIn("it ended", self.fails(lambda sock: sock.recv(1)))

    def test_reset(self) -> None:
        """A reset without a kill is reported."""
        self.assertIn("reset", self.fails(reset))

    def test_killed(self) -> None:
        """A tunnel that a kill cuts is counted, and opened again."""

        def kill(sock: socket.socket) -> None:
            sock.sendall(sock.recv(1))
            self.kills.generation += 1
            reset(sock)
            self.kills.generation += 1

        opened = self.opened(self.server(kill))
        self.assertTrue(self.again.wait(60))
        self.assertEqual((len(opened.stop()), opened.cut, self.told), (1, 1, []))

    def test_once_killed(self) -> None:
        """A kill does not excuse a tunnel that the next process has answered."""

        def live(sock: socket.socket) -> None:
            self.kills.generation = 2
            for _ in range(3):
                sock.sendall(sock.recv(1))

        self.kills.generation = 1
        self.assertRegex(self.fails(live), "it ended|reset")

    def test_refused(self) -> None:
        """A tunnel that cannot be opened is reported, and not tried again."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        opened = self.opened(port)
        self.assertEqual(opened.stop(), [])
        self.assertEqual((len(self.told), opened.count), (1, 0))
        self.assertIn("cannot be opened", self.told[0])


def other(sock: socket.socket) -> None:
    """Send a wrong byte."""
    sock.sendall(bytes([sock.recv(1)[0] ^ 1]))
    sock.recv(1)


def twice(sock: socket.socket) -> None:
    """Send two bytes."""
    sock.sendall(2 * sock.recv(1))
    sock.recv(1)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
