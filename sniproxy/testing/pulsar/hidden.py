"""Fields of commands that commands.proto does not name: credentials, positions and schemas. Pure.

commands.proto leaves out what the proxy must not print, and what it does not read. A broker needs some of both.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, varint

_LENGTH_DELIMITED = 2


def _values(message: Message, number: int) -> list[Any]:
    # To a message without fields, all fields are unknown.
    unknowns = UnknownFieldSet(pb.CommandPing.FromString(message.SerializePartialToString()))
    found = (unknowns[at] for at in range(len(unknowns)))
    return [field.data for field in found if field.field_number == number]


def require_texts(message: Message) -> None:
    """Raise `CommandError` if a text is not UTF-8. Protobuf returns such texts as bytes."""
    for field, value in message.ListFields():
        for each in [value] if isinstance(value, str | bytes | Message | int | float) else value:
            if isinstance(each, Message):
                require_texts(each)
            elif isinstance(each, bytes) and field.type == field.TYPE_STRING:
                raise CommandError(f"{field.name} is not UTF-8")


def number_of(message: Message, field: int, default: int) -> int:
    """A field with a number, by the field's number. ``default``: the value of an absent field."""
    return next((value for value in reversed(_values(message, field)) if isinstance(value, int)), default)


def bytes_of(message: Message, field: int) -> bytes | None:
    """A field with bytes, a text or a message. None: the field is absent."""
    return next((value for value in reversed(_values(message, field)) if isinstance(value, bytes)), None)


def has(message: Message, field: int) -> bool:
    """Whether a field is present."""
    return bool(_values(message, field))


def ids_of(message: Message, field: int) -> list[pb.MessageIdData]:
    """A repeated field of message ids. Raises `CommandError` if one of them cannot be read."""
    try:
        found = [pb.MessageIdData.FromString(value) for value in _values(message, field) if isinstance(value, bytes)]
    except DecodeError:
        found = [pb.MessageIdData()]
    if not all(place.IsInitialized() for place in found):
        raise CommandError("an invalid message id")
    return found


def add_bytes(message: Message, field: int, data: bytes) -> None:
    """Append a field with bytes, a text or a serialized message."""
    message.MergeFromString(varint(field << 3 | _LENGTH_DELIMITED) + varint(len(data)) + data)
