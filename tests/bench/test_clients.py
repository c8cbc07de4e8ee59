"""The clients of the data path benchmark, without a proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.clients import Destination, Sample, bulk, checked, echo, echoes, idle, refused, tunnels
from bench.measure import family
from bench.targets import KINDS, Target

HELLO = b"hello"
SHORT = 0.05


class ClientTests(SynchronousTestCase):
    """Figures and detected faults."""

    def destination(self, kind: str) -> Destination:
        """The destination of a new target."""
        target = Target(kind, len(HELLO))
        self.addCleanup(target.stop)
        return Destination(target.port, HELLO, ())

    def bad(self, serve: Callable[[socket.socket], None]) -> Destination:
        """The destination of a server that runs a function on its only connection."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def run() -> None:
            sock, _ = listening.accept()
            with sock:
                serve(sock)

        thread = Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return Destination(listening.getsockname()[1], HELLO, ())

    def figures(self, sample: Sample, *names: str) -> None:
        """Assert the names of the figures, and that none is negative."""
        self.assertEqual(sorted(sample), sorted(names))
        self.assertGreaterEqual(min(sample.values()), 0)

    def test_bulk(self) -> None:
        """Bulk gives rate and cost, with one stream and with several."""
        destination = self.destination("sink")
        for streams in (1, 4):
            sample = bulk(destination, SHORT, streams)
            self.figures(sample, "MB/s", "system CPU, s/GB")
            self.assertGreater(sample["MB/s"], 0)

    def test_echo(self) -> None:
        """An echo gives its median and 99th percentile."""
        sample = echo(self.destination("echo"), SHORT)
        self.figures(sample, "p50, µs", "p99, µs", "system CPU, µs")
        self.assertLessEqual(sample["p50, µs"], sample["p99, µs"])

    def test_slow_machine(self) -> None:
        """Each rate is of one message or tunnel at least, also if none ends in time."""
        self.assertGreater(echo(self.destination("echo"), 0)["p99, µs"], 0)
        self.assertGreater(echoes(self.destination("echo"), 0, 1)["messages/s"], 0)
        self.assertGreater(tunnels(self.destination("first"), 0, 1)["tunnels/s"], 0)

    def test_echoes(self) -> None:
        """Several connections give messages per second."""
        sample = echoes(self.destination("echo"), SHORT, 4)
        self.figures(sample, "messages/s", "system CPU, µs")
        self.assertGreater(sample["messages/s"], 0)

    def test_tunnels(self) -> None:
        """Tunnels give their rate."""
        sample = tunnels(self.destination("first"), SHORT, 4)
        self.figures(sample, "tunnels/s", "system CPU, µs")
        self.assertGreater(sample["tunnels/s"], 0)

    def test_refused(self) -> None:
        """A client that is not refused is an error."""
        error = self.assertRaises(LoadError, refused, self.destination("first"), SHORT, 2)
        self.assertIn("was served", str(error))

    def test_idle(self) -> None:
        """Idle tunnels give memory and CPU; an active tunnel adds its echo."""
        target, talked_to = Target("first", len(HELLO)), self.destination("echo")
        self.addCleanup(target.stop)
        pids = family(target._process.pid or 0)
        sample = idle(Destination(target.port, HELLO, pids), SHORT, 200, talked_to)
        self.assertLessEqual({"KiB each", "idle CPU, ms/s", "p50, µs"}, set(sample))
        self.assertNotIn("p50, µs", idle(Destination(target.port, HELLO, pids), SHORT, 2))

    def test_proxy(self) -> None:
        """CPU time of a proxy's processes is a figure of its own."""
        target = Target("echo", len(HELLO))
        self.addCleanup(target.stop)
        sample = echo(Destination(target.port, HELLO, family(target._process.pid or 0)), SHORT)
        self.assertGreater(sample["proxy CPU, µs"], 0)

    def test_checked(self) -> None:
        """A correct transfer gives no figure and no error."""
        self.assertEqual(checked(self.destination("digest"), 1_000_000), {})

    def test_lost(self) -> None:
        """A FIN in place of an answer after the client's FIN is an error."""

        def cut(sock: socket.socket) -> None:
            while sock.recv(65_536):
                pass

        for run in (partial(checked, size=10), partial(bulk, seconds=SHORT, streams=1)):
            error = self.assertRaises(LoadError, run, self.bad(cut))
            self.assertIn("are missing", str(error))

    def test_changed(self) -> None:
        """A wrong digest and lost bytes are errors."""

        def answer(sock: socket.socket) -> None:
            while sock.recv(65_536):
                pass
            sock.sendall(bytes(32))
            sock.sendall(bytes(4_000_000))

        def lose(sock: socket.socket) -> None:
            while sock.recv(65_536):
                pass
            sock.sendall((7).to_bytes(8, "big"))

        self.assertIn("other bytes", str(self.assertRaises(LoadError, checked, self.bad(answer), 10)))
        self.assertIn("were lost", str(self.assertRaises(LoadError, bulk, self.bad(lose), SHORT, 1)))

    def test_ends(self) -> None:
        """A tunnel that ends without its byte, and an echo that ends, are errors."""
        for run in (partial(tunnels, at_once=1), echo):
            error = self.assertRaises(LoadError, run, self.bad(lambda sock: None), SHORT)
            self.assertRegex(str(error), "ended|reset|pipe")

    def test_kinds(self) -> None:
        """There is a client for each kind of target here."""
        self.assertEqual(len(KINDS), 4)
