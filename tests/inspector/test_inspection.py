"""Tests for sniproxy.inspector.inspection."""

from typing import Any

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.format import json_line, readable_line
from sniproxy.inspector.inspection import HEADER_BYTES, MAX_SEARCHED_BYTES, Inspection
from sniproxy.inspector.pending import MAX_PENDING
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import number_name, varint, write
from sniproxy.pulsar.events import Event
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, encode, encode_section
from sniproxy.pulsar.walker import MAX_HEAD_BYTES
from tests.inspector.inspecting import inspect
from tests.pulsar import streams
from tests.pulsar.samples import CONNECT_JAVA, CONNECT_PYTHON, CONNECTED, SEND_HELLO

PING = write(pb.CommandPing())
LOOKUP = write(pb.CommandLookupTopic(topic="t", request_id=1))
Answer = pb.CommandLookupTopicResponse
ANSWER = write(Answer(brokerServiceUrl="pulsar://b", response=Answer.Connect, request_id=1))


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


class RealStreamTests(SynchronousTestCase):
    """Recorded connections, compared with an independent decoder."""

    def test_counts(self) -> None:
        """Every frame, byte and payload is counted, under its own type."""
        for name in streams.NAMES:
            fields = inspect(name)[-1].fields
            counts: dict[str, int] = {}
            for side in ("client", "broker"):
                stream = streams.side_of(name, side)
                seen = list(streams.frames(stream))
                self.assertEqual(fields[f"{side}_frames"], len(seen), name)
                self.assertEqual(fields[f"{side}_bytes"], len(stream), name)
                self.assertEqual(fields[f"{side}_payload"], sum(len(each.payload) for each in seen), name)
                for each in seen:
                    counts[number_name(each.type)] = counts.get(number_name(each.type), 0) + 1
            self.assertEqual(fields["commands"], counts, name)

    def test_lookups(self) -> None:
        """Each LOOKUP_RESPONSE gives one lookup event with the request and the answer, in order."""
        responses = {0: "redirect", 1: "connect", 2: "failed"}
        total = 0
        for name in streams.NAMES:
            asked = {each.fields[2]: each.fields[1] for each in self.seen(name, "client", 23)}
            expected = []
            for answer in self.seen(name, "broker", 24):
                found: list[Any] = [asked[answer.fields[4]], *(answer.fields.get(number) for number in (1, 2, 7))]
                texts = [None if value is None else value.decode() for value in found]
                expected.append((*texts, responses[int(answer.fields[3])], bool(answer.fields.get(5, 0))))
            events = [event.fields for event in inspect(name) if event.name == "lookup"]
            keys = ("topic", "broker_url", "broker_url_tls", "message", "response", "authoritative")
            self.assertEqual([tuple(fields[key] for key in keys) for fields in events], expected, name)
            for fields in events:
                assert isinstance(fields["latency_s"], float)
                self.assertTrue(0 < fields["latency_s"] < 1)
            total += len(events)
        self.assertEqual(total, 98)

    def seen(self, name: str, side: str, number: int) -> list[streams.Seen]:
        return [each for each in streams.frames(streams.side_of(name, side)) if each.type == number]

    def test_pieces(self) -> None:
        """The events are the same for any split of the bytes."""
        for name in streams.NAMES:
            self.assertEqual(inspect(name, 1), inspect(name), name)

    def test_story(self) -> None:
        """A Java client that is redirected gives its events in order."""
        events = inspect("java-basic-lookup")
        story = ["connect", "connected", "partitions", "partitions", "lookup", "partitions", "lookup", "ended"]
        self.assertEqual(names(events), story)
        self.assertEqual([e.fields["response"] for e in events if e.name == "lookup"], ["redirect", "connect"])
        story = ["connect", "connected", "lookup", "subscribe", "producer", "close", "close", "ended"]
        self.assertEqual(names(inspect("java-basic-data")), story)

    def test_joined_late(self) -> None:
        """A stream that begins at a frame's boundary is read from there."""
        [event] = inspect("java-mid-connection")
        self.assertEqual(event.fields["commands"], {"PING": 2, "PONG": 2})

    def test_failures(self) -> None:
        """Errors of a broker: a bad token, an unknown listener, a missing namespace."""
        for name, event, error, message in (
            ("java-token-bad", "error", "AuthenticationError", "Failed to authenticate"),
            ("java-listener-unknown", "lookup", "ServiceNotReady", "the broker do not have nosuch listener"),
            ("java-fail", "partitions", "TopicNotFound", "Namespace not found"),
        ):
            [fields] = [each.fields for each in inspect(name) if each.fields.get("error")]
            self.assertEqual((fields["error"], fields["message"]), (error, message), name)
            self.assertIn(event, names(inspect(name)))
        [lookup] = [each.fields for each in inspect("java-listener-unknown") if each.name == "lookup"]
        self.assertEqual(lookup["advertised_listener"], "nosuch")

    def test_lines(self) -> None:
        """Every event formats as one line of printable characters."""
        for name in streams.NAMES:
            for event in inspect(name):
                for line in (json_line(event), readable_line(event)):
                    self.assertTrue(line.isprintable() and line.isascii(), line)


