"""Both ends of the soak test's tunnels: each checks every byte that it receives."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from bench.soakload import KINDS, PERIOD, Cut, Lost, Plan, Tunnel, client_hello, run_client, run_server
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader

HELLO = client_hello("broker-1.pulsar.test")


class Pair:
    """A server end on its own port, and a function of the test between the two ends."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self._case = case
        self.failure: Exception | None = None

    def run(self, plan: Plan, between: Callable[[bytes], bytes] | None = None) -> Tunnel:
        """Run the client's end. ``between``: changes the server's bytes."""
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as middle:
            port = listening.getsockname()[1]
            threads = [Thread(target=self._serve, args=(listening,))]
            if between is not None:
                threads.append(Thread(target=self._pass_on, args=(middle, port, between)))
                port = middle.getsockname()[1]
            for thread in threads:
                thread.start()
            try:
                return run_client(port, HELLO, plan)
            finally:
                for thread in threads:
                    thread.join()

    def _serve(self, listening: socket.socket) -> None:
        sock, _ = listening.accept()
        with sock:
            try:
                run_server(sock, len(HELLO))
            except (Lost, Cut) as error:
                self.failure = error

    def _pass_on(self, listening: socket.socket, port: int, between: Callable[[bytes], bytes]) -> None:
        client, _ = listening.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            up = b""
            while more := client.recv(65536):
                up += more
            server.sendall(up)
            server.shutdown(socket.SHUT_WR)
            down = b""
            while more := server.recv(65536):
                down += more
            client.sendall(between(down))


class TunnelTests(SynchronousTestCase):
    """Both ends without a proxy."""

    def test_kinds(self) -> None:
        """Each kind ends as planned, and counts written and read bytes."""
        for kind in KINDS:
            pair = Pair(self)
            plan = Plan(kind, 7, 20, 60)
            tunnel = pair.run(plan)
            self.assertIsNone(pair.failure, kind)
            self.assertEqual(tunnel.whole, not kind.endswith("resets"), kind)
            if kind in ("both", "reply", "server_first", "slow"):
                self.assertEqual((tunnel.up - len(HELLO) - len(plan.pack()), tunnel.down), (20, 60), kind)
            self.assertGreater(tunnel.up, len(HELLO), kind)

    def test_large(self) -> None:
        """Streams longer than the period pass in both directions at once."""
        pair = Pair(self)
        tunnel = pair.run(Plan("both", 2**32 - 1, 3 * PERIOD, 2 * PERIOD + 1))
        self.assertIsNone(pair.failure)
        self.assertEqual(tunnel.down, 2 * PERIOD + 1)

    def test_changed(self) -> None:
        """A changed byte is reported with its position."""
        change = lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:]  # noqa: E731
        error = self.assertRaises(Lost, Pair(self).run, Plan("reply", 3, 10, 1000), change)
        self.assertRegex(str(error), "are not those that were sent: from 500 on they are .* which nobody sends")

    def test_skipped(self) -> None:
        """Missing bytes are reported with their number."""
        error = self.assertRaises(
            Lost, Pair(self).run, Plan("reply", 3, 10, 1000), lambda data: data[:500] + data[507:]
        )
        self.assertIn("from 500 on they are those that belong 7 bytes behind, or 1048566 before", str(error))

    def test_missing(self) -> None:
        """A missing byte and an additional byte are reported."""
        for kind, change in (
            (Lost, lambda data: data[:500] + data[501:]),
            (Cut, lambda data: data[:-1]),
            (Lost, lambda data: data + b"x"),
        ):
            self.assertRaises(kind, Pair(self).run, Plan("reply", 3, 10, 1000), change)

    def test_end_for_reset(self) -> None:
        """A reset that arrives as a FIN is reported."""
        sock, other = socket.socketpair()
        with sock, other:
            other.sendall(HELLO + Plan("client_resets", 3, 0, 0).pack())
            other.shutdown(socket.SHUT_WR)
            error = self.assertRaises(Cut, run_server, sock, len(HELLO))
        self.assertIn("in place of a reset", str(error))


class PlanTests(SynchronousTestCase):
    """Random plans."""

    def test_draw(self) -> None:
        """All kinds occur, a seed repeats its plans, and no tunnel takes minutes."""
        plans = [Plan.draw(chance) for chance in [random.Random(1)] for _ in range(400)]
        again = [Plan.draw(chance) for chance in [random.Random(1)] for _ in range(400)]
        self.assertEqual(plans, again)
        self.assertEqual({plan.kind for plan in plans}, set(KINDS))
        self.assertTrue(all(0 < plan.up <= 1 << 23 and 0 < plan.down <= 1 << 23 for plan in plans))
        self.assertTrue(all(plan.down <= 256 for plan in plans if plan.kind == "idle"))

    def test_hello(self) -> None:
        """The hello is valid, and has the name."""
        outcome = ClientHelloReader().feed(HELLO)
        assert isinstance(outcome, ClientHello), outcome
        self.assertEqual(outcome.server_name, "broker-1.pulsar.test")
