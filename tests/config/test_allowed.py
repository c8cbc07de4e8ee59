"""The brokers that a bridge may dial."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.allowed import MAX_NAMED, Allowing, parse_allowed
from sniproxy.interfaces import BadValue

BROKER = ("broker-1.pulsar.test", 6651)


class AllowingTests(SynchronousTestCase):
    """Allowing, and the patterns of allow."""

    def test_written(self) -> None:
        """Host and port must both match; a wildcard matches names below a name, not the name itself."""
        for text, broker, good in (
            ("*.pulsar.test:6651", BROKER, True),
            ("*.pulsar.test", BROKER, True),
            ("*.PULSAR.test.:6651", BROKER, True),
            ("broker-1.pulsar.test:6651", BROKER, True),
            ("*.pulsar.test:6652", BROKER, False),
            ("pulsar.test:6651", BROKER, False),
            ("*.pulsar.test:6651", ("pulsar.test", 6651), False),
            ("*.pulsar.test:6651", ("evilpulsar.test", 6651), False),
            ("*.pulsar.test:6651", ("x.pulsar.test.evil.test", 6651), False),
        ):
            why = Allowing([parse_allowed(text)]).denies(broker)
            self.assertEqual(good, why is None, (text, broker))

    def test_what_is_written_counts(self) -> None:
        """With allow, brokers that answers name are not added."""
        allowing = Allowing([parse_allowed("*.other.test")])
        allowing.record_named(BROKER)
        self.assertIn("it is not in the bridge's allow list", allowing.denies(BROKER) or "")

    def test_named(self) -> None:
        """Without allow, the hosts and ports that answers name are allowed."""
        allowing = Allowing(None)
        self.assertIn("no answer through this bridge has named it", allowing.denies(BROKER) or "")
        allowing.record_named(BROKER)
        self.assertIsNone(allowing.denies(BROKER))
        self.assertIsNotNone(allowing.denies((BROKER[0], 6650)))

    def test_bounded(self) -> None:
        """The number of named brokers is bounded; the oldest are dropped."""
        allowing = Allowing(None)
        for number in range(MAX_NAMED + 1):
            allowing.record_named((f"b-{number}.test", 6651))
        self.assertIsNotNone(allowing.denies(("b-0.test", 6651)))
        self.assertIsNone(allowing.denies((f"b-{MAX_NAMED}.test", 6651)))

    def test_bad(self) -> None:
        """The error for an invalid pattern has the cure."""
        for text in ("", "*", "a b:1", "*.x.test:port", "*.10.0.0.7:1", "x*.test"):
            self.assertIn("as in *.pulsar.example.com:6651", str(self.assertRaises(BadValue, parse_allowed, text)))
