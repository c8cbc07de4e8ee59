"""Captures of Pulsar 5.0: our reading equals what Pulsar's own classes read in them.

`tests/data/captures/*.jsonl` is made by `tests.peers.decoding` without our code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.packets import PacketReader
from sniproxy.inspector.capture.reading import CaptureEvents
from sniproxy.inspector.capture.streams import Data, Reassembly, endpoint_text
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, type_name
from sniproxy.pulsar.events import Event
from sniproxy.pulsar.frames import FrameReader
from tests.inspector.capture.building import Captured, frame, pcap
from tests.inspector.capture.recorded import CAPTURES, packets, reading, recorded

MIGRATED = {"pulsar5-migrated": ["persistent://public/default/mg569"]}
"""The topics that migrate to another cluster, by the capture."""

NAMES = sorted(path.stem for path in CAPTURES.glob("*.jsonl"))
LONG = (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_INT64)

UNSUBSCRIBE, UNKNOWN = b"\x08\x52\x92\x05", b"\x08\x78\xc2\x07"
"""How a SCALABLE_TOPIC_UNSUBSCRIBE begins, and how a command of the type 120 would."""


def decoded(name: str) -> list[dict[str, Any]]:
    """The frames of a capture, as Pulsar's own classes read them."""
    return [json.loads(line) for line in (CAPTURES / f"{name}.jsonl").read_text().splitlines()]


def plain(name: str) -> str:
    """A field's name without what differs between the two decoders: case, underscores, plural."""
    return name.replace("_", "").lower().rstrip("s")


def ours(message: Message) -> dict[str, Any]:
    """The fields of a message that are set; bytes as their count."""

    def value(field: Any, one: Any) -> Any:
        if isinstance(one, Message):
            return ours(one)
        if field.cpp_type in LONG:
            # The other decoder prints all of them without a sign.
            return one % (1 << 64)
        if field.enum_type is not None:
            return field.enum_type.values_by_number[one].name
        return len(one) if isinstance(one, bytes) else one

    return {
        plain(field.name): [value(field, one) for one in found] if field.is_repeated else value(field, found)
        for field, found in message.ListFields()
    }


