"""Tests for sniproxy.inspector.revealing: events with and without reveal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.format import json_line, readable_line
from sniproxy.inspector.inspection import Inspection
from sniproxy.inspector.revealing import MAX_PROPERTIES
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.events import Event
from sniproxy.util.text import MAX_TEXT_CHARS

PAIRS = [pb.KeyValue(key="team", value="audit"), pb.KeyValue(key="a\nb", value="x" * 5000)]
LOOKUP = pb.CommandLookupTopic(topic="t", request_id=1, properties=PAIRS)
EXCHANGES = (
    (LOOKUP, pb.CommandLookupTopicResponse(request_id=1, response=pb.CommandLookupTopicResponse.Connect)),
    (
        pb.CommandProducer(topic="t", producer_id=1, request_id=2, metadata=PAIRS),
        pb.CommandProducerSuccess(request_id=2, producer_name="p"),
    ),
    (
        pb.CommandSubscribe(
            topic="t", subscription="s", consumer_id=1, request_id=3, metadata=PAIRS, subscription_properties=PAIRS
        ),
        pb.CommandSuccess(request_id=3),
    ),
    (
        pb.CommandGetTopicsOfNamespace(request_id=4, namespace="a/b", properties=PAIRS),
        pb.CommandGetTopicsOfNamespaceResponse(request_id=4),
    ),
)
CONNECT = pb.CommandConnect(client_version="c", original_principal="alice", original_auth_method="tls")
NAMES = ("properties", "subscription_properties", "original_principal", "original_auth_method")


def told(reveal: bool) -> list[Event]:
    """The events of all exchanges."""
    inspection = Inspection("c", reveal=reveal)
    events = inspection.client(write(CONNECT), 1.0)
    for question, answer in EXCHANGES:
        events += [*inspection.client(write(question), 1.0), *inspection.broker(write(answer), 1.0)]
    return events


class RevealingTests(SynchronousTestCase):
    """Principals and properties."""

    def test_revealed(self) -> None:
        """With reveal, events and readable lines have them, bounded and escaped."""
        events = told(True)
        self.assertEqual([e.name for e in events], ["connect", "lookup", "producer", "subscribe", "topics"])
        found = {event.name: event.fields for event in events}
        self.assertEqual((found["connect"]["original_principal"], found["connect"]["original_auth_method"]),
                         ("alice", "tls"))  # fmt: skip
        self.assertIn("for alice", readable_line(events[0]))
        for fields in (found[name] for name in ("lookup", "producer", "subscribe", "topics")):
            self.assertEqual(fields["properties"], {"team": "audit", "a\\nb": "x" * (MAX_TEXT_CHARS - 3) + "..."})
        self.assertEqual(found["subscribe"]["subscription_properties"], found["subscribe"]["properties"])
        for event in events[1:]:
            self.assertIn("audit", readable_line(event), event.name)

    def test_struck_out(self) -> None:
        """Without reveal, the fields are None."""
        for event in told(False):
            self.assertNotRegex(json_line(event) + readable_line(event), "audit|team|alice")
            fields = [name for name in NAMES if name in event.fields]
            self.assertTrue(fields)
            self.assertEqual([event.fields[name] for name in fields], [None] * len(fields))

    def test_bounded(self) -> None:
        """The number of properties is bounded; one without a name or a value is listed, too."""
        inspection = Inspection("c", reveal=True)
        many = [pb.KeyValue(), *(pb.KeyValue(key=str(number), value="") for number in range(1000))]
        inspection.client(write(pb.CommandLookupTopic(topic="t", request_id=1, properties=many)), 1.0)
        [event] = inspection.broker(write(EXCHANGES[0][1]), 1.0)
        properties = event.fields["properties"]
        assert isinstance(properties, dict)
        self.assertEqual((len(properties), properties[""], properties["0"]), (MAX_PROPERTIES, None, ""))
