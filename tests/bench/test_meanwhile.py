"""An echo beside other work of the proxy."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.cases import QUICK, TestBed
from bench.childprocess import SKIPPED, LoadError
from bench.clients import Destination
from bench.meanwhile import Probe, meanwhile, reload, turn, with_omitted
from bench.peers import PEERS
from bench.targets import Target, client_hello

SHORT = evolve(QUICK, seconds=0.02, starts=(10,), beside=2)


class ProbeTests(SynchronousTestCase):
    """The echo."""

    def test_figures(self) -> None:
        """It echoes until its end, and returns percentiles and the longest turn."""
        hello = client_hello("echo.bench.test")
        target = Target("echo", len(hello))
        self.addCleanup(target.stop)
        probe = Probe(Destination(target.port, hello, ()))
        self.addCleanup(probe.stop)
        probe.begin()
        with Destination(target.port, hello, ()).connect() as sock:
            for _ in range(10):
                turn(sock)
        found = probe.end()
        self.assertEqual(list(found), ["p50, ms", "p99, ms", "longest, ms"])
        self.assertLessEqual(found["p50, ms"], found["longest, ms"])

    def test_ends(self) -> None:
        """A connection that ends is a failure."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
            error = self.assertRaises(LoadError, Probe, Destination(listening.getsockname()[1], b"hello", ()))
            self.assertIn("the echo did not start", str(error))

    def test_omitted(self) -> None:
        """A long turn counts as each message that was due meanwhile."""
        self.assertEqual(with_omitted([1.0, 1.0, 1.0]), [1.0, 1.0, 1.0])
        self.assertEqual(with_omitted([1.0, 4.0, 1.0]), [1.0, 4.0, 1.0, 3.0, 2.0, 1.0])


class MeanwhileTests(SynchronousTestCase):
    """The cases."""

    def test_works(self) -> None:
        """Each work has figures, and so has the reload."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            found = meanwhile(bed, PEERS["ours"], SHORT)
            works = ("nothing", "/metrics", "/status", "collector", "inspected client", "blocking plugin")
            self.assertEqual(list(dict.fromkeys(figure.partition(": ")[0] for figure in found)), list(works))
            self.assertGreater(min(found.values()), 0)
            found = reload(bed, PEERS["ours"], SHORT)
            figures = ["p50, ms", "p99, ms", "longest, ms", "s"]
            self.assertEqual(list(found), [f"10 routes: {figure}" for figure in figures])

    def test_ours(self) -> None:
        """They are skipped for other proxies."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            for case in (meanwhile, reload):
                error = self.assertRaises(LoadError, case, bed, PEERS["haproxy"], SHORT)
                self.assertTrue(str(error).startswith(SKIPPED), error)