class GapTests(SynchronousTestCase):
    """Streams that begin or resume in the middle of a frame."""

    def setUp(self) -> None:
        self.inspection = Inspection("c")

    def test_begins_inside(self) -> None:
        """A stream that begins inside a frame is read from the next frame on."""
        events = self.inspection.client(SEND_HELLO[20:] + LOOKUP, 1.0) + self.inspection.broker(ANSWER, 2.0)
        self.assertEqual(names(events), ["gap", "resumed", "lookup"])
        self.assertEqual(events[1].fields, {"side": "client", "skipped": len(SEND_HELLO) - 20})
        self.assertEqual((events[2].fields["topic"], events[2].fields["latency_s"]), ("t", 1.0))

    def test_gap(self) -> None:
        """After a gap this side continues at the next frame; the other side is not affected."""
        self.inspection.client(CONNECTED + SEND_HELLO[:20], 1.0)
        self.inspection.broker(ANSWER[:20], 1.0)
        events = self.inspection.gap("client", 2.0) + self.inspection.gap("client", 2.0)
        self.assertEqual(events, [Event("gap", 2.0, "c", {"side": "client"})])
        self.assertEqual(names(self.inspection.client(SEND_HELLO[30:] + LOOKUP, 3.0)), ["resumed"])
        self.assertEqual(names(self.inspection.broker(ANSWER[20:], 3.0)), ["lookup"])

    def test_gap_at_the_beginning(self) -> None:
        """A gap may come before the first byte."""
        events = self.inspection.gap("broker", 1.0) + self.inspection.broker(SEND_HELLO[9:] + ANSWER, 1.0)
        self.assertEqual(names(events), ["gap", "resumed", "lookup"])

    def test_never_found(self) -> None:
        """If no frame is found, inspection stops with one event."""
        block = bytes(1 << 20)
        events = [
            event for _ in range(MAX_SEARCHED_BYTES // len(block) + 2) for event in self.inspection.client(block, 1.0)
        ]
        self.assertEqual((names(events), self.inspection.lost), (["gap", "lost"], True))

    def test_never_found_and_short(self) -> None:
        """A stream that ends before a frame is found gives an event `lost`."""
        self.inspection.client(b"no Pulsar here, no Pulsar there", 1.0)
        self.assertEqual(names(self.inspection.end(2.0)), ["lost", "ended"])

    def test_gap_after_lost(self) -> None:
        """After inspection has stopped, there are no more events."""
        self.inspection.client(b"\x16\x03\x01" + bytes(30), 1.0)
        self.assertEqual(self.inspection.gap("client", 2.0), [])


class LostTests(SynchronousTestCase):
    """Bytes that are not Pulsar."""

    def lost(self, first: bytes, *more: bytes) -> str:
        """The reason for which inspection of this client stops; earlier events come, later ones do not."""
        inspection = Inspection("c")
        events = inspection.client(first, 1.0)
        for data in more:
            events += inspection.client(data, 2.0)
        self.assertEqual((names(events).count("lost"), events[-1].name, inspection.lost), (1, "lost", True))
        self.assertEqual(inspection.client(LOOKUP, 3.0) + inspection.broker(ANSWER, 3.0), [])
        self.assertEqual(names(inspection.end(4.0)), ["ended"])
        return str(events[-1].fields["reason"])

    def test_other_protocols(self) -> None:
        """The reason names TLS, HTTP and the PROXY protocol."""
        self.assertIn("TLS", self.lost(b"\x16\x03", b"\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
        self.assertIn("HTTP", self.lost(b"GET / HTTP/1.1\r\n\r\n"))
        self.assertIn("PROXY", self.lost(b"PROXY TCP4 127.0.0.1"))

    def test_bad_frame(self) -> None:
        """A bad frame after good ones, a bad section, and bytes that are not a command."""
        self.assertIn("over the limit", self.lost(PING + LOOKUP, b"\xff" * 20))
        self.assertIn("in its checksum", self.lost(PING + encode(b"\x08\x06", b"\x0e\x01abc")))
        self.assertIn("not a protobuf", self.lost(PING + encode(b"\x08\x17\xba\x01\x7f")))
        self.assertIn("LOOKUP without a required field", self.lost(encode(b"\x08\x17\xba\x01\x00")))

    def test_frames_before(self) -> None:
        """Frames before the bad one in the same read give their events."""
        events = Inspection("c").broker(ANSWER + b"\xff" * 20, 1.0)
        self.assertEqual(names(events), ["lookup", "lost"])
        self.assertEqual(events[1].fields["offset"], len(ANSWER) + 20)


class LimitTests(SynchronousTestCase):
    """Limits on the size of frames and commands."""

    def test_default(self) -> None:
        """Without a CONNECTED, frames up to Pulsar's default limit are accepted."""
        for more in (0, 1):
            inspection = Inspection("c")
            inspection.client(write(pb.CommandConnect(client_version="x")), 1.0)
            section = encode_section(b"", bytes(MAX_FRAME_BYTES - 14 + more))
            inspection.client(encode(b"\x08\x06", section), 1.0)
            self.assertEqual(inspection.lost, bool(more))

    def test_announced(self) -> None:
        """The limit in CONNECTED, plus 10 KiB, applies to both directions; an invalid one is ignored."""
        for announced, size, lost in (
            (1000, 1000 + HEADER_BYTES, False),
            (1000, 1001 + HEADER_BYTES, True),
            (-1, MAX_FRAME_BYTES, False),
        ):
            for by_client in (True, False):
                inspection = Inspection("c")
                hello = pb.CommandConnected(server_version="x", protocol_version=1, max_message_size=announced)
                inspection.broker(write(hello), 1.0)
                side = inspection.client if by_client else inspection.broker
                side(PING, 1.0)
                side(encode(b"\x08\x06" if by_client else b"\x08\x09", encode_section(b"", bytes(size - 14))), 1.0)
                self.assertEqual(inspection.lost, lost)

    def test_long_command(self) -> None:
        """A command that is too long to hold is counted, and the next one is read."""
        inspection = Inspection("c")
        topics = pb.CommandGetTopicsOfNamespaceResponse(request_id=1, topics=["t" * 1000] * (MAX_HEAD_BYTES // 1000))
        self.assertEqual(names(inspection.broker(write(topics) + ANSWER, 1.0)), ["oversized", "lookup"])
        self.assertEqual(inspection.commands["GET_TOPICS_OF_NAMESPACE_RESPONSE"], 1)

    def test_long_answer(self) -> None:
        """A long answer gives an `oversized` event and settles its request, with any order of fields."""
        filler = "m" * MAX_HEAD_BYTES
        get_topics = pb.CommandGetTopicsOfNamespace(request_id=7, namespace="a/b")
        for request, answer in (
            (get_topics, pb.CommandGetTopicsOfNamespaceResponse(request_id=7, topics=[filler])),
            (pb.CommandLookupTopic(topic="t", request_id=7), self.lookup_answer(filler, "")),
            (pb.CommandLookupTopic(topic="t", request_id=7), self.lookup_answer("", filler)),
            (
                pb.CommandProducer(topic="t", producer_id=1, request_id=7),
                pb.CommandError(request_id=7, error=pb.UnknownError, message=filler),
            ),
        ):
            inspection = Inspection("c")
            inspection.client(write(request), 1.0)
            [note] = inspection.broker(write(answer), 2.0)
            self.assertEqual((note.name, note.fields["latency_s"]), ("oversized", 1.0))
            self.assertIn("not read", str(note.fields["message"]))
            self.assertEqual(names(inspection.end(3.0)), ["ended"])

    def lookup_answer(self, message: str, url: str) -> pb.CommandLookupTopicResponse:
        failed = pb.CommandLookupTopicResponse.Failed
        return pb.CommandLookupTopicResponse(request_id=7, response=failed, message=message, brokerServiceUrl=url)

    def test_long_request(self) -> None:
        """A long request gives an `oversized` event and is not pending."""
        inspection = Inspection("c")
        [note] = inspection.client(write(pb.CommandLookupTopic(topic="t" * MAX_HEAD_BYTES, request_id=1)), 1.0)
        self.assertEqual((note.name, note.fields["side"], note.fields["command"]), ("oversized", "client", "LOOKUP"))
        self.assertEqual(names(inspection.end(3.0)), ["ended"])

    def test_large_in_the_middle(self) -> None:
        """If CONNECTED was missed, frames far over the default limit are accepted, also the first."""
        large = encode(b"\x08\x06\x32\x04\x08\x01\x10\x01", encode_section(b"", bytes(20 << 20)))
        for before in (PING, PING[3:], large[-(12 << 20) :]):
            inspection = Inspection("c")
            events = inspection.client(before + large + LOOKUP, 1.0)
            self.assertFalse(inspection.lost)
            self.assertEqual(set(names(events)) - {"gap", "resumed"}, set())
            self.assertEqual(inspection.commands["LOOKUP"], 1)
            self.assertEqual(inspection.commands["SEND"], 1)
        inspection = Inspection("c")
        inspection.client(PING, 1.0)
        inspection.gap("client", 1.0)
        inspection.client(large[100:] + large + LOOKUP, 1.0)
        self.assertEqual((inspection.lost, inspection.commands["LOOKUP"]), (False, 1))

    def test_memory(self) -> None:
        """With many unanswered requests, those reported and those held add up to all."""
        inspection, told = Inspection("c"), 0
        for number in range(MAX_PENDING + 100):
            told += len(inspection.client(write(pb.CommandLookupTopic(topic="t" * 900, request_id=number)), 1.0))
        self.assertEqual((told, inspection._dialogue.remembered), (100, MAX_PENDING))
        self.assertEqual(len(inspection.client(PING, 1000.0)), MAX_PENDING)
        self.assertEqual(inspection._dialogue.remembered, 0)


class CommandTests(SynchronousTestCase):
    """Counted commands."""

    def test_unknown(self) -> None:
        """Commands of other releases are counted by number."""
        inspection = Inspection("c")
        self.assertEqual(inspection.client(PING + encode(b"\x08\x53\x9a\x05\x00"), 1.0), [])
        self.assertEqual(inspection.commands, {"PING": 1, "TYPE_83": 1})

    def test_ack_responses(self) -> None:
        """Of many ACK_RESPONSEs, those with an error are told, wherever its field is."""
        inspection = Inspection("c")
        for number in range(300):
            self.assertEqual(inspection.broker(write(pb.CommandAckResponse(consumer_id=1, request_id=number)), 1.0), [])
        refused = pb.CommandAckResponse(consumer_id=1, error=pb.TransactionConflict, request_id=7)
        for body in (
            refused.SerializeToString(),
            b"\x20\x17" + pb.CommandAckResponse(consumer_id=1).SerializeToString(),
        ):
            [error] = inspection.broker(encode(b"\x08\x26\xb2\x02" + varint(len(body)) + body), 1.0)
            self.assertEqual((error.name, error.fields["error"]), ("error", "TransactionConflict"))

    def test_no_command(self) -> None:
        """A frame without a readable command stops the inspection."""
        for bad in (b"", b"\x08", b"\x08\x80\x01", LOOKUP[8:-1]):
            inspection = Inspection("c")
            [lost] = inspection.client(PING + encode(bad) + LOOKUP, 1.0)
            self.assertEqual((lost.name, inspection.lost), ("lost", True))

    def test_hidden_lookup(self) -> None:
        """A lookup that begins like another command is read as a lookup, as the broker does."""
        for hidden in (b"\x08\x06" + LOOKUP[8:], LOOKUP[10:] + b"\x08\x17", b"\xf8\x3f\x01" + LOOKUP[8:]):
            inspection = Inspection("c")
            self.assertEqual(inspection.client(PING + encode(hidden), 1.0), [])
            [lookup] = inspection.broker(PING + ANSWER, 2.0)
            self.assertIsNotNone(lookup.fields["topic"])

    def test_asked_for(self) -> None:
        """Each command of a type in `commands` is an event."""
        inspection = Inspection("c", commands={"SEND", "TYPE_83"})
        events = inspection.client(PING + SEND_HELLO + encode(b"\x08\x53"), 1.0)
        expected = [
            {"side": "client", "command": "SEND", "size": 46, "payload": 5},
            {"side": "client", "command": "TYPE_83", "size": 10, "payload": 0},
        ]
        self.assertEqual([event.fields for event in events], expected)

    def test_wrong_side(self) -> None:
        """A client cannot answer its own lookups."""
        inspection = Inspection("c")
        self.assertEqual(inspection.client(LOOKUP + ANSWER, 1.0) + inspection.broker(LOOKUP, 1.0), [])
        self.assertEqual(inspection.commands, {"LOOKUP": 2, "LOOKUP_RESPONSE": 1})


SIDES: st.SearchStrategy[tuple[str, bytes]] = st.tuples(
    st.sampled_from(("client", "broker", "gap")),
    st.binary(max_size=60)
    | st.sampled_from((PING, LOOKUP, ANSWER, CONNECTED, SEND_HELLO, LOOKUP[:9], SEND_HELLO[20:]))
    | st.builds(
        lambda number, tag, body: encode(b"\x08" + bytes((number,)) + tag + bytes((len(body),)) + body),
        st.integers(0, 127),
        st.sampled_from((b"\x12", b"\xba\x01", b"\xc2\x01", b"\x2a", b"\xa2\x04")),
        st.binary(max_size=40),
    ),
)


class AnyBytesTests(SynchronousTestCase):
    """Random bytes."""

    @given(st.lists(SIDES, max_size=12))
    def test_never_raises(self, said: list[tuple[str, bytes]]) -> None:
        """Nothing is raised; inspection stops at most once; every event can be formatted."""
        inspection, events = Inspection("c", reveal=True, commands={"SEND"}), []
        for side, data in said:
            match side:
                case "client":
                    events += inspection.client(data, 1.0)
                case "broker":
                    events += inspection.broker(data, 2.0)
                case _:
                    events += inspection.gap("client", 3.0)
        events += inspection.end(4.0)
        self.assertLessEqual(names(events).count("lost"), 1)
        self.assertEqual(inspection.lost, "lost" in names(events))
        for event in events:
            self.assertTrue(json_line(event).isprintable() and readable_line(event, colour=False).isprintable())

    @given(st.data())
    def test_any_command(self, data: st.DataObject) -> None:
        """Commands with any fields are read, or inspection stops."""
        kinds = [field for field in pb.BaseCommand.DESCRIPTOR.fields if field.message_type is not None]
        field = data.draw(st.sampled_from(kinds))
        body = data.draw(st.binary(max_size=50))
        base = pb.BaseCommand(type=pb.BaseCommand.Type.Name(field.number))
        inner: Message = getattr(base, field.name)
        inner.SetInParent()
        frame = encode(base.SerializePartialToString() + body)
        inspection = Inspection("c")
        inspection.client(PING + frame, 1.0)
        inspection.broker(PING + frame, 1.0)
        self.assertEqual(inspection.end(2.0)[-1].name, "ended")


class SecretTests(SynchronousTestCase):
    """Secrets that no event contains."""

    def test_secrets(self) -> None:
        """No event has tokens, authentication data, payloads or metadata, not even with reveal."""
        inspection = Inspection("c", reveal=True, commands={"SEND", "CONNECT", "AUTH_RESPONSE", "LOOKUP"})
        # LOOKUP and PARTITIONED_METADATA with their field for authentication data, and an AUTH_RESPONSE's.
        secret = b"secret-jwt"
        lookup = b"\x08\x17\xba\x01\x11\x0a\x01t\x10\x01\x2a\x0a" + secret
        metadata = b"\x08\x15\xaa\x01\x11\x0a\x01t\x10\x01\x22\x0a" + secret
        auth = b"\x08\x25\xaa\x02\x13\x12\x11\x0a\x03abc\x12\x0a" + secret
        send = encode(b"\x08\x06\x32\x04\x08\x00\x10\x00", encode_section(secret, secret))
        stream = bytes.fromhex(CONNECT_JAVA) + encode(lookup) + encode(metadata) + encode(auth) + send
        events = inspection.client(stream + bytes.fromhex(CONNECT_PYTHON), 1.0) + inspection.end(2.0)
        self.assertFalse(inspection.lost)
        told = "".join(json_line(event) + readable_line(event) + repr(event) for event in events)
        self.assertIn("abc", told)
        self.assertIn('"auth_method": "token"', told)
        self.assertNotIn("secret", told)

    def test_real_tokens(self) -> None:
        """No event has the tokens of recorded CONNECTs, valid or not."""
        for name in ("java-token-1", "java-token-2", "java-token-bad"):
            [connect] = [each for each in streams.frames(streams.side_of(name, "client")) if each.type == 2]
            token = connect.fields[3]
            assert isinstance(token, bytes)
            self.assertTrue(token.startswith(b"eyJ"))
            inspection, events = Inspection(name, reveal=True, commands={"CONNECT"}), []
            for segment in streams.segments(name):
                feed = inspection.client if segment.side == "client" else inspection.broker
                events += feed(segment.data, segment.time)
            told = "".join(json_line(event) + readable_line(event) + repr(event) for event in events)
            self.assertIn("auth token", told)
            for part in token.decode().split("."):
                self.assertNotIn(part, told)

    def test_texts(self) -> None:
        """Texts from peers are bounded and escaped, also if they are not UTF-8."""
        connect = b"\x08\x02\x12\x0a\x0a\x08\xff\x1b[2J\n\xe2x"
        [event] = Inspection("c").client(encode(connect), 1.0)
        self.assertEqual(event.fields["client_version"], "\\xff\\x1b[2J\\n\\xe2x")
        hello = pb.CommandConnected(server_version="v" * 5000)
        [event] = Inspection("c").broker(write(hello), 1.0)
        self.assertEqual(len(str(event.fields["server_version"])), 300)
