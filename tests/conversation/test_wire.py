"""Tests for sniproxy.conversation.wire."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.schema import layout_of
from sniproxy.conversation.wire import (
    MAX_DEPTH,
    Tree,
    WireError,
    bytes_of,
    decode,
    encode,
    missing_field,
    struck_size,
    total_struck,
)
from sniproxy.pulsar import commands_pb2 as pb

SUBSCRIBE = layout_of("CommandSubscribe")
ID = layout_of("MessageIdData")
NUMBERS = layout_of("CommandGetTopicsOfNamespaceResponse")


class DecodeTests(SynchronousTestCase):
    """decode, and encode of its result."""

    def both(self, layout: Any, data: bytes, tree: Tree) -> None:
        self.assertEqual(tree, decode(layout, data))
        self.assertEqual(data, encode(layout, tree))

    def test_kinds(self) -> None:
        """Each kind of field has its form, and is written as it was read."""
        command = pb.CommandSubscribe(
            topic="t", subscription="s", subType=pb.CommandSubscribe.Failover, consumer_id=(1 << 64) - 1, request_id=0
        )
        command.metadata.add(key="a", value="b")
        tree = {
            "topic": "t",
            "subscription": "s",
            "subType": "Failover",
            "consumer_id": (1 << 64) - 1,
            "request_id": 0,
            "metadata": [{"key": "a", "value": "b"}],
        }
        self.both(SUBSCRIBE, command.SerializeToString(), tree)
        place = pb.MessageIdData(ledgerId=1, entryId=2, partition=-1)
        self.both(ID, place.SerializeToString(), {"ledgerId": 1, "entryId": 2, "partition": -1})
        self.both(NUMBERS, b"\x12\x01a\x12\x01b\x18\x01", {"topics": ["a", "b"], "filtered": True})

    def test_unusual(self) -> None:
        """Unknown fields, and known ones with another type or value, keep their bytes."""
        self.both(ID, b"\x78\x05", {"#15": 5})
        self.both(ID, b"\x7a\x01x", {"#15": {"base64": "eA=="}})
        self.both(ID, b"\x7d\x01\0\0\0", {"#15": {"fixed32": 1}})
        self.both(ID, b"\x79\x01\0\0\0\0\0\0\0", {"#15": {"fixed64": 1}})
        self.both(ID, b"\x0a\x01x", {"#1": {"base64": "eA=="}})  # a number as bytes
        self.both(ID, b"\x3a\x01\x07", {"#7": {"base64": "Bw=="}})  # not a message
        self.both(ID, b"\x08\x01\x08\x02", {"ledgerId": [1, 2]})
        self.both(NUMBERS, b"\x12\x01\xff", {"topics": [{"base64": "/w=="}]})
        self.both(NUMBERS, b"\x10\x01", {"#2": 1})  # a text as a number
        self.both(NUMBERS, b"\x18\x02", {"filtered": 2})
        self.both(SUBSCRIBE, b"\x18\x09", {"subType": 9})
        self.both(SUBSCRIBE, b"\x1a\x00", {"#3": {"base64": ""}})

    def test_not_protobuf(self) -> None:
        """Bytes that end too early, and impossible tags, are errors."""
        for data in (b"\x08", b"\x08" + b"\xff" * 10, b"\x0a\x05a", b"\x0b", b"\x00\x01", b"\x79\x01"):
            self.assertRaises(WireError, decode, ID, data)

    def test_depth(self) -> None:
        """Messages inside each other are read to a depth, and then kept as bytes."""
        data = b""
        for _ in range(3 * MAX_DEPTH):
            data = b"\x3a" + bytes([len(data)]) + data if len(data) < 128 else data
        self.assertEqual(data, encode(ID, decode(ID, data)))
        nested: Tree = {}
        for _ in range(3 * MAX_DEPTH):
            nested = {"first_chunk_message_id": nested}
        self.assertRaises(WireError, encode, ID, nested)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are read or refused, and what was read can be written and read again."""
        for layout in (ID, SUBSCRIBE, layout_of("MessageMetadata")):
            try:
                tree = decode(layout, data)
            except WireError:
                continue
            self.assertEqual(tree, decode(layout, encode(layout, tree)))


