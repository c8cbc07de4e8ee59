"""Tests for sniproxy.inspector.format."""

import json

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.format import json_line, readable_line
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event, Value
from tests.inspector.inspecting import inspect
from tests.pulsar import streams

URLS: dict[str, Value] = {"broker_url": "pulsar://b:1", "broker_url_tls": "pulsar+ssl://b:2"}
NO_URLS: dict[str, Value] = {"broker_url": None, "broker_url_tls": None}
CONTROLLER: dict[str, Value] = {"controller_broker_url": "pulsar://b:1", "controller_broker_url_tls": None}
SEALED: dict[str, Value] = {
    "segments": [
        {"segment_id": 0, "segment_topic": "segment://a/b/t/0000-7fff-0", "sealed": True},
        {"segment_id": 1, "segment_topic": None, "sealed": False},
    ]
}
CONSUMER: dict[str, Value] = {
    "topic": "t",
    "subscription": "s",
    "consumer_id": 3,
    "consumer_name": "one",
    "consumer_type": "STREAM",
}
LEADERS: list[Value] = [
    {"tc_id": at, "broker_url": f"pulsar://b{at % 3}:1", "broker_url_tls": None} for at in (*range(0, 30, 3), 1, 2)
]


def said(name: str, **fields: Value) -> str:
    """The details in an event's line, after time, connection and name."""
    line = readable_line(Event(name, 1764000000.1235, "c1", fields))
    start = f"16:00:00.123  c1    {name:<11}  "
    assert line.startswith(start), line
    return line[len(start) :]


class JsonTests(SynchronousTestCase):
    """json_line."""

    def test_whole(self) -> None:
        """One line of JSON has all of an event, its name as `event`."""
        event = Event("lookup", 1.5, "c1", {"topic": 't"\n\u2028', "broker_url_tls": None})
        line = json_line(event)
        self.assertEqual(
            json.loads(line),
            {"event": "lookup", "time": 1.5, "connection": "c1", "topic": 't"\n\u2028', "broker_url_tls": None},
        )
        self.assertTrue(line.isprintable() and line.isascii())


