"""The benchmark with real Pulsar, without Pulsar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.pulsar import NAMES, SIZES, Brokers, measure, run


class Said:
    """Replaces the brokers, and returns a client's results."""

    routes: Mapping[str, int] = {"broker-1.pulsar.test": 6651}

    def __init__(self, error: str | None = None) -> None:
        self.asked: list[int | None] = []
        self.error = error

    def produce(self, proxy: int | None, size: int, pace: int, seconds: float) -> Mapping[str, Any]:
        """Return a result, or fail runs through a proxy."""
        self.asked.append(proxy)
        if proxy is not None and self.error:
            raise LoadError(self.error)
        return {"messages/s": size, "p50, ms": 1, "p99, ms": 2, "sent": 10, "topic": "t"}


class MeasureTests(SynchronousTestCase):
    """Measuring in turn."""

    def test_direct(self) -> None:
        """Without a proxy there are rate and latency."""
        brokers = Said()
        found = run(cast(Brokers, brokers), "direct", "1 kB", 1.0, {})
        self.assertEqual(found, {"messages/s": 1_000.0, "p50, ms": 1.0, "p99, ms": 2.0})
        self.assertEqual(brokers.asked, [None])

    def test_proxy(self) -> None:
        """Through a proxy there is its CPU time too."""
        brokers = Said()
        found = run(cast(Brokers, brokers), "ours", "100 kB", 1.0, {})
        self.assertIn("proxy CPU, µs/message", found)
        self.assertNotIn(None, brokers.asked)

    def test_measure(self) -> None:
        """A failed peer is not measured again, and has the reason."""
        result = measure(cast(Brokers, Said("it ended")), "1 kB", 2, 1.0)
        self.assertEqual(list(result.peers), list(NAMES))
        self.assertEqual(result.peers["ours"].failed, "it ended")
        self.assertEqual(result.peers["direct"].figures["p99, ms"], [2.0, 2.0])
        self.assertEqual(list(SIZES), ["1 kB", "100 kB"])
