"""Protobuf bytes to a tree of named fields, in the order of the bytes, and back. Pure.

A tree is a JSON object. Numbers, truth values, texts and names of enum values are themselves; a message is an object; a
repeated field is a list, as is another field that the bytes have more than once. Bytes, and texts that are not UTF-8,
are ``{"base64": TEXT}``. A field without a name here, or of another type than expected, is ``"#NUMBER"``, and its
value a number, ``{"base64": TEXT}``, ``{"fixed32": NUMBER}`` or ``{"fixed64": NUMBER}``. ``{"struck": SIZE}`` stands
for bytes that were struck out: they are written as zeros, or, in a field without a name, left out.

Specification: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from sniproxy.conversation.schema import Field, Kind, Layout, layout_of
from sniproxy.pulsar.commands import varint
from sniproxy.util.text import quoted

Tree = dict[str, Any]

MAX_DEPTH = 16
"""Messages inside messages."""

MAX_STRUCK_BYTES = 128 << 20
"""Largest number of bytes that were struck out, and are written as zeros."""

_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5
_MAX_NUMBER = (1 << 29) - 1
_ALL = (1 << 64) - 1
_UNNAMED = re.compile(r"#([1-9][0-9]{0,8})", re.ASCII)
_WIDTHS = {_FIXED64: ("fixed64", 8), _FIXED32: ("fixed32", 4)}


class WireError(Exception):
    """The bytes are not protobuf, or the tree cannot be written. The message gives the field and the reason."""


def raw_fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type, and an int or bytes. Raises `WireError` if it is not protobuf."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _MAX_NUMBER:
            raise WireError(f"field number {number}")
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield number, wire, value
            continue
        size = 0
        if wire == _SIZED:
            size, at = _read_varint(data, at)
        elif wire in _WIDTHS:
            size = _WIDTHS[wire][1]
        else:
            raise WireError(f"wire type {wire}")
        if at + size > len(data):
            raise WireError(f"field {number} has {size} bytes, but the message has {len(data) - at} left")
        yield number, wire, data[at : at + size]
        at += size


def decode(layout: Layout, data: bytes, depth: int = 0) -> Tree:
    """Read a message. Raises `WireError` if it is not protobuf."""
    tree: Tree = {}
    if depth > MAX_DEPTH:
        raise WireError(f"over {MAX_DEPTH} messages inside each other")
    for number, wire, raw in raw_fields(data):
        field = layout.by_number.get(number)
        value = None if field is None else _value(field, wire, raw, depth)
        if field is None or value is None:
            key, value, repeated = f"#{number}", _unnamed(wire, raw), False
        else:
            key, repeated = field.name, field.repeated
        if key not in tree:
            tree[key] = [value] if repeated else value
        elif isinstance(tree[key], list):
            tree[key].append(value)
        else:
            tree[key] = [tree[key], value]
    return tree


def encode(layout: Layout, tree: Any, depth: int = 0) -> bytes:
    """Write a message. Raises `WireError` if a name is unknown, or a value does not fit its field."""
    if not isinstance(tree, dict) or depth > MAX_DEPTH:
        raise WireError(f"{layout.name}: write an object with the fields of the message")
    parts: list[bytes] = []
    for key, values in tree.items():
        unnamed = _UNNAMED.fullmatch(key)
        field = layout.by_name.get(key)
        if field is None and (unnamed is None or int(unnamed[1]) > _MAX_NUMBER):
            near = f"; fields: {', '.join(layout.by_name)}" if layout.by_name else ""
            raise WireError(f"{layout.name or 'the message'} has no field {quoted(key)}{near}")
        for value in values if isinstance(values, list) else [values]:
            if field is not None:
                parts.append(_write(field, value, depth))
            elif unnamed is not None:
                parts.append(_write_unnamed(int(unnamed[1]), value))
    return b"".join(parts)


def missing_field(layout: Layout, tree: Any) -> str | None:
    """The path of a required field that a message does not have, also inside its fields. None: it has all."""
    for field in layout.by_name.values():
        values = tree.get(field.name, [])
        listed = values if isinstance(values, list) else [values]
        if field.required and not listed:
            return field.name
        if field.kind is Kind.MESSAGE:
            found = (missing_field(layout_of(field.type_name), value) for value in listed if isinstance(value, dict))
            path = next((path for path in found if path is not None), None)
            if path is not None:
                return f"{field.name}.{path}"
    return None


def struck_size(value: Any) -> int | None:
    """The number of bytes that were struck out. None: the value is another one."""
    size = value.get("struck") if isinstance(value, dict) and len(value) == 1 else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_STRUCK_BYTES else None


def total_struck(tree: Any) -> int:
    """The number of bytes that were struck out of a tree."""
    total, left = 0, [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            total += struck_size(value) or 0
            left.extend(value.values() if isinstance(value, dict) else value)
    return total


def bytes_of(value: Any) -> bytes | None:
    """The bytes of ``{"base64": TEXT}``. None: the value is another one."""
    text = value.get("base64") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def as_base64(data: bytes) -> Tree:
    """The form of bytes."""
    return {"base64": base64.b64encode(data).decode()}


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number is cut short or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & _ALL, at


def _value(field: Field, wire: int, raw: Any, depth: int) -> Any:
    """The value of a named field. None: it has another type than expected."""
    if wire == _VARINT:
        return _number(field, raw)
    if wire != _SIZED:
        return None
    if field.kind is Kind.STRING:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return as_base64(raw)
    if field.kind is Kind.BYTES:
        return as_base64(raw)
    if field.kind is Kind.MESSAGE:
        try:
            return decode(layout_of(field.type_name), raw, depth + 1)
        except WireError:
            return None
    return None


def _number(field: Field, raw: int) -> Any:
    match field.kind:
        case Kind.UNSIGNED:
            return raw
        case Kind.SIGNED:
            return raw - _ALL - 1 if raw >> 63 else raw
        case Kind.BOOL:
            return bool(raw) if raw < 2 else raw
        case Kind.ENUM:
            return field.names.get(raw, raw)
    return None


def _unnamed(wire: int, raw: Any) -> Any:
    if wire == _VARINT:
        return raw
    return as_base64(raw) if wire == _SIZED else {_WIDTHS[wire][0]: int.from_bytes(raw, "little")}


def _write(field: Field, value: Any, depth: int) -> bytes:
    number = _as_number(field, value)
    if number is not None:
        return varint(field.number << 3 | _VARINT) + varint(number & _ALL)
    data: bytes | None = None
    if field.kind in (Kind.STRING, Kind.BYTES):
        size = struck_size(value)
        data = bytes_of(value) if size is None else bytes(size)
        if data is None and field.kind is Kind.STRING and isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
    elif field.kind is Kind.MESSAGE:
        data = encode(layout_of(field.type_name), value, depth + 1)
    if data is None and field.kind is Kind.ENUM:
        names = ", ".join(field.names.values())
        raise WireError(f"{field.name}: {_shown(value)} is not one of its values; write one of {names}")
    if data is None:
        raise WireError(f"{field.name}: {_shown(value)} does not fit the kind {field.kind.value}")
    return _sized(field.number, data)


def _as_number(field: Field, value: Any) -> int | None:
    """The number to write. None: the field or the value is none."""
    if field.kind is Kind.ENUM and isinstance(value, str):
        return next((number for number, name in field.names.items() if name == value), None)
    if field.kind not in (Kind.UNSIGNED, Kind.SIGNED, Kind.BOOL, Kind.ENUM) or not isinstance(value, int):
        return None
    if isinstance(value, bool) and field.kind is not Kind.BOOL:
        return None
    least = -(1 << 63) if field.kind is Kind.SIGNED else 0
    return value if least <= value <= (_ALL >> 1 if field.kind is Kind.SIGNED else _ALL) else None


def _write_unnamed(number: int, value: Any) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _ALL:
        return varint(number << 3 | _VARINT) + varint(value)
    if struck_size(value) is not None:
        return b""
    data = bytes_of(value)
    if data is not None:
        return _sized(number, data)
    for wire, (name, width) in _WIDTHS.items():
        fixed = value.get(name) if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(fixed, int) and 0 <= fixed < 1 << 8 * width:
            return varint(number << 3 | wire) + fixed.to_bytes(width, "little")
    raise WireError(f'#{number}: {_shown(value)} is no number, {{"base64": ...}}, {{"fixed32": ...}} or similar')


def _sized(number: int, data: bytes) -> bytes:
    return varint(number << 3 | _SIZED) + varint(len(data)) + data


def _shown(value: Any) -> str:
    """The kind of a value, which may itself be secret."""
    return {dict: "an object", str: "a text", list: "a list", type(None): "null"}.get(
        type(value), quoted(str(value), 40)
    )