def theirs(message: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The same from the other decoder, without fields that our declaration of the message leaves out."""
    fields = {plain(field.name): field for field in message.fields}
    found = {}
    for name, value in values.items():
        field = fields.get(plain(name))
        if field is not None:
            many = value if isinstance(value, list) else [value]
            many = [theirs(field.message_type, one) if field.message_type is not None else one for one in many]
            if field.cpp_type in LONG:
                many = [int(one) for one in many]
            found[plain(name)] = many if field.is_repeated else many[0]
    return found


def commands(name: str) -> dict[tuple[str, str], list[bytes]]:
    """The commands of each sender to each receiver in a capture, by their addresses."""
    readers: dict[tuple[str, str], FrameReader] = {}
    found: dict[tuple[str, str], list[bytes]] = {}
    reassembly = Reassembly()
    for segment in PacketReader(BytesIO(recorded(name))):
        for piece in reassembly.feed(segment):
            if isinstance(piece, Data):
                ends = [endpoint_text(end) for end in piece.connection.ends]
                way = ends[piece.sender], ends[1 - piece.sender]
                reader = readers.setdefault(way, FrameReader())
                found.setdefault(way, []).extend(frame.command for frame in reader.feed(piece.data))
    return found


def fields_of(one: dict[str, Any]) -> dict[str, Any]:
    """The fields of a decoded frame's command."""
    return next((value for key, value in one["command"].items() if key != "type"), {})


class FieldTests(SynchronousTestCase):
    """Commands and their fields."""

    def test_fields(self) -> None:
        """Every command has the same type and, in all fields that we declare, the same values."""
        self.assertGreater(len(NAMES), 5)
        for name in NAMES:
            said: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for one in decoded(name):
                client, broker = one["connection"].split("->")
                way = (client, broker) if one["side"] == "client" else (broker, client)
                said.setdefault(way, []).append(one["command"])
            found = commands(name)
            self.assertEqual(found.keys(), said.keys())
            for way, each in found.items():
                for command, other in zip(map(read, each), said[way], strict=True):
                    kind = other.pop("type")
                    self.assertEqual(type_name(command), kind)
                    mine = ours(command)
                    mine.pop("type")
                    self.assertEqual(mine, theirs(pb.BaseCommand.DESCRIPTOR, other), kind)

    def check_frames(self, name: str, data: bytes, renamed: Mapping[str, str]) -> None:
        """Assert that every frame is told, with its sender, type, size and payload."""
        keys = ("side", "command", "size", "payload")
        told = [event for event in all_commands(data) if event.name == "command"]
        found = Counter((event.connection, *(event.fields[key] for key in keys)) for event in told)
        wanted: Counter[tuple[object, ...]] = Counter()
        for one in decoded(name):
            kind = one["command"]["type"]
            wanted[one["connection"], one["side"], renamed.get(kind, kind), one["size"], one["payload"]] += 1
        self.assertEqual(wanted, found, name)

    def test_frames(self) -> None:
        """Every frame is told, and all types are known."""
        for name in NAMES:
            self.check_frames(name, recorded(name), {})

    def test_unknown(self) -> None:
        """Commands of a type that this release does not know are told as such, and the others as before."""
        names = [name for name in NAMES if UNSUBSCRIBE in recorded(name)]
        self.assertGreater(len(names), 2)
        for name in names:
            changed = [Captured(one.time, frame(one.data.replace(UNSUBSCRIBE, UNKNOWN))) for one in packets(name)]
            self.check_frames(name, pcap(changed), {"SCALABLE_TOPIC_UNSUBSCRIBE": "TYPE_120"})


def all_commands(data: bytes) -> list[Event]:
    """The events in a capture, with one for each frame."""
    capture = CaptureEvents(BytesIO(data), commands=[*pb.BaseCommand.Type.keys(), "TYPE_120"])
    return [*capture, *capture.finish()]


ANSWERS = {
    "LOOKUP_RESPONSE": "LOOKUP",
    "PARTITIONED_METADATA_RESPONSE": "PARTITIONED_METADATA",
    "PRODUCER_SUCCESS": "PRODUCER",
    "SUCCESS": "SUBSCRIBE",
}
"""The requests that answers with a request_id belong to."""


def lower(text: str) -> str:
    """A value of an enumeration, as events have it."""
    return text.lower()


def segments(dag: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    """The segments in a layout."""
    brokers = {at["segmentId"]: at["brokerUrl"] for at in dag.get("segmentBrokers", [])}
    for at in dag["segments"]:
        start, end, number = at["hashStart"], at["hashEnd"], int(at["segmentId"])
        sealed, broker = at["state"] == "SEALED", brokers.get(at["segmentId"])
        yield number, start, end, sealed, at.get("legacyTopicName"), broker


def assigned(assignment: dict[str, Any] | None) -> tuple[object, ...]:
    """What a consumer has: the epoch of the layout, and the names of the segments."""
    if assignment is None:
        return None, ()
    return int(assignment["layoutEpoch"]), tuple(each["segmentTopic"] for each in assignment.get("segments", []))


def expected(name: str) -> Iterator[tuple[object, ...]]:
    """What the inspector has to tell of a capture, from the other decoder."""
    topics: dict[tuple[str, str, str], str] = {}
    namespaces: dict[tuple[str, str], str] = {}
    for one in decoded(name):
        said, kind, line = fields_of(one), one["command"]["type"], one["connection"]
        if "requestId" in said and "topic" in said:
            topics[line, kind, said["requestId"]] = said["topic"]
        if kind == "SCALABLE_TOPIC_LOOKUP":
            topics[line, kind, said["sessionId"]] = said["topic"]
        topic = topics.get((line, ANSWERS.get(kind, ""), said.get("requestId", "")))
        match kind:
            case "LOOKUP_RESPONSE":
                urls = said.get("brokerServiceUrl"), said.get("brokerServiceUrlTls")
                yield "lookup", line, topic, lower(said["response"]), *urls, said.get("error")
            case "PARTITIONED_METADATA_RESPONSE":
                yield "partitions", line, topic, said.get("partitions"), said.get("error")
            case "PRODUCER_SUCCESS":
                yield "producer", line, topic, said["producerName"]
            case "SUCCESS" if topic is not None:
                yield "subscribe", line, topic
            case "ERROR" if (line, "PRODUCER", said["requestId"]) in topics:
                yield "producer", line, topics[line, "PRODUCER", said["requestId"]], None
            case "ERROR" if (line, "SUBSCRIBE", said["requestId"]) in topics:
                yield "subscribe", line, topics[line, "SUBSCRIBE", said["requestId"]]
            case "CLOSE_PRODUCER" | "CLOSE_CONSUMER":
                yield "close", line, one["side"], int(said.get("producerId", said.get("consumerId", "")))
            case "SCALABLE_TOPIC_UPDATE" if "dag" in said:
                dag, asked = said["dag"], topics[line, "SCALABLE_TOPIC_LOOKUP", said["sessionId"]]
                about = asked, said.get("resolvedTopicName"), int(dag["epoch"]), dag.get("controllerBrokerUrl")
                yield "scalable_topic", line, *about, tuple(segments(dag))
            case "SCALABLE_TOPIC_SUBSCRIBE_RESPONSE":
                asked = topics[line, "SCALABLE_TOPIC_SUBSCRIBE", said["requestId"]]
                yield "scalable_subscribe", line, asked, said.get("error"), assigned(said.get("assignment"))
            case "SCALABLE_TOPIC_ASSIGNMENT_UPDATE":
                yield "assignment", line, int(said["consumerId"]), assigned(said["assignment"])
            case "SCALABLE_TOPIC_UNSUBSCRIBE":
                yield "scalable_unsubscribe", line, int(said["consumerId"])
            case "WATCH_SCALABLE_TOPICS":
                namespaces[line, said["watchId"]] = said["namespace"]
            case "WATCH_SCALABLE_TOPICS_UPDATE" if "snapshot" in said:
                yield "topics", line, namespaces[line, said["watchId"]], len(said["snapshot"].get("topics", []))
            case "WATCH_SCALABLE_TOPICS_UPDATE":
                added, removed = (len(said["diff"].get(key, [])) for key in ("addeds", "removeds"))
                yield "topics_changed", line, namespaces[line, said["watchId"]], added, removed
            case "WATCH_TC_ASSIGNMENTS_UPDATE":
                found = said.get("snapshot", {}).get("assignments", [])
                yield "coordinators", line, tuple((int(at["tcId"]), at.get("brokerServiceUrl")) for at in found)


def told(event: Event) -> tuple[object, ...] | None:
    """The same from an event. None: it is none of these."""
    fields: dict[str, Any] = event.fields
    line = event.name, event.connection
    match event.name:
        case "lookup":
            return *line, *(fields[key] for key in ("topic", "response", "broker_url", "broker_url_tls", "error"))
        case "partitions":
            return *line, fields["topic"], fields["partitions"], fields["error"]
        case "producer":
            return *line, fields["topic"], fields["producer_name"]
        case "subscribe":
            return *line, fields["topic"]
        case "close":
            return *line, fields["by"], fields["id"]
        case "scalable_topic":
            keys = ("segment_id", "hash_start", "hash_end", "sealed", "topic", "broker_url")
            layout = tuple(tuple(at.get(key) for key in keys) for at in fields["segments"])
            about = (fields[key] for key in ("topic", "resolved_topic", "epoch", "controller_broker_url"))
            return *line, *about, layout
        case "scalable_subscribe" | "assignment":
            has = fields["layout_epoch"], tuple(at["segment_topic"] for at in fields["segments"])
            if event.name == "assignment":
                return *line, fields["consumer_id"], has
            return *line, fields["topic"], fields["error"], has
        case "scalable_unsubscribe":
            return *line, fields["consumer_id"]
        case "topics":
            return *line, fields["namespace"], fields["topics"]
        case "topics_changed":
            return *line, fields["namespace"], fields["added"], fields["removed"]
        case "coordinators":
            return *line, tuple((at["tc_id"], at["broker_url"]) for at in fields["assignments"])
    return None


class EventTests(SynchronousTestCase):
    """Events."""

    def test_events(self) -> None:
        """Lookups, owners, layouts, consumers, watches and coordinators are told as they are."""
        for name in NAMES:
            events, _ = reading(recorded(name))
            found = Counter(said for event in events if (said := told(event)) is not None)
            wanted = Counter(expected(name))
            self.assertEqual((Counter(), Counter()), (wanted - found, found - wanted), name)

    def test_errors(self) -> None:
        """Every answer with an error is told, with its request, error and message."""
        seen = 0
        for name in NAMES:
            wanted = Counter(
                (line["connection"], said["error"]) for line in decoded(name) if "error" in (said := fields_of(line))
            )
            events, _ = reading(recorded(name))
            found = Counter((event.connection, event.fields["error"]) for event in events if event.fields.get("error"))
            self.assertEqual(wanted, found, name)
            seen += wanted.total()
        self.assertGreater(seen, 4)

    def test_moves(self) -> None:
        """Only migrated topics move; nothing is missing, and every request has its answer."""
        for name in NAMES:
            events, capture = reading(recorded(name))
            wrong = [event for event in events if event.name in ("gap", "lost", "resumed", "unanswered")]
            self.assertEqual([], wrong, name)
            self.assertEqual(MIGRATED.get(name, []), [one.fields["topic"] for one in events if one.name == "moved"])
            moves = {one.topic: one.moves_total for one in capture.ledger.topics() if one.moves_total}
            self.assertEqual(Counter(MIGRATED.get(name, [])), moves)

    def test_begun_later(self) -> None:
        """A capture may begin at any packet."""
        for name in NAMES:
            whole = packets(name)
            for start in range(5, len(whole), 17):
                rest = pcap([Captured(packet.time, frame(packet.data)) for packet in whole[start:]])
                events, _ = reading(rest)
                moved = Counter(event.fields["topic"] for event in events if event.name == "moved")
                self.assertLessEqual(moved, Counter(MIGRATED.get(name, [])), (name, start))
                self.assertNotIn("lost", [event.name for event in events], (name, start))
