"""The text form of a conversation: JSON Lines, which people can read, compare with ``diff`` and edit. Pure.

The first line is a header; each further line is a frame (`sniproxy.conversation.entry`) with ``time``, in seconds since
the beginning, and ``from``: ``client`` or ``broker``. The last line may say how it ended: ``end``. The reader skips
empty lines, and lines that begin with ``#``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal

import attrs

from sniproxy.conversation.entry import EntryError, build, incomplete
from sniproxy.conversation.schema import Secrecy
from sniproxy.util.text import quoted

FORMAT = 1
"""The version of the format."""

MAX_LINE_CHARS = 32 << 20
"""Longest line. A line with a kept payload of 8 MiB has fewer."""

MAX_FRAMES = 1_000_000
"""Most frames of one conversation."""

MAX_TIME_S = 1e9

Side = Literal["client", "broker"]


class ConversationError(Exception):
    """The text is not a conversation. The message gives the line, the reason and the cure."""


@attrs.frozen
class Line:
    """One recorded frame.

    @ivar number: of the line in the file, counted from 1. @ivar time: seconds since the beginning.
    @ivar side: who sent it. @ivar entry: its object, of which C{build} makes a frame.
    """

    number: int
    time: float
    side: Side
    entry: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Conversation:
    """A recorded connection.

    @ivar client: the address of the client. @ivar broker: the address of the broker. Both are only informative.
    @ivar lines: the frames in their order. @ivar end: how it ended: C{client} or C{broker} closed it, or another
        reason; empty: not recorded.
    @ivar started: when it began, in seconds since 1970. None: the file does not say.
    """

    client: str
    broker: str
    lines: tuple[Line, ...]
    end: str = ""
    started: float | None = None


def header_line(client: str, broker: str, started: str, keep: Collection[Secrecy]) -> str:
    """The first line. @param started: the time of the first byte, as text. @param keep: what is not struck out."""
    struck = [each.value for each in Secrecy if each not in keep]
    head = {"conversation": FORMAT, "client": client, "broker": broker, "started": started, "struck_out": struck}
    return json.dumps(head)


def frame_line(time: float, side: Side, entry: dict[str, Any]) -> str:
    """The line of a frame."""
    return json.dumps({"time": round(max(0.0, time), 6), "from": side, **entry})


def end_line(time: float, how: str) -> str:
    """The last line."""
    return json.dumps({"time": round(max(0.0, time), 6), "end": how})


def read_conversation(lines: Iterable[str], plays: Side | None = None) -> Conversation:
    """Read a file. Raises `ConversationError`.

    @param plays: the side whose frames will be sent: they must have all fields that Pulsar requires. None: neither.
    """
    head: dict[str, Any] | None = None
    found: list[Line] = []
    end = ""
    for number, value in _objects(lines):
        try:
            if head is None:
                head = _header(value)
            elif "end" in value:
                end = value["end"] if isinstance(value["end"], str) else ""
            elif end:
                raise EntryError("a frame after the end; move or delete the line with the end")
            elif len(found) >= MAX_FRAMES:
                raise EntryError(f"over {MAX_FRAMES:,} frames; split the file")
            else:
                found.append(_line(number, value, plays))
        except EntryError as error:
            raise ConversationError(f"line {number}: {error}") from None
        except RecursionError:
            raise ConversationError(f"line {number}: the nesting is too large") from None
    if head is None:
        raise ConversationError("the file has no conversation; record one with `sniproxyctl record`")
    started = _time(_text(head.get("started")))
    return Conversation(_text(head.get("client")), _text(head.get("broker")), tuple(found), end, started)


def _objects(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if len(line) > MAX_LINE_CHARS:
            raise ConversationError(f"line {number}: over {MAX_LINE_CHARS:,} characters")
        try:
            value = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number or the nesting is too large"
            raise ConversationError(f"line {number}: not JSON: {reason}; write one object in one line") from None
        if not isinstance(value, dict):
            raise ConversationError(f"line {number}: not an object; write one frame a line")
        yield number, value


def _time(text: str) -> float | None:
    """Seconds since 1970. None: it is not a time with its zone."""
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.timestamp()
    except ValueError:
        return None


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _header(value: dict[str, Any]) -> dict[str, Any]:
    version = value.get("conversation")
    if version is None:
        raise EntryError('the header is missing; the first line begins with {"conversation": 1')
    if version is True or version != FORMAT:
        raise EntryError(f"format {quoted(str(version), 20)} is unknown; this release reads {FORMAT}")
    return value


def _line(number: int, value: dict[str, Any], plays: Side | None) -> Line:
    side, time = value.get("from"), value.get("time", 0.0)
    if side != "client" and side != "broker":
        raise EntryError('from: write "client" or "broker"')
    good = isinstance(time, int | float) and not isinstance(time, bool)
    if not good or not (0 <= time <= MAX_TIME_S and math.isfinite(time)):
        raise EntryError("time: write seconds since the beginning, such as 0.25")
    entry = {key: each for key, each in value.items() if key not in ("time", "from")}
    build(entry)  # checks it; kept, it would need as much memory as all payloads that were struck out
    if side == plays and (missing := incomplete(entry)):
        raise EntryError(f"{entry['command']}: {missing} is missing; Pulsar requires it, so add it")
    return Line(number, float(time), "client" if side == "client" else "broker", entry)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
