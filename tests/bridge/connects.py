"""Reads a client's CONNECT, for the tests of the bridge."""

from __future__ import annotations

from google.protobuf.unknown_fields import UnknownFieldSet

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader


def secrets(command: pb.CommandConnect) -> list[object]:
    """All values of CONNECT's field auth_data, in order."""
    (frame,) = FrameReader().feed(write(command))
    unknown = UnknownFieldSet(fields_of(read(frame.command)))
    fields = [unknown[at] for at in range(len(unknown))]
    return [field.data for field in fields if field.field_number == 3]
