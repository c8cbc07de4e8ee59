"""Targets for recordings, and for the reader of files with conversations."""

from __future__ import annotations

import json
import struct
from typing import Any

from fuzz.inputs import talk
from sniproxy.conversation.comparison import Rules
from sniproxy.conversation.entry import ALL, build
from sniproxy.conversation.player import Player
from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import Conversation, ConversationError, Line, read_conversation
from sniproxy.pulsar.commands import CommandError
from sniproxy.pulsar.frames import encode
from tests.pulsar import streams


def recorded(said: list[tuple[bool, bytes]], recording: Recording, size: int = 65536) -> tuple[list[str], Recorder]:
    """The lines of a recording."""
    lines: list[str] = []
    recorder = Recorder("c:1", "b:2", "2026-01-01", recording, lines.append)
    for time, (by_client, whole) in enumerate(said):
        for at in range(0, len(whole), size):
            recorder.feed("client" if by_client else "broker", whole[at : at + size], float(time))
    recorder.end(float(len(said)), "client")
    return lines, recorder


def written(line: Line) -> bytes:
    """The bytes of a line."""
    frame = build(line.entry)
    return encode(frame.command, frame.section)


def recording(data: bytes) -> None:
    """Any bytes are recorded without an error; the file can be read, and has what was kept byte for byte."""
    size, said = talk(data)
    lines, recorder = recorded(said, Recording(keep=ALL), size)
    recorded(said, Recording(), size)
    if not recorder.frames:
        assert not lines
        return
    read = read_conversation(lines)
    assert len(read.lines) == recorder.frames
    for side in ("client", "broker"):
        sent = b"".join(whole for by_client, whole in said if by_client == (side == "client"))
        found = b"".join(written(one) for one in read.lines if one.side == side)
        assert sent.startswith(found)


def real(name: str) -> list[str]:
    """The file of a real connection, with few frames."""
    said = [(segment.side == "client", segment.data) for segment in streams.segments(name)]
    return recorded(said, Recording(keep=ALL if name < "m" else frozenset(), max_frames=8))[0]


FILES = [file for file in map(real, streams.NAMES) if file]
"""Files that `conversation` damages."""

WORDS = (
    "{}", "[]", "null", "true", "-1", "1e999", "18446744073709551616", '""', '"\\ud800"', '{"struck": 9}',
    '{"base64": "AA=="}', '{"base64": "A"}', '{"bytes": 5}', '{"fixed32": 1}', "[1, 2]", '"LOOKUP"', '"TYPE_83"',
    '"section": {"struck": 3}, ', '"exact": "AAAAAA==", ', '"#7": 1, ', '"checksum": "correct", ',
    "[" * 600, '{"a":' * 600,
)  # fmt: skip
"""Texts that are put into a line in place of others."""


VALUES = (
    None, True, 0, -1, 1 << 63, 1 << 64, 0.5, "", "LOOKUP", "TYPE_83", "correct", "00000000", "\ud800", [], {},
    [1, "a"], {"struck": 9}, {"base64": "AA=="}, {"base64": "A"}, {"bytes": 5}, {"bytes": 5, "sha256": ""},
    {"fixed32": 1},
)  # fmt: skip
"""Values that are put in place of others."""

MEMBERS = (
    "fields",
    "metadata",
    "payload",
    "section",
    "broker_entry",
    "checksum",
    "exact",
    "end",
    "time",
    "#7",
    "topic",
)
"""Members that are added."""


def conversation(data: bytes) -> None:
    """A damaged file is a conversation or a ConversationError, which names the line; both sides can be played."""
    if len(data) < 3:
        return
    lines = list(FILES[data[0] % len(FILES)])
    for which, at, word, count in struct.iter_unpack(">BHBB", data[1 : 1 + (len(data) - 1) // 5 * 5]):
        number = which % len(lines)
        line = lines[number]
        if count < 192:
            lines[number] = edited(line, at, word, count)
        else:
            at %= len(line) + 1
            text = WORDS[word] if word < len(WORDS) else chr(word)
            lines[number] = line[:at] + text + line[at + count - 192 :]
    try:
        found = read_conversation(lines)
    except ConversationError as error:
        assert str(error).startswith(("line ", "the file has no conversation")), str(error)
        assert str(error).isprintable(), str(error)
        return
    play(found)


def edited(line: str, at: int, word: int, count: int) -> str:
    """The line with a value replaced, or a member added. @param at: where, a step for each four bits."""
    try:
        whole = json.loads(line)
    except (ValueError, RecursionError):
        return line
    parent: Any = [whole]
    key: Any = 0
    value = whole
    while isinstance(value, dict | list) and value and at:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        parent, key = value, keys[at % 16 % len(keys)]
        value, at = parent[key], at >> 4
    new = VALUES[word % len(VALUES)]
    if isinstance(value, dict) and count & 1:
        value[MEMBERS[count // 2 % len(MEMBERS)]] = new
    else:
        parent[key] = new
    return json.dumps(whole)


def play(found: Conversation) -> None:
    """Let the two sides of a conversation play each other."""
    sides = [Player(found, "client", Rules(strict=True)), Player(found, "broker", Rules(), "pulsar://127.0.0.1:1")]
    for _ in range(len(found.lines) + 1):
        for player, other in (sides, sides[::-1]):
            while (held := player.outgoing()) is not None:
                try:
                    other.receive(held.frame)
                except CommandError:
                    pass
    for player in sides:
        player.closed()
        for difference in player.differences:
            assert difference.text("file").replace("\n", "").isprintable()