class ReadableTests(SynchronousTestCase):
    """readable_line."""

    def test_lookup(self) -> None:
        """A lookup's line has the owner, the redirect or the error, and the latency."""
        fields: dict[str, Value] = {"topic": "t", "latency_s": 0.0031, "authoritative": True}
        there = "t -> pulsar://b:1 | pulsar+ssl://b:2 (authoritative, 3.1 ms)"
        self.assertEqual(said("lookup", response="connect", **fields, **URLS), there)
        self.assertEqual(said("lookup", response="redirect", topic=None, **NO_URLS), "(unknown topic) -> ask no URL")
        failed = said("lookup", response="failed", error="ServiceNotReady", message="m", topic="t", latency_s=1.5)
        self.assertEqual(failed, "t -> ServiceNotReady: m (1.50 s)")
        through = said("lookup", response="connect", topic="t", proxy_through_service_url=True, **URLS)
        self.assertIn("(through the service URL)", through)

    def test_others(self) -> None:
        """Each event in one short line."""
        for line, expected in (
            (
                said("connect", client_version="J", protocol_version=21, auth_method="token"),
                "J (protocol 21, auth token)",
            ),
            (said("connected", server_version="4.0", protocol_version=20), "4.0 (protocol 20)"),
            (said("partitions", topic="t", status="success", partitions=0), "t -> not partitioned"),
            (said("partitions", topic="t", status="success", partitions=4), "t -> 4 partitions"),
            (said("partitions", topic="t", status="failed", error=None), "t -> failed"),
            (said("producer", topic="t", status="queued"), "t -> queued"),
            (said("subscribe", topic="t", status="failed", subscription="s", error="E"), "t as s -> E"),
            (said("close", by="client", kind="producer", id=1, topic="t", **NO_URLS), "producer 1 of t, by the client"),
            (
                said("close", by="broker", kind="consumer", id=1, topic="t", **URLS),
                "consumer 1 of t, by the broker -> pulsar://b:1 | pulsar+ssl://b:2",
            ),
            (said("migrated", kind="consumer", id=1, topic="t", **NO_URLS), "consumer 1 of t -> no URL"),
            (said("moved", topic="t", from_url="a", to_url="b", source="lookup"), "t: a -> b (lookup)"),
            (said("error", request="SEEK", topic=None, error="E", message="m"), "SEEK -> E: m"),
            (said("error", request=None, topic=None, error="E", message="m"), "the connection -> E: m"),
            (
                said("scalable_topic", topic="t", status="success", segments_total=1, epoch=0),
                "t -> 1 segment (epoch 0, no controller yet)",
            ),
            (
                said("scalable_topic", topic="t", status="success", segments_total=2, epoch=1, **SEALED, **CONTROLLER),
                "t -> 2 segments (1 sealed, epoch 1, controller pulsar://b:1)",
            ),
            (
                said("scalable_subscribe", status="ready", latency_s=0.1, segments_total=2, **CONSUMER, **SEALED),
                "t as s, stream consumer 3 one -> 2 segments: 0000-7fff-0, 1 (100.0 ms)",
            ),
            (
                said("scalable_subscribe", status="failed", error="AuthorizationError", message="no", **CONSUMER),
                "t as s, stream consumer 3 one -> AuthorizationError: no",
            ),
            (
                said("assignment", topic=None, consumer_id=0, segments=[], segments_total=0),
                "(unknown topic), consumer 0 -> 0 segments",
            ),
            (said("scalable_unsubscribe", **CONSUMER), "t as s, stream consumer 3 one"),
            (
                said("split", topic="t", epoch=1, parents=[{"segment_id": 0}], children=[{"segment_id": 2}] * 9),
                f"t: 0 -> {'2, ' * 8}... (epoch 1)",
            ),
            (
                said("merged", topic="t", epoch=1, parents=[{"segment_id": 0}] * 2, children=[{"segment_id": 3}]),
                "t: 0, 0 -> 3 (epoch 1)",
            ),
            (
                said("coordinators", status="failed", error="ServiceNotReady", message="m", latency_s=0.1),
                "transaction coordinators -> ServiceNotReady: m (100.0 ms)",
            ),
            (said("scalable_topic", topic="t", status="failed", error="E"), "t -> E"),
            (
                said("coordinators", assignments_total=1, assignments=[{"tc_id": 3, **URLS}]),
                "1 assigned: 3 -> pulsar://b:1 | pulsar+ssl://b:2",
            ),
            (
                said("coordinators", assignments_total=12, assignments=LEADERS),
                f"12 assigned: {', '.join(map(str, range(0, 24, 3)))}, ... -> pulsar://b0:1; 1 -> pulsar://b1:1; ...",
            ),
            (
                said("ended", client_frames=2, client_bytes=100, broker_frames=3, broker_bytes=4700),
                "client 2 frames, 100 B; broker 3 frames, 4.7 kB",
            ),
            (said("gap", side="client", reason=None), "side=client"),
        ):
            self.assertEqual(line, expected)

    def test_colour(self) -> None:
        """Colour is optional and only around the name: failures are red, moves yellow."""
        for fields, shade in (({"response": "failed"}, "31"), ({"response": "connect"}, "32")):
            event = Event("lookup", 1.0, "c", {**fields})
            line = readable_line(event, colour=True)
            self.assertIn(f"\x1b[{shade}mlookup     \x1b[0m", line)
            self.assertNotIn("\x1b", readable_line(event))
        self.assertIn("\x1b[33m", readable_line(Event("moved", 1.0, "c", {}), colour=True))

    def test_any_time(self) -> None:
        """An impossible time gives a line without it."""
        for time in (-1e18, 1e300, float("nan"), float("inf")):
            self.assertTrue(readable_line(Event("gap", time, "c", {})).startswith("--:--"))

    def test_real_events(self) -> None:
        """Events of recorded connections are one short line each."""
        ledger = Ledger()
        for name in streams.NAMES:
            for event in inspect(name):
                for each in (event, *ledger.learn(event)):
                    self.assertLess(len(readable_line(each)), 220)
                    self.assertEqual(json.loads(json_line(each))["event"], each.name)
