"""tshark decodes the same captures: its reassembled streams and lookup answers equal ours.

Its protobuf dissector, with our ``commands.proto``, decodes the same fields and values of commands.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import dpkt  # type: ignore[import-untyped]
from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.packets import PacketReader
from sniproxy.inspector.capture.streams import CapturedConnection, Data, Reassembly
from sniproxy.pulsar import commands_pb2
from sniproxy.pulsar.commands import read
from sniproxy.pulsar.frames import FrameReader
from tests.inspector.capture.building import BROKER, CLIENT, RAW, Captured, frame, pcap, pcapng
from tests.inspector.capture.recorded import CAPTURES, packets, reading
from tests.inspector.inspecting import inspect
from tests.peers.needs import unavailable
from tests.pulsar import streams

LOOKUP_RESPONSE = 24

Values = Counter[tuple[str, str]]
"""The fields of a message and of those inside it that are no messages, by full name, with their values as texts."""


def ours(data: bytes) -> Counter[tuple[bytes, ...]]:
    """Both streams of each connection, unordered."""
    streams: dict[CapturedConnection, list[bytes]] = {}
    reassembly = Reassembly()
    for segment in PacketReader(BytesIO(data)):
        for piece in reassembly.feed(segment):
            if isinstance(piece, Data):
                streams.setdefault(piece.connection, [b"", b""])[piece.sender] += piece.data
    return Counter(tuple(sorted(both)) for both in streams.values())


def tsharks(path: Path, connections: int) -> Counter[tuple[bytes, ...]]:
    """The same, from tshark."""
    found: Counter[tuple[bytes, ...]] = Counter()
    for number in range(connections):
        said = subprocess.run(
            ["tshark", "-r", str(path), "-q", "-z", f"follow,tcp,raw,{number}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        both = [b"", b""]
        for line in said.partition("Node 1:")[2].splitlines()[1:]:
            if line.startswith("="):
                break
            both[line.startswith("\t")] += bytes.fromhex(line)
        found[tuple(sorted(both))] += 1
    return found


def answers(streams: Counter[tuple[bytes, ...]]) -> int:
    """The number of LOOKUP_RESPONSE frames, by sizes and the offset of the type only."""
    count = 0
    for stream in (stream for both in streams for stream in both if stream[:2] == b"\0\0"):
        at = 0
        while at < len(stream):
            count += stream[at + 9] == LOOKUP_RESPONSE
            at += 4 + int.from_bytes(stream[at : at + 4], "big")
    return count


def values(message: Message) -> Iterator[tuple[str, str]]:
    """A command decoded by us, as `Values`."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else (value,):
            if isinstance(each, Message):
                yield from values(each)
            else:
                text = each.hex(":") if isinstance(each, bytes) else str(int(each) if isinstance(each, bool) else each)
                yield field.full_name, text


def fill(message: Message) -> None:
    """Set all fields, also of inner messages, to values that differ from the defaults."""
    message.SetInParent()
    for field in message.DESCRIPTOR.fields:
        value: object
        match field.cpp_type:
            case field.CPPTYPE_MESSAGE:
                inner = getattr(message, field.name)
                fill(inner.add() if field.is_repeated else inner)
                continue
            case field.CPPTYPE_ENUM:
                assert field.enum_type is not None
                value = field.enum_type.values[-1].number
            case field.CPPTYPE_STRING:
                value = b"\x00\xff" if field.type == field.TYPE_BYTES else f"{field.name} \xe9"
            case field.CPPTYPE_BOOL:
                value = True
            case field.CPPTYPE_INT32:
                value = -field.number
            case field.CPPTYPE_UINT64 | field.CPPTYPE_INT64:
                value = (1 << 40) + field.number
            case _:
                value = field.number
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)


