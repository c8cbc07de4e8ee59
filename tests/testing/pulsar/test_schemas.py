"""Tests for sniproxy.testing.pulsar.schemas."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of
from tests.testing.pulsar.embedded import OURS, BrokerCase, subscribe

STRING, JSON, ANY, BYTES = (b"\x0a\x01s\x20" + bytes([kind]) for kind in (1, 2, 21, 0))


class SchemaTests(BrokerCase):
    """Schemas, as conversations with a broker."""

    def ask(self, command: Any, field: int, data: bytes | None) -> Any:
        if data is not None:
            add_bytes(command, field, data)
        return self.client().say(command)[0]

    def get(self, version: bytes | None = None) -> Any:
        return self.ask(pb.CommandGetSchema(request_id=1, topic=OURS), 3, version)

    def create(self, schema: bytes) -> Any:
        return self.ask(pb.CommandGetOrCreateSchema(request_id=1, topic=OURS), 3, schema)

    def test_producer(self) -> None:
        """A producer's schema is stored, and its version is in the answer; without one there is no version."""
        versions = []
        for number, schema in enumerate((None, STRING, JSON, STRING, BYTES)):
            request = pb.CommandProducer(topic=OURS, producer_id=number, request_id=1)
            versions.append(self.ask(request, 7, schema).schema_version)
        self.assertEqual([b"", bytes(8), bytes(7) + b"\x01", bytes(8), b""], versions)

    def test_consumer(self) -> None:
        """A consumer's schema is stored, unless it takes any schema."""
        for number, schema in enumerate((STRING, ANY)):
            self.ask(subscribe(name=f"s{number}"), 12, schema)
        self.assertEqual({OURS: [STRING]}, self.state.schemas)

    def test_get(self) -> None:
        """A schema is found by its version; without one, the latest is."""
        self.assertEqual(pb.TopicNotFound, self.get().error_code)
        for number, schema in enumerate((STRING, JSON)):
            created = self.create(schema)
            self.assertEqual(bytes(7) + bytes([number]), bytes_of(created, 4))
        for version, schema, number in ((None, JSON, 1), (b"", JSON, 1), (bytes(8), STRING, 0)):
            answer = self.get(version)
            self.assertEqual((schema, bytes(7) + bytes([number])), (bytes_of(answer, 4), bytes_of(answer, 5)))

    def test_unknown_version(self) -> None:
        """An unknown version and one of another size are an error."""
        self.create(STRING)
        for version in (bytes(7) + b"\x01", b"\xff" * 8, b"\x00"):
            self.assertEqual(pb.TopicNotFound, self.get(version).error_code)

    @given(st.binary(max_size=20))
    def test_any_schema(self, schema: bytes) -> None:
        """Any schema of a producer is stored or refused."""
        request = pb.CommandProducer(topic=OURS, producer_id=0, request_id=1)
        answer = self.ask(request, 7, schema)
        if isinstance(answer, pb.CommandError):
            self.assertIn(answer.error, (pb.IncompatibleSchema, pb.ProducerBusy))

    def test_bad_schema(self) -> None:
        """Bytes that are no schema are refused."""
        answer = self.ask(pb.CommandProducer(topic=OURS, producer_id=0, request_id=1), 7, b"\xff\xff")
        self.assertEqual(pb.IncompatibleSchema, answer.error)
