"""Stores schemas of topics as they are, and gives them out. Pure.

A schema has one version, from 0, in each topic. Nothing checks whether one is compatible with another.
"""

from __future__ import annotations

import struct

from google.protobuf.message import DecodeError

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar.hidden import add_bytes, bytes_of, number_of
from sniproxy.testing.pulsar.session import ClientSession
from sniproxy.testing.pulsar.state import RequestError, schema_topic

_VERSION = struct.Struct(">q")
_TYPE_OF_SCHEMA = 4
_NOT_STORED = (0, 21)  # of bytes; that of a consumer that takes any schema
_SCHEMA_OF_PRODUCER = 7
_SCHEMA_OF_CONSUMER = 12
_SCHEMA_OR_VERSION_OF_REQUEST = 3
_SCHEMA_OF_RESPONSE = 4
_VERSION_OF_GET_RESPONSE = 5
_VERSION_OF_CREATE_RESPONSE = 4


def store_schema(session: ClientSession, request: pb.CommandProducer | pb.CommandSubscribe) -> bytes:
    """Store the schema of a new producer or consumer. @return: its version; empty without a schema."""
    field = _SCHEMA_OF_PRODUCER if isinstance(request, pb.CommandProducer) else _SCHEMA_OF_CONSUMER
    schema = bytes_of(request, field)
    if schema is None or _type(schema) in _NOT_STORED:
        return b""
    return _VERSION.pack(session.cluster.add_schema(request.topic, schema))


def answer_create(session: ClientSession, request: pb.CommandGetOrCreateSchema) -> None:
    """GET_OR_CREATE_SCHEMA."""
    schema = bytes_of(request, _SCHEMA_OR_VERSION_OF_REQUEST) or b""
    answer = pb.CommandGetOrCreateSchemaResponse(request_id=request.request_id)
    add_bytes(answer, _VERSION_OF_CREATE_RESPONSE, _VERSION.pack(session.cluster.add_schema(request.topic, schema)))
    session.answer(answer)


def answer_get(session: ClientSession, request: pb.CommandGetSchema) -> None:
    """GET_SCHEMA: the schema of a version, or the latest one."""
    known = session.cluster.schemas.get(schema_topic(request.topic), [])
    wanted = bytes_of(request, _SCHEMA_OR_VERSION_OF_REQUEST)
    number = len(known) - 1
    if wanted:
        number = _VERSION.unpack(wanted)[0] if len(wanted) == _VERSION.size else -1
    if not 0 <= number < len(known):
        raise RequestError(pb.TopicNotFound, f"{request.topic} does not have this schema")
    answer = pb.CommandGetSchemaResponse(request_id=request.request_id)
    add_bytes(answer, _SCHEMA_OF_RESPONSE, known[number])
    add_bytes(answer, _VERSION_OF_GET_RESPONSE, _VERSION.pack(number))
    session.answer(answer)


def _type(schema: bytes) -> int:
    try:
        return number_of(pb.CommandPing.FromString(schema), _TYPE_OF_SCHEMA, 0)
    except DecodeError:
        raise RequestError(pb.IncompatibleSchema, "the schema is not a protobuf message") from None
