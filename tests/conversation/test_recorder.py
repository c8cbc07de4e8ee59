"""Tests for sniproxy.conversation.recorder."""

from __future__ import annotations

import json
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation import recorder as recording_module
from sniproxy.conversation.entry import ALL, build
from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import Side, read_conversation
from sniproxy.conversation.wire import Tree
from sniproxy.inspector.capture.packets import PacketReader
from sniproxy.inspector.capture.streams import Data, Piece, Reassembly
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode
from tests.conversation.talk import TOPIC, recorded, section, talk
from tests.inspector.capture.recorded import CAPTURES


def written(entry: Tree) -> bytes:
    """The bytes of a recorded object."""
    frame = build(entry)
    return encode(frame.command, frame.section)


def pieces(data: bytes) -> list[Piece]:
    """The pieces of the connections of a capture."""
    reassembly, found, now = Reassembly(), [], 0.0
    for segment in PacketReader(BytesIO(data)):
        now = segment.time
        found += reassembly.feed(segment)
    return [*found, *reassembly.finish(now)]


class RecorderTests(SynchronousTestCase):
    """Recorder."""

    def test_lines(self) -> None:
        """The file has a header, a line for each frame, and the end."""
        lines = recorded(talk())
        self.assertEqual(12, len(lines))
        self.assertEqual(
            {
                "conversation": 1,
                "client": "c:1",
                "broker": "b:2",
                "started": "2026-01-01",
                "struck_out": ["credentials", "payloads", "properties"],
            },
            json.loads(lines[0]),
        )
        self.assertEqual({"time": 0.25, "from": "broker"}, {k: json.loads(lines[2])[k] for k in ("time", "from")})
        self.assertEqual({"time": 2.5, "end": "client"}, json.loads(lines[-1]))

    def test_secrets(self) -> None:
        """Neither credentials nor payloads are in the file unless they are asked for."""
        connect = pb.CommandConnect(client_version="x")
        connect.MergeFromString(b"\x1a\x06geheim\x42\x06geheim")
        bytes_of: list[tuple[Side, bytes]] = [("client", write(connect)), *talk(payload=b"inhalt")]
        self.assertNotIn("geheim", "".join(recorded(bytes_of)))
        kept = "".join(recorded(bytes_of, Recording(keep=ALL)))
        self.assertIn('"original_auth_data": "geheim"', kept)
        self.assertIn('"payload": {"base64": "aW5oYWx0"}', kept)
        self.assertNotIn("aW5oYWx0", "".join(recorded(bytes_of)))

    def test_byte_by_byte(self) -> None:
        """How the bytes arrive makes no difference."""
        bytes_of = [(side, data[at : at + 1]) for side, data in talk() for at in range(len(data))]
        whole = [json.loads(line) for line in recorded(talk())]
        pieces_of = [json.loads(line) for line in recorded([*bytes_of, ("client", b"")])]
        for line in (*whole, *pieces_of):
            line.pop("time", None)
        self.assertEqual(whole, pieces_of)

    def test_topics(self) -> None:
        """With patterns, a connection is recorded from its beginning once it names a topic."""
        self.assertEqual(recorded(talk()), recorded(talk(), Recording(topics=["orders"])))
        self.assertEqual([], recorded(talk(), Recording(topics=["other"])))
        lines: list[str] = []
        recorder = Recorder("", "", "", Recording(topics=["x"]), lines.append)
        self.patch(recording_module, "MAX_HELD_CHARS", 200)
        for side, data in talk():
            recorder.feed(side, data, 0.0)
        self.assertEqual((True, []), (recorder.over, lines))

    def test_topic_names(self) -> None:
        """The topics of the client's commands are known, each once."""
        recorder = Recorder("", "", "", Recording(), lambda line: None)
        for _, data in [*talk(), *talk(), *(each for n in range(20) for each in talk(topic=f"t{n}"))]:
            recorder.feed("client", data, 0.0)
        self.assertEqual([TOPIC, "t0"], recorder.topics[:2])
        self.assertEqual(8, len(recorder.topics))

    def test_limits(self) -> None:
        """The recording stops at its limits, and says so."""
        for recording, frames, reason in (
            (Recording(max_frames=3), 3, "limit of 3 frames reached"),
            (Recording(max_s=1.0), 5, "limit of 1 s reached"),
            (Recording(max_bytes=700), 4, "limit of 700 bytes reached"),
        ):
            lines = recorded(talk(), recording)
            self.assertEqual((reason, frames), (json.loads(lines[-1])["end"], len(lines) - 2))
        together: list[tuple[Side, bytes]] = [("client", b"".join(data for _, data in talk()))]
        self.assertEqual(4, len(recorded(together, Recording(max_frames=2))))

    def test_large_messages(self) -> None:
        """The broker's limit for messages applies to both directions."""
        large = write(pb.CommandSend(producer_id=1, sequence_id=1), section(bytes(6 << 20)))
        for most, end in ((0, "not Pulsar"), (6 << 20, "client")):
            connected = write(pb.CommandConnected(server_version="x", max_message_size=most))
            self.assertIn(end, recorded([("broker", connected), ("client", large)])[-1])

    def test_cut(self) -> None:
        """A connection that ends in the middle of a frame says so, with the bytes of the frame that came."""
        whole = talk()
        lines = recorded([*whole, ("client", whole[2][1][:13])])
        end = "client; the last frame of the client is cut: 13 bytes of it came"
        self.assertEqual(end, json.loads(lines[-1])["end"])
        self.assertEqual(len(recorded(whole)), len(lines))
        lines = recorded([*whole, ("client", b"\0"), ("broker", b"\0\0\0")])
        self.assertIn("of the client is cut: 1 byte of it came; the last frame of the broker is cut: 3 ", lines[-1])

    def test_not_pulsar(self) -> None:
        """Other bytes end the recording; nothing is written of a connection without a frame."""
        for data in (b"GET / HTTP/1.1\r\n", b"\0\0\0\5\0\0\0\1\x12", b"\0\0\0\x07\0\0\0\x03\x08\x12\x0b"):
            self.assertEqual([], recorded([("client", data), ("broker", write(pb.CommandPong()))]))
            lines = recorded([("broker", write(pb.CommandPong())), ("client", data)])
            self.assertEqual(3, len(lines))
            self.assertIn("not Pulsar, from the client", lines[2])
        self.assertEqual([], recorded([]))

    def test_captures(self) -> None:
        """Real conversations are written and read again byte for byte; what was struck out changes no command."""
        frames = 0
        for path in sorted(CAPTURES.glob("*.pcap")):
            found: dict[object, tuple[Recorder, list[str], Recorder, list[str], list[bytes]]] = {}
            for piece in pieces(path.read_bytes()):
                if not isinstance(piece, Data) or piece.connection.opener is None:
                    continue
                if piece.connection not in found:
                    whole: list[str] = []
                    struck: list[str] = []
                    first = Recorder("", "", "", Recording(keep=ALL), whole.append)
                    second = Recorder("", "", "", Recording(), struck.append)
                    found[piece.connection] = (first, whole, second, struck, [b"", b""])
                first, _, second, _, streams = found[piece.connection]
                side: Side = "client" if piece.sender == piece.connection.opener else "broker"
                first.feed(side, piece.data, piece.time)
                second.feed(side, piece.data, piece.time)
                streams[side == "broker"] += piece.data
            for first, whole, _, struck, streams in found.values():
                if first.over:
                    continue
                lines = read_conversation(whole).lines
                frames += len(lines)
                for number, sender in enumerate(("client", "broker")):
                    sent = b"".join(written(x.entry) for x in lines if x.side == sender)
                    self.assertEqual(streams[number], sent, path.name)
                again = read_conversation(struck).lines
                self.assertEqual([x.entry["command"] for x in lines], [x.entry["command"] for x in again])
        self.assertGreater(frames, 1000)

    @given(st.lists(st.tuples(st.sampled_from(["client", "broker"]), st.binary(max_size=40)), max_size=6))
    def test_any_bytes(self, parts: list[tuple[Side, bytes]]) -> None:
        """Any bytes give lines that can be read."""
        framed = [(side, len(data + b"12345678").to_bytes(4) + len(data).to_bytes(4) + data) for side, data in parts]
        for each in (parts, framed, [("client", write(pb.CommandPing())), *framed]):
            lines = recorded(each)
            if lines:
                read_conversation(lines)
