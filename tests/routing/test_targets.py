"""Tests for sniproxy.routing.targets."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.routing.targets import BadTarget, Turns, parse_target, parse_weighted


class ParseTargetTests(SynchronousTestCase):
    """parse_target: the text of a target."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadTarget, parse_target, text))

    def test_forms(self) -> None:
        """Host, address, scheme and port are read in all documented forms."""
        for text, host, port in (
            ("broker-1.test:6652", "broker-1.test", 6652),
            ("Broker-1.Test.:6652", "broker-1.test", 6652),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[2001:db8::7]:6651", "2001:db8::7", 6651),
            ("[2001:DB8::0007]:7000", "2001:db8::7", 7000),
            ("pulsar+ssl://broker-1.test:6652", "broker-1.test", 6652),
            ("PULSAR+SSL://broker-1.test:6652/", "broker-1.test", 6652),
            ("pulsar+ssl://[::1]:6652", "::1", 6652),
            ("  broker-1.test:6652 ", "broker-1.test", 6652),
            ("localhost:6652", "localhost", 6652),
        ):
            self.assertEqual(parse_target(text), Target(host, port), text)

    @given(st.from_regex(r"[a-z0-9_.-]{1,70}:[0-9]{1,6}\n?", fullmatch=True) | st.text("a.:0165,/[] ", max_size=12))
    @example("a" * 64 + ":1")
    @example(("a" * 62 + ".") * 4 + "a:1")
    @example(("a" * 62 + ".") * 4 + "aa:1")
    def test_as_most_are_written(self, text: str) -> None:
        """The fast path for a plain host and port gives the same result as the general parser.

        A text with a leading blank takes the general parser, which ignores the blank.
        """
        try:
            wanted = parse_target(f" {text}")
        except BadTarget as error:
            self.assertEqual(str(error), self.refused(text))
        else:
            self.assertEqual(wanted, parse_target(text))

    def test_default_port(self) -> None:
        """The default port is 6651, Pulsar's port for TLS."""
        for text, host in (
            ("broker-1.test", "broker-1.test"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("pulsar+ssl://broker-1.test/", "broker-1.test"),
        ):
            self.assertEqual(parse_target(text), Target(host, 6651), text)

    def test_schemes(self) -> None:
        """Another scheme is refused; the message has the right one."""
        for text in ("pulsar://broker:6650", "https://broker:443", "://broker"):
            self.assertIn("pulsar+ssl://host:port", self.refused(text))

    def test_several_in_one_text(self) -> None:
        """Several targets in one text are refused; the message has the list to write."""
        self.assertIn('target = ["a:6651", "b:6651"]', self.refused("10.0.0.7:6651,10.0.0.8:6651"))

    def test_ports(self) -> None:
        """A port is a number from 1 to 65535."""
        for port in ("0", "65536", "-1", "+1", "x", "", " 1", "6_651", "99999", "0000000099999", "\u0661", "9" * 5000):
            self.assertIn("bad port", self.refused(f"a.test:{port}"))

    def test_hosts(self) -> None:
        """A host is a server name or an address."""
        for text in (
            "",
            ":6651",
            "a b:1",
            "*.test:1",
            "a/b",
            "[a b]:1",
            "a..b",
            "pulsar+ssl://",
            "pulsar+ssl://a.test:1/x",
        ):
            self.refused(text)
        self.assertIn("bad host", self.refused("a b:1"))

    def test_brackets(self) -> None:
        """Brackets around an IPv6 address are closed, and only a port may follow them."""
        for text in ("[::1", "[::1]6651", "[::1]/"):
            self.assertIn("[2001:db8::7]:6651", self.refused(text))


class ParseWeightedTests(SynchronousTestCase):
    """parse_weighted: a target with a weight."""

    def test_forms(self) -> None:
        """A weight follows any form of target, after white space; the default is 1."""
        for text, target in (
            ("a.test:1 weight=2", Target("a.test", 1, 2)),
            ("a.test\t weight=0", Target("a.test", 6651, 0)),
            (" pulsar+ssl://[::1]:7/ weight=65535 ", Target("::1", 7, 65535)),
            ("weight.test:1", Target("weight.test", 1)),
            ("a.test:1", Target("a.test", 1)),
        ):
            self.assertEqual(target, parse_weighted(text), text)

    def test_bad_weights(self) -> None:
        """A weight is a bounded integer, written once, after a target."""
        for weight in ("", "x", "-1", "1.5", "65536", "1 weight=2", "\u0661", "9" * 5000):
            self.assertIn("bad weight", str(self.assertRaises(BadTarget, parse_weighted, f"a.test:1 weight={weight}")))
        self.assertIn("a list", str(self.assertRaises(BadTarget, parse_weighted, "a weight=2, b")))
        for text in ("weight=2", " weight=2", "a.test weight 2", "a.testweight=2", "a b weight=2"):
            self.assertRaises(BadTarget, parse_weighted, text)

    def test_plain(self) -> None:
        """A single target may not have a weight."""
        self.assertRaises(BadTarget, parse_target, "a.test:1 weight=2")


A, B, C = Target("a", 1), Target("b", 1), Target("c", 1)


class TurnsTests(SynchronousTestCase):
    """Turns: round robin by weight."""

    def test_round_robin(self) -> None:
        """Each call advances the turn; the other targets follow in order."""
        turns = Turns()
        orders = [turns.order([A, B, C]) for _ in range(4)]
        self.assertEqual(orders, [[A, B, C], [B, C, A], [C, A, B], [A, B, C]])

    def test_one(self) -> None:
        """A single target is always first, whatever its weight."""
        for weight in (0, 1, 5):
            target = Target("a", 1, weight)
            self.assertEqual(Turns().order([target]), [target])

    def test_weights(self) -> None:
        """Targets are first in proportion to their weights."""
        heavy, light = Target("a", 1, 3), Target("b", 1, 1)
        turns = Turns()
        self.assertEqual(Counter(turns.order([heavy, light])[0] for _ in range(40)), {heavy: 30, light: 10})

    def test_spare(self) -> None:
        """Targets of weight 0 come last, as backups."""
        spare = Target("s", 1, 0)
        turns = Turns()
        orders = [turns.order([spare, A, B]) for _ in range(2)]
        self.assertEqual(orders, [[A, B, spare], [B, A, spare]])

    def test_only_spares(self) -> None:
        """If all weights are 0, all targets are dialled in order."""
        spares = [Target("s", 1, 0), Target("t", 1, 0)]
        self.assertEqual(Turns().order(spares), spares)

    def test_changing_targets(self) -> None:
        """The targets may change between calls; each appears exactly once."""
        turns = Turns()
        for targets in ([A, B, C], [A, B], [C], [B, C], [A, B, C]):
            self.assertEqual(sorted(map(str, turns.order(targets))), sorted(map(str, targets)))