def dissected(tree: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """The same from tshark's tree, whose objects are lists of pairs, because names repeat."""
    names = [name for name, _ in tree]
    for name, value in tree:
        if name.startswith("pbf.") and name.endswith("_tree"):
            yield from dissected(value)
        elif name.startswith("pbf.") and f"{name}_tree" not in names:
            yield name.removeprefix("pbf."), value


def dissect(commands: list[bytes], path: Path) -> list[Values]:
    """Commands as decoded by tshark's protobuf dissector, in a capture at this path with a datagram per command."""
    datagrams = []
    for command in commands:
        udp = dpkt.udp.UDP(sport=CLIENT[1], dport=BROKER[1], ulen=8 + len(command), data=command)
        ip = dpkt.ip.IP(src=CLIENT[0], dst=BROKER[0], p=17, len=28 + len(command), data=udp)
        datagrams.append(Captured(0.0, bytes(ip)))
    path.write_bytes(pcap(datagrams, RAW))
    folder = Path(commands_pb2.__file__).parent
    options = (
        f'uat:protobuf_search_paths:"{folder}","TRUE"',
        f'uat:protobuf_udp_message_types:"{BROKER[1]}","sniproxy.pulsar.BaseCommand"',
        "protobuf.pbf_as_hf:TRUE",
    )
    said = subprocess.run(
        ["tshark", "-r", str(path), *(part for option in options for part in ("-o", option)), "-T", "json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    packets = json.loads(said, object_pairs_hook=list)
    return [Counter(dissected(dict(dict(dict(packet)["_source"])["layers"])["protobuf"])) for packet in packets]


TOLD = {
    "connect": ("client_version", "auth_method"),
    "lookup": ("topic", "broker_url", "broker_url_tls", "error", "message"),
    "partitions": ("topic", "partitions", "message"),
    "producer": ("topic", "producer_name"),
    "error": ("topic", "error", "message"),
}
"""Fields of events that are held against tshark's."""


class Said(dict[str, str]):
    """The fields of a command by name, from tshark."""

    def __init__(self, values: Values) -> None:
        super().__init__({name.rpartition(".")[2]: value for name, value in values})
        self.command = next((name.split(".")[2] for name, _ in values if ".Command" in name), "")

    def failure(self, error: str = "error", message: str = "message") -> tuple[str | None, str | None]:
        """The name of the ServerError, and the message."""
        name = commands_pb2.ServerError.Name(int(self[error])) if error in self else None
        return name, self.get(message)


def told_by(client: list[Said], broker: list[Said]) -> Iterator[tuple[object, ...]]:
    """The expected contents of events."""
    # Some clients count lookups apart from other requests.
    topics = {(said.command, said.get("request_id")): said.get("topic") for said in client}
    for said in client:
        if said.command == "CommandConnect":
            yield "connect", said["client_version"], said.get("auth_method_name")
    for said in broker:
        question = said.command.removesuffix("Response").replace("ProducerSuccess", "Producer")
        topic = topics.get((question, said.get("request_id")))
        match said.command:
            case "CommandLookupTopicResponse":
                yield "lookup", topic, said.get("brokerServiceUrl"), said.get("brokerServiceUrlTls"), *said.failure()
            case "CommandPartitionedTopicMetadataResponse":
                partitions = int(said.get("partitions", "0")) if said["response"] == "0" else None
                yield "partitions", topic, partitions, said.get("message")
            case "CommandProducerSuccess":
                yield "producer", topic, said["producer_name"]
            case "CommandError" if ("CommandSubscribe", said.get("request_id")) in topics:
                pass  # told by a `subscribe` event
            case "CommandError":
                yield "error", topic, *said.failure()
            case "CommandGetSchemaResponse" if "error_code" in said:
                yield "error", topic, *said.failure("error_code", "error_message")


class TsharkTests(SynchronousTestCase):
    """Our decoding of captures, compared with tshark's."""

    def setUp(self) -> None:
        """Skip the test without tshark."""
        if shutil.which("tshark") is None:
            unavailable("no tshark here: apt-get install -y --no-install-recommends tshark")

    def same(self, data: bytes) -> None:
        path = Path(self.mktemp())
        path.write_bytes(data)
        streams = ours(data)
        self.assertTrue(streams)
        theirs = tsharks(path, sum(streams.values()))
        self.assertEqual(streams, theirs)
        lookups = [event for event in reading(data)[0] if event.name == "lookup"]
        self.assertEqual(len(lookups), answers(theirs))

    def test_recorded(self) -> None:
        """Captures of real peers."""
        for path in sorted(CAPTURES.glob("*.pcap")):
            self.same(path.read_bytes())

    def test_disordered(self) -> None:
        """The same captures with duplicate and reordered packets, in pcapng."""
        for name in ("java-basic", "python-basic"):
            random = Random(name)
            mixed = packets(name)
            for start in range(8, len(mixed), 3):
                some = mixed[start : start + 3]
                mixed[start : start + 3] = random.sample(some, len(some)) + random.sample(some, 1)
            self.same(pcapng([Captured(at / 1000, frame(packet.data)) for at, packet in enumerate(mixed)]))

    def test_file_formats(self) -> None:
        """Captures that our tests write are read by tshark."""
        for file in (pcap, pcapng):
            self.same(file([Captured(packet.time, frame(packet.data)) for packet in packets("java-lookup-only")]))

    def test_commands(self) -> None:
        """Every command of these captures, and of other recorded connections, has the same fields and values."""
        sides = [side for name in streams.NAMES for side in (streams.side_of(name, s) for s in ("client", "broker"))]
        for name in ("java-basic", "java-lookup-only", "python-basic"):
            sides += [side for both in ours((CAPTURES / f"{name}.pcap").read_bytes()) for side in both]
        commands = sorted({frame.command for side in sides for frame in FrameReader().feed(side)})
        theirs = dissect(commands, Path(self.mktemp()))
        for command, said in zip(commands, theirs, strict=True):
            self.assertEqual(Counter(values(read(command))), said)
        self.assertGreater(len({read(command).type for command in commands}), 20)

    def test_events(self) -> None:
        """The events of all recorded connections agree with tshark's commands, in order."""
        commands = {
            (name, side): [frame.command for frame in FrameReader().feed(streams.side_of(name, side))]
            for name in streams.NAMES
            for side in ("client", "broker")
        }
        said = iter(dissect([command for each in commands.values() for command in each], Path(self.mktemp())))
        theirs = {key: [Said(next(said)) for _ in each] for key, each in commands.items()}
        for name in streams.NAMES:
            events = [event for event in inspect(name) if event.name in TOLD]
            found = Counter((event.name, *(event.fields[key] for key in TOLD[event.name])) for event in events)
            self.assertEqual(Counter(told_by(theirs[name, "client"], theirs[name, "broker"])), found, name)

    def test_all_fields(self) -> None:
        """One command of each type with all declared fields has the same values."""
        commands = []
        for field in commands_pb2.BaseCommand.DESCRIPTOR.fields:
            if field.message_type is not None:
                base = commands_pb2.BaseCommand(type=commands_pb2.BaseCommand.Type.Name(field.number))
                fill(getattr(base, field.name))
                commands.append(base.SerializeToString())
        theirs = dissect(commands, Path(self.mktemp()))
        for command, said in zip(commands, theirs, strict=True):
            self.assertEqual(Counter(values(read(command))), said)
