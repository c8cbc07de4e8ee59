"""Descriptions of faults."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.fault import Fault, fault_values, fault_warnings


class FaultTests(SynchronousTestCase):
    """One fault."""

    def test_trigger(self) -> None:
        """The trigger has all conditions."""
        one = Fault(
            "a",
            "drop",
            "public",
            "PING",
            18,
            "client",
            "persistent://t/n/x",
            "*.b.test",
            nth=3,
            most=2,
            probability=0.5,
        )
        self.assertEqual(
            "PING from the client, of persistent://t/n/x, to *.b.test, on public, from number 3 on, at most 2 times, "
            "with probability 0.5",
            one.trigger,
        )
        self.assertEqual("CONNECTED", Fault("a", "drop", command="CONNECTED", number=3).trigger)
        self.assertEqual("0 bytes from the broker", Fault("a", "stop", sender="broker").trigger)
        self.assertEqual("9 bytes from the client", Fault("a", "stop", sender="client", after_bytes=9).trigger)
        self.assertEqual("1.5 s of a connection", Fault("a", "stop", sender="client", after_seconds=1.5).trigger)

    def test_values(self) -> None:
        """The values have the names of the keys, without those that are absent."""
        one = Fault("a", "delay", None, "PING", 18, "client", seconds=2.0)
        expected = {"name": "a", "action": "delay", "on": "PING", "from": "client", "times": 0, "seconds": 2.0}
        self.assertEqual(expected, fault_values(one))
        more = Fault("a", "redirect", connect=True, url="pulsar://a:1", error="x", rate=1.0)
        self.assertEqual("connect", fault_values(more)["response"])

    def test_warnings(self) -> None:
        """There is one warning about all faults; it names the first."""
        self.assertEqual([], fault_warnings([]))
        (one,) = fault_warnings([Fault("a", "drop")])
        self.assertTrue(one.startswith("a fault on purpose is configured: a (drop): only for tests"), one)
        (many,) = fault_warnings([Fault(f"f{number}", "cut") for number in range(6)])
        self.assertTrue(many.startswith("6 faults on purpose are configured: f0 (cut), f1"), many)
        self.assertIn("f4 (cut), ...: only", many)