class EncodeTests(SynchronousTestCase):
    """encode."""

    def test_struck(self) -> None:
        """What was struck out is written as zeros; without a name, not at all."""
        connect = layout_of("CommandConnect")
        self.assertEqual(b"\x1a\x03\0\0\0", encode(connect, {"auth_data": {"struck": 3}}))
        self.assertEqual(b"\x0a\x01\0", encode(connect, {"client_version": {"struck": 1}}))
        self.assertEqual(b"", encode(connect, {"#99": {"struck": 3}}))
        for value in ({"struck": -1}, {"struck": True}, {"struck": 1 << 40}, {"struck": 1, "x": 2}):
            self.assertIsNone(struck_size(value))
        self.assertEqual(8, total_struck({"a": [{"struck": 3}, {"b": {"struck": 5}}, "x"], "c": {"struck": -1}}))

    def test_wrong(self) -> None:
        """The error names the field, and never a text that was given."""
        for tree, reason in (
            ([], "object"),
            ({"ledger": 1}, "fields: ledgerId"),
            ({"#0": 1}, "no field"),
            ({"#999999999": 1}, "no field"),
            ({"ledgerId": "secret"}, "ledgerId: a text does not fit the kind unsigned"),
            ({"ledgerId": True}, "ledgerId: 'True'"),
            ({"ledgerId": -1}, "ledgerId: '-1'"),
            ({"ledgerId": 1 << 64}, "ledgerId"),
            ({"partition": 1 << 63}, "partition"),
            ({"ledgerId": None}, "null"),
            ({"first_chunk_message_id": 1}, "object"),
            ({"#15": "x"}, "#15: a text"),
            ({"#15": {"fixed32": 1 << 32}}, "#15"),
        ):
            error = self.assertRaises(WireError, encode, ID, tree)
            self.assertIn(reason, str(error))
            self.assertNotIn("secret", str(error))
        error = self.assertRaises(WireError, encode, SUBSCRIBE, {"subType": "Other"})
        self.assertEqual(
            "subType: a text is not one of its values; write one of Exclusive, Shared, Failover, Key_Shared", str(error)
        )
        self.assertRaises(WireError, encode, SUBSCRIBE, {"topic": 5})
        error = self.assertRaises(WireError, encode, layout_of(""), {"x": 1})
        self.assertEqual("the message has no field 'x'", str(error).partition(";")[0])

    def test_missing(self) -> None:
        """The path of a required field that is missing, also in messages inside."""
        ledger = {"ledgerId": 1, "entryId": 2}
        for tree, path in (
            ({**ledger, "partition": 1}, None),
            ({"entryId": 2}, "ledgerId"),
            ({"ledgerId": [], "entryId": 2}, "ledgerId"),
            ({**ledger, "first_chunk_message_id": ledger}, None),
            ({**ledger, "first_chunk_message_id": [ledger, {"ledgerId": 1}]}, "first_chunk_message_id.entryId"),
        ):
            self.assertEqual(path, missing_field(ID, tree), tree)

    def test_base64(self) -> None:
        """Only base64 gives bytes."""
        self.assertEqual(b"x", bytes_of({"base64": "eA=="}))
        for value in ({"base64": "?"}, {"base64": "é"}, {"base64": 1}, "eA==", {"base64": "", "x": 1}):
            self.assertIsNone(bytes_of(value))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda each: (
                st.lists(each)
                | st.dictionaries(
                    st.sampled_from(["ledgerId", "partition", "first_chunk_message_id", "#9", "base64"]), each
                )
            ),
            max_leaves=8,
        )
    )
    def test_any_tree(self, tree: Any) -> None:
        """Any object is written or refused."""
        try:
            encode(ID, tree)
        except WireError:
            pass
