"""One frame as a JSON object, and back. Pure.

The members: ``command``, the type's name; ``fields``, its fields (`sniproxy.conversation.wire`). With a payload section
also ``broker_entry``, ``checksum`` (crc32c in hexadecimal, or ``"correct"``: computed when the frame is written),
``metadata``, and ``payload``: ``{"bytes": SIZE, "sha256": HEX}`` if it was struck out, else ``{"base64": TEXT}``. A
section that is not a message is ``section``. ``exact`` has the bytes of a frame that was encoded in an unusual way; it
counts only while the other members are unchanged; so it is there, too, for a frame without a required field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Any

from sniproxy.conversation.schema import Secrecy, command_layout, layout_of
from sniproxy.conversation.striking import strike
from sniproxy.conversation.wire import (
    MAX_STRUCK_BYTES,
    Tree,
    WireError,
    as_base64,
    bytes_of,
    decode,
    encode,
    missing_field,
    raw_fields,
    struck_size,
    total_struck,
)
from sniproxy.proxyprotocol.tlvs import crc32c
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, number_name, type_of, varint
from sniproxy.pulsar.frames import Frame, FrameError, FrameReader, read_section
from sniproxy.pulsar.frames import encode as encode_frame
from sniproxy.util.text import quoted

ALL = frozenset(Secrecy)
"""Keep everything."""

MAX_KEPT_PAYLOAD_BYTES = 8 << 20
"""Payloads that are larger are struck out in any case."""

_MEMBERS = {"command", "fields", "broker_entry", "checksum", "metadata", "payload", "section", "exact"}
_OF_MESSAGE = ("metadata", "payload", "broker_entry", "checksum")
_UNKNOWN = re.compile(r"TYPE_([1-9][0-9]{0,6})", re.ASCII)
_SIZE_BYTES = 4
_PAYLOAD_SIZE_TAG = b"\x18"
_EMPTY_MESSAGE = b"\0\0\0\2" + _PAYLOAD_SIZE_TAG + b"\0"
_TYPES = frozenset(pb.BaseCommand.Type.keys())
_METADATA, _BROKER_ENTRY = layout_of("MessageMetadata"), layout_of("BrokerEntryMetadata")


class EntryError(Exception):
    """An object cannot be written as a frame; the message gives the member, the reason and the cure."""


def describe(frame: Frame, keep: Collection[Secrecy] = ALL) -> Tree:
    """The object of a frame. Raises `CommandError` if its command cannot be read."""
    entry, struck = _describe(frame, keep)
    if not struck and (build(entry) != frame or incomplete(entry)):
        entry["exact"] = as_base64(encode_frame(frame.command, frame.section))["base64"]
    return entry


def _describe(frame: Frame, keep: Collection[Secrecy]) -> tuple[Tree, bool]:
    number = type_of(frame.command)
    entry: Tree = {"command": number_name(number)}
    struck = False
    try:
        parts = [raw for field, wire, raw in raw_fields(frame.command) if field == number and wire == 2]
        layout = command_layout(number)
        if parts:
            entry["fields"], struck = strike(layout, decode(layout, b"".join(parts)), keep)
    except WireError as error:
        raise CommandError(str(error)) from None
    # Protobuf ignores other fields of the command here, and they may be secret.
    plain = len(parts) <= 1 and sum(1 for _ in raw_fields(frame.command)) == 1 + len(parts)
    if frame.section:
        struck |= _describe_section(entry, frame.section, keep)
    return entry, struck or not (plain or keep == ALL)


def _describe_section(entry: Tree, data: bytes, keep: Collection[Secrecy]) -> bool:
    try:
        section = read_section(data)
        metadata = decode(_METADATA, section.metadata)
        broker_entry = None if section.broker_entry is None else decode(_BROKER_ENTRY, section.broker_entry)
    except (FrameError, WireError):
        kept = Secrecy.CONTENT in keep
        entry["section"] = as_base64(data) if kept else {"struck": len(data)}
        return not kept
    struck = entry_struck = False
    if broker_entry is not None:
        entry["broker_entry"], entry_struck = strike(_BROKER_ENTRY, broker_entry, keep)
    if section.checksum is not None:
        entry["checksum"] = f"{section.checksum:08x}"
    entry["metadata"], struck = strike(_METADATA, metadata, keep)
    payload = bytes(section.payload)
    if Secrecy.CONTENT in keep and len(payload) <= MAX_KEPT_PAYLOAD_BYTES:
        entry["payload"] = as_base64(payload)
    else:
        entry["payload"] = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        struck = True
    struck |= entry_struck
    if struck and section.checksum is not None:
        entry["checksum"] = "correct"
    return struck


def build(entry: Tree) -> Frame:
    """The frame of an object. Raises `EntryError`."""
    if "exact" in entry:
        frame = _exact(entry)
        if frame is not None:
            return frame
    unknown = [key for key in entry if key not in _MEMBERS]
    if unknown:
        raise EntryError(f"unknown member {quoted(unknown[0])}; members: {', '.join(sorted(_MEMBERS))}")
    number = number_of(entry.get("command"))
    if total_struck(entry) > MAX_STRUCK_BYTES:
        raise EntryError(f"over {MAX_STRUCK_BYTES:,} bytes were struck out; write smaller numbers")
    try:
        command = b"\x08" + varint(number)
        if "fields" in entry:
            fields = encode(command_layout(number), entry["fields"])
            command += varint(number << 3 | 2) + varint(len(fields)) + fields
        return Frame(command, _build_section(entry))
    except WireError as error:
        raise EntryError(f"{number_name(number)}: {error}") from None


def incomplete(entry: Tree) -> str:
    """The path of a field that Pulsar requires, and the object of a frame does not have. Empty: it can be read.

    A frame that was recorded without it keeps it so by C{exact}.
    """
    if "exact" in entry and _exact(entry) is not None:
        return ""
    missing = missing_field(command_layout(number_of(entry.get("command"))), entry.get("fields", {}))
    if missing is None and any(member in entry for member in _OF_MESSAGE):
        missing = missing_field(_METADATA, entry.get("metadata", {}))
        missing = None if missing is None else f"metadata.{missing}"
    return missing or ""


def number_of(name: Any) -> int:
    """The number of a command type by its name, such as ``LOOKUP`` or ``TYPE_83``. Raises `EntryError`."""
    if isinstance(name, str):
        if name in _TYPES:
            return int(pb.BaseCommand.Type.Value(name))
        found = _UNKNOWN.fullmatch(name)
        if found is not None:
            return int(found[1])
    raise EntryError(f"command: {quoted(str(name), 40)} is not the name of a command, such as LOOKUP")


def payload_size(payload: Any) -> int | None:
    """The size of a payload that was struck out. None: it was not."""
    size = payload.get("bytes") if isinstance(payload, dict) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_STRUCK_BYTES else None


def _exact(entry: Tree) -> Frame | None:
    """The frame of ``exact``; None if the other members were edited."""
    data = bytes_of({"base64": entry["exact"]})
    try:
        frames = FrameReader(MAX_STRUCK_BYTES).feed(data or b"")
        rest = {key: value for key, value in entry.items() if key != "exact"}
        if len(frames) == 1 and len(data or b"") == frames[0].size and _describe(frames[0], ALL)[0] == rest:
            return frames[0]
    except (FrameError, CommandError):
        pass
    return None


def _build_section(entry: Tree) -> bytes:
    message = [member for member in _OF_MESSAGE if member in entry]
    if "section" in entry:
        data, struck = bytes_of(entry["section"]), struck_size(entry["section"])
        if data is None and struck is None:
            raise EntryError('section: write {"base64": TEXT}')
        if message:
            raise EntryError(f"section: a message has none; remove it, or {message[0]}")
        return bytes(struck or 0) if data is None else data
    if not message:
        return b""
    metadata = encode(_METADATA, entry.get("metadata", {}))
    payload = _payload(entry.get("payload", {"bytes": 0}), entry.get("metadata"))
    rest = len(metadata).to_bytes(4) + metadata + payload
    head = b""
    if "broker_entry" in entry:
        broker_entry = encode(_BROKER_ENTRY, entry["broker_entry"])
        head = b"\x0e\x02" + len(broker_entry).to_bytes(4) + broker_entry
    checksum = entry.get("checksum")
    if checksum is None:
        return head + rest
    if checksum == "correct":
        return head + b"\x0e\x01" + crc32c(rest).to_bytes(4) + rest
    if not isinstance(checksum, str) or not re.fullmatch(r"[0-9a-f]{8}", checksum):
        raise EntryError('checksum: write "correct", or eight hexadecimal digits')
    return head + b"\x0e\x01" + bytes.fromhex(checksum) + rest


def stand_in(size: int, metadata: Any) -> bytes:
    """The payload in place of one that was struck out: zeros; for a batch, as many messages, of zeros or empty.

    A batch is uncompressed pairs of C{SingleMessageMetadata}, behind its size, and the message.
    """
    fields = metadata if isinstance(metadata, dict) else {}
    count = fields.get("num_messages_in_batch")
    if not isinstance(count, int) or count < 1 or fields.get("compression", "NONE") != "NONE":
        return bytes(size)
    left = size - (count - 1) * len(_EMPTY_MESSAGE)
    for width in range(1, 5):
        length = left - _SIZE_BYTES - 1 - width
        number = varint(length) if length >= 0 else b""
        if 0 < len(number) <= width:
            # Padded to this width, where the shortest form would leave a byte over.
            padded = number[:-1] + bytes((number[-1] | 0x80, *[0x80] * (width - len(number) - 1), 0))
            number = number if len(number) == width else padded
            head = (1 + width).to_bytes(_SIZE_BYTES) + _PAYLOAD_SIZE_TAG + number
            return _EMPTY_MESSAGE * (count - 1) + head + bytes(length)
    return bytes(size)


def _payload(value: Any, metadata: Any) -> bytes:
    size = payload_size(value)
    data = bytes_of(value) if size is None else stand_in(size, metadata)
    if data is None:
        raise EntryError('payload: write {"base64": TEXT}, or {"bytes": SIZE} for zeros')
    return data
