"""Tests for sniproxy.conversation.entry."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.entry import ALL, EntryError, build, describe, incomplete, number_of, stand_in
from sniproxy.conversation.wire import raw_fields
from sniproxy.proxyprotocol.tlvs import crc32c
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError
from sniproxy.pulsar.frames import Frame, read_section
from tests.conversation.talk import frame, section

SEND = frame(pb.CommandSend(producer_id=1, sequence_id=2), section(b"payload"))


def messages(data: bytes) -> list[bytes]:
    """The messages of a batch."""
    found, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4])
        [(number, _, size)] = raw_fields(data[at + 4 : end])
        assert number == 3, number
        found.append(data[end : end + size])
        assert len(found[-1]) == size
        at = end + size
    return found


class DescribeTests(SynchronousTestCase):
    """describe, and build of its result."""

    def test_exact(self) -> None:
        """A frame that nothing was struck out of is built again byte for byte."""
        entry = describe(SEND)
        self.assertEqual(["command", "fields", "checksum", "metadata", "payload"], [*entry])
        self.assertEqual({"base64": "cGF5bG9hZA=="}, entry["payload"])
        self.assertEqual(SEND, build(entry))
        for one in (Frame(b"\x08\x12"), frame(pb.CommandPing()), Frame(b"\x08\x53\x9a\x05\x02\x08\x01")):
            self.assertEqual(one, build(describe(one)))
        self.assertEqual("TYPE_83", describe(Frame(b"\x08\x53\x9a\x05\x02\x08\x01"))["command"])

    def test_incomplete(self) -> None:
        """A frame without a required field was recorded so, or is edited: only the first has its bytes."""
        self.assertEqual("", incomplete(describe(SEND)))
        short = Frame(b"\x08\x11\x8a\x01\x03\x12\x01p")  # PRODUCER_SUCCESS without request_id
        entry = describe(short)
        self.assertEqual((short, ""), (build(entry), incomplete(entry)))
        del entry["exact"]
        self.assertEqual((short, "request_id"), (build(entry), incomplete(entry)))
        self.assertEqual("request_id", incomplete({"command": "PRODUCER_SUCCESS"}))
        self.assertEqual("", incomplete({"command": "PING"}))
        edited = describe(SEND)
        del edited["metadata"]["producer_name"]
        self.assertEqual("metadata.producer_name", incomplete(edited))

    def test_unusual(self) -> None:
        """A frame in an unusual encoding has its bytes beside the fields, which count once the fields are edited."""
        odd = Frame(b"\x92\x01\x00\x08\x12")  # the type behind the field
        entry = describe(odd)
        self.assertIn("exact", entry)
        self.assertEqual(odd, build(entry))
        self.assertEqual(
            Frame(b"\x08\x13"), build({**{k: v for k, v in entry.items() if k != "fields"}, "command": "PONG"})
        )
        hidden = Frame(b"\x08\x12\x92\x01\x00\x12\x05\x1a\x03key")  # CONNECT in a PING: may be secret
        self.assertIn("exact", describe(hidden))
        self.assertNotIn("exact", describe(hidden, ()))
        for exact in ("", "AAAA", "?", 5, "AAAABQAAAAEI"):
            self.assertEqual(Frame(b"\x08\x12"), build({"command": "PING", "exact": exact}))

    def test_struck(self) -> None:
        """A struck payload keeps its size and hash; it is built as zeros with a correct checksum."""
        entry = describe(SEND, ())
        self.assertEqual({"bytes": 7, "sha256": hashlib.sha256(b"payload").hexdigest()}, entry["payload"])
        self.assertEqual("correct", entry["checksum"])
        built = build(entry)
        self.assertEqual(SEND.size, built.size)
        found = read_section(built.section)
        self.assertEqual(bytes(7), bytes(found.payload))
        self.assertEqual(crc32c(built.section[6:]), found.checksum)

    def test_batch(self) -> None:
        """A batch has as many messages as recorded, in the same size, if they fit."""
        for size in (6, 7, 12, 133, 134, 135, 136, 140, 16_400, 300_000):
            for count in (1, 2, 20):
                data = stand_in(size, {"num_messages_in_batch": count})
                self.assertEqual(size, len(data))
                if size >= 6 * count:
                    self.assertEqual(count, len(messages(data)))
                else:
                    self.assertEqual(bytes(size), data)
        for metadata in (None, {}, {"num_messages_in_batch": 0}, {"num_messages_in_batch": 1, "compression": "LZ4"}):
            self.assertEqual(bytes(50), stand_in(50, metadata))
        entry = describe(SEND, ())
        entry["metadata"]["num_messages_in_batch"] = 1
        self.assertEqual([bytes(1)], messages(bytes(read_section(build(entry).section).payload)))

    def test_sections(self) -> None:
        """Broker entry metadata and a section without a checksum are kept; another section is bytes."""
        command = SEND.command
        entry = b"\x0e\x02\0\0\0\x04\x08\x05\x10\x06"
        for data in (entry + SEND.section, entry + SEND.section[6:], SEND.section[6:]):
            self.assertEqual(Frame(command, data), build(describe(Frame(command, data))))
        self.assertEqual(
            {"broker_timestamp": 5, "index": 6}, describe(Frame(command, entry + SEND.section))["broker_entry"]
        )
        self.assertNotIn("checksum", describe(Frame(command, SEND.section[6:]), ()))
        odd = Frame(command, b"xyz")
        self.assertEqual({"base64": "eHl6"}, describe(odd)["section"])
        self.assertEqual(odd, build(describe(odd)))
        self.assertEqual(Frame(command, bytes(3)), build(describe(odd, ())))

    def test_not_a_command(self) -> None:
        """Bytes that are no command are an error."""
        for command in (b"", b"\x12", b"\x08\x12\x0b", b"\x08\x06\x32\x01\x08"):
            self.assertRaises(CommandError, describe, Frame(command))

    @given(st.binary(max_size=60), st.binary(max_size=60), st.booleans())
    def test_any_bytes(self, rest: bytes, data: bytes, everything: bool) -> None:
        """Any frame is described or refused; with everything kept, it is built again byte for byte."""
        one = Frame(b"\x08\x09" + rest, data)
        try:
            entry = describe(one, ALL if everything else ())
        except CommandError:
            return
        if everything:
            self.assertEqual(one, build(entry))
        else:
            build(entry)


class BuildTests(SynchronousTestCase):
    """build."""

    def test_wrong(self) -> None:
        """The error names the member and the cure."""
        good: dict[str, Any] = describe(SEND)
        for change, reason in (
            ({"command": "LOOKUPS"}, "not the name of a command"),
            ({"command": None}, "not the name of a command"),
            ({"command": "TYPE_0"}, "not the name of a command"),
            ({"colour": 1}, "unknown member 'colour'"),
            ({"fields": {"x": 1}}, "SEND: CommandSend has no field 'x'"),
            ({"metadata": 5}, "SEND: MessageMetadata"),
            ({"broker_entry": 5}, "BrokerEntryMetadata"),
            ({"checksum": "abc"}, "eight hexadecimal digits"),
            ({"checksum": 5}, "eight hexadecimal digits"),
            ({"payload": "text"}, "payload: write"),
            ({"payload": {"bytes": -1}}, "payload: write"),
            ({"section": "text"}, "section: write"),
            ({"section": {"struck": 3}, "metadata": "text"}, "section: a message has none; remove it, or metadata"),
            ({"broker_entry": 3}, "write an object with the fields"),
            ({"payload": {"struck": 1 << 27}, "fields": {"#99": {"struck": 1}}}, "over 134,217,728 bytes were struck"),
        ):
            error = self.assertRaises(EntryError, build, {**good, **change})
            self.assertIn(reason, str(error))

    def test_small(self) -> None:
        """Members may be left out."""
        self.assertEqual(Frame(b"\x08\x12"), build({"command": "PING"}))
        self.assertEqual(b"\0\0\0\0abc", build({"command": "SEND", "payload": {"base64": "YWJj"}}).section)
        self.assertEqual(b"\0\0\0\0", build({"command": "SEND", "metadata": {}}).section)
        self.assertEqual(18, number_of("PING"))
