"""Tests for sniproxy.pulsar.events: the table in the manual matches the events."""

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.inspection import Inspection
from sniproxy.inspector.layouts import tables
from sniproxy.inspector.ledger import Ledger
from sniproxy.inspector.live import Inspector
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.events import COMMANDS, Event, Fields
from sniproxy.pulsar.walker import MAX_HEAD_BYTES
from sniproxy.util.buffered import BufferAccount
from tests.inspector.capture.recorded import reading, recorded
from tests.inspector.inspecting import inspect
from tests.pulsar import streams
from tests.support.reference import keys, names, rows

FREE = {"commands", "properties", "subscription_properties"}
"""Fields whose value is an object with free keys."""


def fill(message: Message) -> None:
    """Set all fields, including those of inner messages. All numbers are 1, so that answers match requests."""
    message.SetInParent()
    for field in message.DESCRIPTOR.fields:
        value: object = 1
        if field.cpp_type == field.CPPTYPE_MESSAGE:
            inner = getattr(message, field.name)
            fill(inner.add() if field.is_repeated else inner)
            continue
        if field.cpp_type == field.CPPTYPE_STRING:
            value = b"x" if field.type == field.TYPE_BYTES else "pulsar://x:1"
        elif field.enum_type is not None:
            value = field.enum_type.values[0].number
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def layout(update: Fields, epoch: int, segment: Fields) -> Fields:
    """The fields of an update with one segment."""
    return {**update, "status": "success", "epoch": epoch, "segments": [segment]}


def all_events() -> list[Event]:
    """Events of every command with all of its fields, sent by both sides, and of all other cases."""
    inspection, found = Inspection("c", reveal=True, commands=pb.BaseCommand.Type.keys()), []
    for side in (inspection.client, inspection.broker):
        for field in pb.BaseCommand.DESCRIPTOR.fields[1:]:
            message = getattr(pb.BaseCommand(), field.name)
            fill(message)
            found += side(write(message), 1.0)
    found += inspection.gap("client", 2.0) + inspection.client(write(pb.CommandPing()), 2.0)
    long = pb.CommandGetTopicsOfNamespaceResponse(request_id=1, topics=["t" * MAX_HEAD_BYTES])
    found += Inspection("e").broker(write(long), 2.0)
    found += inspection.end(4.0) + Inspection("d").client(b"GET / HTTP/1.1\r\n", 5.0)
    ledger = Ledger()
    for broker in ("pulsar://a:1", "pulsar://b:1"):
        lookup = next(event.fields for event in found if event.name == "lookup")
        found += ledger.learn(Event("lookup", 1.0, "c", {**lookup, "response": "connect", "broker_url": broker}))
    update = next(event.fields for event in found if event.name == "scalable_topic")
    for epoch, parents in ((1, [0]), (2, [0]), (3, [0, 1])):
        [segment] = tables(update["segments"])
        made: Fields = {**segment, "created_epoch": epoch, "parents": [*parents]}
        found += ledger.learn(Event("scalable_topic", 1.0, "c", layout(update, epoch, made)))
    advertised = Event("x", 1.0, "c", {"broker_url_tls": "pulsar+ssl://x.test:1"})
    Inspector(found.append, lambda host, listener: "none", BufferAccount()).take_events([advertised], "x", "x")
    found.remove(advertised)
    for capture in ("java-tls-no-name", "java-basic"):
        found += reading(recorded(capture))[0]
    return found


class TableTests(SynchronousTestCase):
    """The table of events."""

    def test_fields(self) -> None:
        """The table lists all fields of all possible events, and no other events."""
        table, seen = rows("Events"), set()
        for event in all_events():
            seen.add(event.name)
            self.assertIn(event.name, table)
            # `ended` of captures has one more field, listed with the event `tls`.
            said = set(names(table[event.name] + table["tls"] * (event.name == "ended")))
            fields = {name: None if name in FREE else value for name, value in event.fields.items()}
            self.assertEqual(set(keys(fields)) - said, set(), event.name)
        self.assertEqual(set(table), seen)

    def test_real_fields(self) -> None:
        """Events of recorded connections have the same fields each time; none has a reserved name."""
        seen: dict[str, set[str]] = {}
        for stream in streams.NAMES:
            for event in inspect(stream):
                self.assertEqual(set(event.fields), seen.setdefault(event.name, set(event.fields)), event.name)
                self.assertTrue({"event", "time", "connection"}.isdisjoint(event.fields))
                self.assertEqual("response" in event.fields, event.name == "lookup")
        self.assertGreater(len(seen), 7)

    def test_commands(self) -> None:
        """The commands that events report exist, and the events are in the table."""
        for name, commands in COMMANDS.items():
            self.assertIn(name, rows("Events"))
            self.assertEqual(commands - set(pb.BaseCommand.Type.keys()), set())

    def test_equal(self) -> None:
        """Events with the same content are equal."""
        self.assertEqual(Event("a", 1.0, "c", {"x": [1]}), Event("a", 1.0, "c", {"x": [1]}))
