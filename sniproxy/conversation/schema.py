"""The fields of Pulsar's messages: their names, kinds, and whether they may hold a secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import attrs

from sniproxy.conversation.fieldnames import ENUMS, MESSAGES, PRIVATE, REQUIRED
from sniproxy.pulsar import commands_pb2 as pb


class Kind(Enum):
    """How the bytes of a field are read."""

    UNSIGNED = "unsigned"
    SIGNED = "signed"
    BOOL = "bool"
    ENUM = "enum"
    STRING = "string"
    BYTES = "bytes"
    MESSAGE = "message"


class Secrecy(Enum):
    """What a field may hold, and so what keeps it in a recording."""

    CREDENTIAL = "credentials"
    CONTENT = "payloads"
    PRIVATE = "properties"


@attrs.frozen
class Field:
    """One field of a message.

    @ivar type_name: the message or enum; empty for scalars. @ivar names: the names of an enum by number.
    @ivar secrecy: None: never secret. @ivar default: the value that an absent field has; None: none, as for messages.
    @ivar required: a message without it cannot be read.
    """

    number: int
    name: str
    kind: Kind
    type_name: str = ""
    repeated: bool = False
    names: Mapping[int, str] = attrs.field(factory=dict, repr=False)
    secrecy: Secrecy | None = None
    default: Any = None
    required: bool = False


@attrs.frozen(eq=False)
class Layout:
    """The fields of one message, by number and by name. Both are empty for an unknown message."""

    name: str
    by_number: Mapping[int, Field]
    by_name: Mapping[str, Field]


_FIELD = re.compile(r"(\d+) (\w+) (\w+)(\*?)([!$]?)(?:=(\d))?")
_MARKS = {"!": Secrecy.CREDENTIAL, "$": Secrecy.CONTENT, "": None}
_SCALARS = {
    "uint64": Kind.UNSIGNED,
    "uint32": Kind.UNSIGNED,
    "int64": Kind.SIGNED,
    "int32": Kind.SIGNED,
    "bool": Kind.BOOL,
    "string": Kind.STRING,
    "bytes": Kind.BYTES,
}
_DEFAULTS: dict[Kind, Any] = {
    Kind.UNSIGNED: 0,
    Kind.SIGNED: 0,
    Kind.BOOL: False,
    Kind.STRING: "",
    Kind.BYTES: {"base64": ""},
}
_GENERATED = {
    # The numbers of descriptor.proto, FieldDescriptorProto.Type.
    3: Kind.SIGNED,
    4: Kind.UNSIGNED,
    5: Kind.SIGNED,
    8: Kind.BOOL,
    9: Kind.STRING,
    11: Kind.MESSAGE,
    12: Kind.BYTES,
    13: Kind.UNSIGNED,
    14: Kind.ENUM,
}


def layout_of(message: str) -> Layout:
    """The fields of a message by its name in PulsarApi.proto, such as ``CommandSend``; empty if it is unknown."""
    return _layouts().get(message) or Layout(message, {}, {})


@lru_cache(128)
def command_layout(number: int) -> Layout:
    """The fields of the command of a type by its number."""
    field = pb.BaseCommand.DESCRIPTOR.fields_by_number.get(number)
    return layout_of("" if field is None or field.message_type is None else field.message_type.name)


@lru_cache(1)
def _layouts() -> dict[str, Layout]:
    found: dict[str, list[Field]] = {}
    for name, descriptor in pb.DESCRIPTOR.message_types_by_name.items():
        found[name] = [_generated(name, field) for field in descriptor.fields]
    for line in MESSAGES.strip().splitlines():
        name, _, fields = line.partition(": ")
        found.setdefault(name, []).extend(_listed(name, text) for text in fields.split(", "))
    return {
        name: Layout(name, {each.number: each for each in fields}, {each.name: each for each in fields})
        for name, fields in found.items()
    }


def _generated(message: str, field: Any) -> Field:
    kind = _GENERATED[field.type]
    default: Any = None
    if kind is Kind.ENUM:
        default = field.enum_type.values_by_number[field.default_value].name
    elif kind is Kind.BYTES:
        default = _DEFAULTS[kind]
    elif kind is not Kind.MESSAGE and not field.is_repeated:
        default = field.default_value
    return Field(
        field.number,
        field.name,
        kind,
        field.message_type.name if kind is Kind.MESSAGE else "",
        bool(field.is_repeated),
        {each.number: each.name for each in field.enum_type.values} if kind is Kind.ENUM else {},
        Secrecy.PRIVATE if field.name in PRIVATE else None,
        None if field.is_repeated else default,
        bool(field.is_required) or _is_required(message, field.name),
    )


def _listed(message: str, text: str) -> Field:
    found = _FIELD.fullmatch(text)
    assert found is not None, text
    number, name, type_name, many, mark, default = found.groups()
    kind = _SCALARS.get(type_name) or (Kind.ENUM if type_name in ENUMS else Kind.MESSAGE)
    names = dict(enumerate(ENUMS[type_name].split())) if kind is Kind.ENUM else {}
    absent = names.get(0) if kind is Kind.ENUM else True if default else _DEFAULTS.get(kind)
    return Field(
        int(number),
        name,
        kind,
        type_name if kind is Kind.MESSAGE else "",
        bool(many),
        names,
        _MARKS[mark],
        None if many else absent,
        _is_required(message, name),
    )


def _is_required(message: str, name: str) -> bool:
    return name in REQUIRED.get(message, "").split()
