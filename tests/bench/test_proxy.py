"""The measured proxy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.inspector import INSPECTED, LISTENER
from bench.load import Broker, send
from bench.proxy import Proxy
from bench.traffic import produce


class ProxyTests(SynchronousTestCase):
    """In a process of its own."""

    def test_through(self) -> None:
        """Traffic passes with each relay and inspected, and uses its CPU time."""
        traffic = produce(1_000, cycle=100_000)
        broker = Broker(traffic)
        self.addCleanup(broker.stop)
        for relay, more in (("python", ""), ("auto", ""), ("python", INSPECTED)):
            proxy = Proxy(LISTENER.format(name="x", port=broker.port) + more, relay)
            self.addCleanup(proxy.stop)
            before = proxy.cpu
            sent = send(traffic, 2, proxy.ports["x"])
            self.assertEqual(sent.frames, traffic.frames_in(2))
            self.assertGreater(proxy.cpu, before)
