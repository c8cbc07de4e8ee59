"""Reads and writes the command of a frame: the protobuf message BaseCommand of ``commands.proto``. Pure."""

from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.frames import encode
from sniproxy.util.text import MAX_TEXT_CHARS, bounded

_FIELDS = {field.number: field.name for field in pb.BaseCommand.DESCRIPTOR.fields if field.message_type is not None}
_NUMBERS = {
    field.message_type.full_name: field.number
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}

_TYPE_TAG = 0x08  # of BaseCommand.type
_LOWEST_TYPE = 2  # CONNECT


class CommandError(Exception):
    """The bytes are not a command that this version knows."""


@lru_cache(4096)
def opening(kind: int, size: int) -> bytes | None:
    """The first bytes of a command of this type and size in bytes, as every Pulsar library writes them.

    A command begins with its type. One field follows, whose number is the type and which ends where the command ends; a
    command of 2 bytes has no field. None: no command of this type has this size.
    """
    head = bytes((_TYPE_TAG, kind))
    if not _LOWEST_TYPE <= kind < 128 or size < len(head):
        return None
    if size == len(head):
        return head
    head += varint(kind << 3 | 2)
    for width in range(1, 6):
        length = size - len(head) - width
        if length >= 0 and len(number := varint(length)) == width:
            return head + number
    return None


def type_of(command: bytes) -> int:
    """The type of a command as protobuf reads it: the last known one, anywhere in the command.

    Raises `CommandError` if there is none.
    """
    if len(command) > 1:
        begin = opening(command[1], len(command))
        if begin is not None and command.startswith(begin):
            return command[1]
    return _parsed(command).type


def _parsed(command: bytes) -> pb.BaseCommand:
    """Parse a command. Raises `CommandError` if it is not protobuf or has no known type."""
    base = pb.BaseCommand()
    try:
        base.ParseFromString(command)
    except (DecodeError, UnicodeDecodeError):
        raise CommandError("the command is not a protobuf message") from None
    if not base.HasField("type"):
        raise CommandError("the command has no type or an unknown type")
    return base


def varint(number: int) -> bytes:
    """A number in protobuf's encoding."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def read(command: bytes) -> pb.BaseCommand:
    """Read a frame's command.

    Raises `CommandError` for bytes that are not a command, an unknown type, and a missing field.
    """
    base = _parsed(command)
    name = _FIELDS.get(base.type)
    if (name is not None and not base.HasField(name)) or not base.IsInitialized():
        raise CommandError(f"{type_name(base)} without a required field")
    return base


def fields_of(base: pb.BaseCommand) -> Any:
    """The sub-message of a command, selected by its type."""
    return getattr(base, _FIELDS[base.type])


def type_name(base: pb.BaseCommand) -> str:
    """The name of a command's type, such as ``LOOKUP``."""
    return pb.BaseCommand.Type.Name(base.type)


def number_name(number: int) -> str:
    """The name of a command type by its number; ``TYPE_83`` for an unknown type."""
    return pb.BaseCommand.Type.Name(number) if number in _FIELDS else f"TYPE_{number}"


def text(message: Message, field: str, most: int = MAX_TEXT_CHARS) -> str | None:
    """A text field in printable ASCII, with at most ``most`` characters. None: the field is absent."""
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    # Protobuf returns bytes if a text is not UTF-8.
    return bounded(value.decode("latin-1") if isinstance(value, bytes) else value, most)


def error_name(message: Message, field: str = "error") -> str | None:
    """The name of a ServerError, or ``ServerError 26`` for an unknown one. None: the field is absent."""
    if message.HasField(field):
        return pb.ServerError.Name(getattr(message, field))
    number = message.DESCRIPTOR.fields_by_name[field].number
    unknowns = UnknownFieldSet(message)
    for unknown in (unknowns[at] for at in range(len(unknowns))):
        if unknown.field_number == number and isinstance(unknown.data, int):
            return f"ServerError {unknown.data}"
    return None


def feature_names(flags: pb.FeatureFlags) -> list[str]:
    """The names of the supported features, such as ``auth_refresh``."""
    return [field.name.removeprefix("supports_") for field, on in flags.ListFields() if on]


def write(message: Message, section: bytes = b"") -> bytes:
    """Write a frame with one command, such as ``CommandPing()``.

    ``section``: the payload section, for SEND and MESSAGE only.

    Raises `KeyError` for a message that is not a command, and protobuf's ``EncodeError`` for a missing field.
    """
    number = _NUMBERS[message.DESCRIPTOR.full_name]
    base = pb.BaseCommand(type=pb.BaseCommand.Type.Name(number))
    getattr(base, _FIELDS[number]).CopyFrom(message)
    return encode(base.SerializeToString(), section)
