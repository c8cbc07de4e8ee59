"""C{[[fault]]} tables."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.fault import Fault
from sniproxy.config.faults import ACTIONS, MAX_FAULTS, fault_entry, make_fault
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError, FaultEntry
from sniproxy.interfaces import BadValue

LISTENERS = {"tls": False, "plain": True}
PLAIN = '[[listener]]\nendpoint = "tcp:4443"\nplaintext = true\ntarget = "127.0.0.1:1"\n'


def made(**values: Any) -> Fault:
    """A fault of these values."""
    return make_fault(FaultEntry(**values), LISTENERS, ())


class FaultsTests(SynchronousTestCase):
    """Checks of one table."""

    def bad(self, key: str, cure: str, **values: Any) -> None:
        """The table has an error."""
        with self.assertRaises(BadValue) as raised:
            made(**values)
        self.assertEqual(key, raised.exception.key, str(raised.exception))
        self.assertIn(cure, str(raised.exception))

    def test_made(self) -> None:
        """A table becomes a fault; without times, a fault with nth applies once."""
        one = made(action="delay", on="LOOKUP_RESPONSE", topic="orders", nth=3, seconds=2, server_name="*.B.test")
        self.assertEqual(
            ("fault-1", "LOOKUP_RESPONSE", 24, 3, 1), (one.name, one.command, one.number, one.nth, one.most)
        )
        self.assertEqual(("persistent://public/default/orders", "*.b.test"), (one.topic, one.server_name))
        self.assertEqual(
            (0, 2), (made(action="cut", on="PING").most, made(action="cut", on="PING", nth=1, times=2).most)
        )
        self.assertEqual("broker", made(action="cut").sender)
        self.assertEqual("client", made(action="error", error="ChecksumError", on="CLOSE_PRODUCER").sender)
        self.assertEqual("pulsar://a.test:6650", made(action="migrate", url="pulsar://a.test", on="SEND").url)
        self.assertTrue(made(action="redirect", url="pulsar://a.test", response="connect", on="LOOKUP").connect)

    def test_names(self) -> None:
        """Names are unique; the default is the first free number."""
        self.assertEqual("fault-2", make_fault(FaultEntry("cut"), LISTENERS, {"fault-1"}).name)
        with self.assertRaises(BadValue):
            make_fault(FaultEntry("cut", name="a"), LISTENERS, {"a"})
        with self.assertRaises(BadValue):
            make_fault(FaultEntry("cut"), LISTENERS, {str(number) for number in range(MAX_FAULTS)})
        self.bad("name", "printable", action="cut", name="\n")

    def test_actions(self) -> None:
        """Each action has its keys."""
        self.bad("action", "write one of delay, reset", action="explode")
        self.bad("seconds", "write seconds = 2.5", action="delay", on="PING")
        self.bad("rate", "write rate = 1000", action="rate")
        self.bad("url", "has no such key", action="cut", url="pulsar://a")
        self.bad("url", "", action="migrate", on="SEND", url="http://a")
        self.bad("url", "one host", action="migrate", on="SEND", url="pulsar://a,b")
        self.bad("error", "ServiceNotReady", action="error", on="LOOKUP", error="Tired")
        self.bad("response", "redirect", action="redirect", on="LOOKUP", url="pulsar://a", response="maybe")

    def test_triggers(self) -> None:
        """Conditions that cannot be met are errors."""
        self.bad("from", "client", action="cut", sender="me")
        self.bad("from", "only the broker sends CONNECTED", action="cut", on="CONNECTED", sender="client")
        self.bad("from", "has no answer", action="error", error="ChecksumError", on="CLOSE_PRODUCER", sender="broker")
        self.bad("after_seconds", "either", action="cut", after_bytes=1, after_seconds=1.0)
        self.bad("after_bytes", "only without on", action="cut", after_bytes=1, on="PING")
        self.bad("on", "PulsarApi.proto", action="cut", on="LOOKUPS")
        self.bad("on", 'as in on = "ACK"', action="drop")
        self.bad("on", "write ACK, ACK_RESPONSE", action="close_consumer", on="SEND")
        self.bad("topic", "concerns no topic", action="cut", on="PING", topic="a")
        self.bad("topic", "only for commands", action="cut", topic="a")
        self.bad("server_name", "", action="cut", server_name="a..b")
        self.bad("nth", "from 1", action="cut", nth=0)
        self.bad("probability", "to 1", action="cut", probability=1.5)
        self.bad("seconds", "to 86400", action="delay", seconds=float("nan"))

    def test_listeners(self) -> None:
        """Commands need a listener where the proxy sees them."""
        self.bad("listener", "listeners: tls, plain", action="cut", listener="other")
        self.bad("on", "after_bytes", action="cut", on="PING", listener="tls")
        self.assertEqual("plain", made(action="cut", on="PING", listener="plain").listener)
        self.assertEqual("tls", made(action="cut", listener="tls").listener)
        with self.assertRaises(BadValue):
            make_fault(FaultEntry("cut", on="PING"), {"tls": False}, ())

    def test_entry(self) -> None:
        """The texts of a command line become an entry."""
        entry = fault_entry({"action": "cut", "from": "client", "nth": "3", "probability": "0.5"})
        self.assertEqual(FaultEntry("cut", sender="client", nth=3, probability=0.5), entry)
        for values in ({"action": "cut", "nth": "x"}, {"action": "cut", "who": "x"}, {"nth": "1"}):
            self.assertRaises(BadValue, fault_entry, values)

    @given(st.dictionaries(st.sampled_from(FaultEntry.__struct_encode_fields__), st.text(max_size=8) | st.sampled_from(
        [*ACTIONS, "PING", "SEND", "LOOKUP", "1", "0.5", "client", "pulsar://a.test"]
    )))  # fmt: skip
    def test_any(self, values: dict[str, str]) -> None:
        """Any texts make a fault, or an error with a key and a cure."""
        try:
            make_fault(fault_entry(values), LISTENERS, ())
        except BadValue as error:
            self.assertTrue(error.key and str(error))


class FileTests(SynchronousTestCase):
    """Faults of a file."""

    def test_file(self) -> None:
        """Faults keep their order, and are a warning."""
        text = PLAIN + '[[fault]]\naction = "drop"\non = "PONG"\n[[fault]]\naction = "stop"\nafter_bytes = 5\n'
        found = parse(text, "a.toml")
        self.assertEqual([("fault-1", "drop"), ("fault-2", "stop")], [(one.name, one.action) for one in found.faults])
        self.assertIn("2 faults on purpose are configured", found.notes[0])
        self.assertNotIn("workers", found.notes[0])
        note = "fault-1 (drop), fault-2 (stop); each of 3 workers counts for itself: only for tests"
        self.assertIn(note, " ".join(parse(f"workers = 3\n{text}", "a.toml").notes))

    def test_errors(self) -> None:
        """An error names file, line, key, value and cure."""
        for more, expected in (
            ('[[fault]]\naction = "drop"\non = "PUNG"\n', 'fault[0].on = "PUNG": it is no type'),
            ('[[fault]]\non = "PONG"\n', 'fault[0].action: missing; write action = "reset"'),
            ('[[fault]]\naction = "cut"\nform = "client"\n', "from"),
        ):
            with self.assertRaises(ConfigError) as raised:
                parse(PLAIN + more, "a.toml")
            self.assertIn(expected, str(raised.exception))
