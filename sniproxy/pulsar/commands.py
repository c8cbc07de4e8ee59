"""Read and write the command of a frame: protobuf's BaseCommand, as declared in ``commands.proto``."""

from google.protobuf.message import DecodeError, Message

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.frames import encode

_FIELDS = {field.number: field.name for field in pb.BaseCommand.DESCRIPTOR.fields}
_NUMBERS = {
    field.message_type.full_name: field.number
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}


class CommandError(Exception):
    """The bytes are no command that this version knows."""


def read(command: bytes) -> pb.BaseCommand:
    """Read a frame's command.

    A command whose type is known, but whose fields `commands.proto` does not declare, has a type and nothing
    else. Raises `CommandError` for bytes that are no command, a type that is not known, and a missing field.
    """
    base = pb.BaseCommand()
    try:
        base.ParseFromString(command)
    except DecodeError:
        raise CommandError("the command is no protobuf message") from None
    if not base.HasField("type"):
        raise CommandError("the command has no type, or one that is not known")
    name = _FIELDS.get(base.type)
    if (name is not None and not base.HasField(name)) or not base.IsInitialized():
        raise CommandError(f"{type_name(base)} without a field that it must have")
    return base


def type_name(base: pb.BaseCommand) -> str:
    """The type of a command in the protocol's words, such as ``LOOKUP``."""
    return pb.BaseCommand.Type.Name(base.type)


def write(message: Message, section: bytes = b"") -> bytes:
    """A whole frame around one command, such as ``CommandPing()``.

    ``section``: the payload section, for SEND and MESSAGE only.

    Raises `KeyError` for a message that is no command, and protobuf's ``EncodeError`` for a missing field.
    """
    number = _NUMBERS[message.DESCRIPTOR.full_name]
    base = pb.BaseCommand(type=pb.BaseCommand.Type.Name(number))
    getattr(base, _FIELDS[number]).CopyFrom(message)
    return encode(base.SerializeToString(), section)
