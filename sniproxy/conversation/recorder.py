"""Turns the bytes of one connection into the lines of a conversation. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs

from sniproxy.conversation.entry import describe
from sniproxy.conversation.schema import Secrecy
from sniproxy.conversation.textform import Side, end_line, frame_line, header_line
from sniproxy.pulsar.commands import CommandError
from sniproxy.pulsar.filter import matches
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, Frame, FrameError, FrameReader
from sniproxy.util.text import bounded, counted

HEADER_BYTES = 10 * 1024
"""Bytes that a frame may have in addition to the largest message."""

MAX_ANY_FRAME_BYTES = 128 << 20
"""Largest frame in bytes, whatever the broker announces."""

MAX_HELD_CHARS = 4 << 20
"""Characters that are held of a connection until a wanted topic appears."""

_CONNECTED = "CONNECTED"
_TOPIC_FIELDS = ("topic", "namespace")


@attrs.frozen
class Recording:
    """What is recorded, and how much.

    @ivar keep: what is not struck out. @ivar topics: shell patterns; a connection without such a topic is not recorded;
        empty: all are. @ivar max_frames: frames. @ivar max_bytes: characters of the file. @ivar max_s: seconds since
        the first byte.
    """

    keep: frozenset[Secrecy] = frozenset()
    topics: Collection[str] = ()
    max_frames: int = 100_000
    max_bytes: int = 256 << 20
    max_s: float = float("inf")


class Recorder:
    """Records one connection. It raises no error for any bytes.

    @param started: the time of the first byte as text, for people.
    @param write: called with each line, without its end. It is not called for a connection without a Pulsar frame.
    @ivar frames: the number of recorded frames. @ivar over: nothing more is recorded. @ivar how: how it ended; empty:
        not yet. @ivar topics: the first topics.
    """

    def __init__(
        self, client: str, broker: str, started: str, recording: Recording, write: Callable[[str], None]
    ) -> None:
        self.frames = 0
        self.over = False
        self.how = ""
        self.topics: list[str] = []
        self._recording = recording
        self._write = write
        self._readers: dict[Side, FrameReader] = {"client": FrameReader(), "broker": FrameReader()}
        self._held: list[str] | None = [] if recording.topics else None
        self._size = 0
        self._start: float | None = None
        self._head = header_line(client, broker, started, recording.keep)

    @property
    def held(self) -> int:
        """Bytes of unfinished frames, and characters of lines that wait for a wanted topic."""
        lines = self._size if self._held else 0
        return lines + sum(reader.held for reader in self._readers.values())

    def feed(self, side: Side, data: bytes, time: float) -> None:
        """Take bytes of one side. @param time: seconds of any clock that does not jump."""
        if self.over or not data:
            return
        if self._start is None:
            self._start = time
        try:
            for frame in self._readers[side].each(data):
                if not self.over:
                    self._take(side, frame, time - self._start)
        except (FrameError, CommandError) as error:
            self._finish(time, f"not Pulsar, from the {side}: {error}")

    def end(self, time: float, how: str) -> None:
        """Finish. @param how: C{client}, C{broker}, or a reason; a frame that has not come whole is added."""
        cut = [
            f"; the last frame of the {side} is cut: {counted(reader.held, 'byte')} of it came"
            for side, reader in self._readers.items()
            if reader.held
        ]
        self._finish(time, how + "".join(cut))

    def _finish(self, time: float, how: str) -> None:
        if self.over:
            return
        self.over, self.how = True, how
        if self._start is not None and self.frames:
            self._put(end_line(time - self._start, how))
        self._held = None if self._held is None else []

    def _take(self, side: Side, frame: Frame, since: float) -> None:
        recording = self._recording
        entry = describe(frame, recording.keep)
        line = frame_line(since, side, entry)
        assert self._start is not None
        for reached, what in (
            (self.frames >= recording.max_frames, f"{recording.max_frames} frames"),
            (self._size + len(line) > recording.max_bytes, f"{recording.max_bytes} bytes"),
            (since > recording.max_s, f"{recording.max_s:g} s"),
        ):
            if reached:
                self._finish(self._start + since, f"limit of {what} reached")
                return
        if not self.frames:
            self._put(self._head)
        self.frames += 1
        fields = entry.get("fields", {})
        if side == "client":
            self._learn(fields)
        elif entry["command"] == _CONNECTED:
            most = fields.get("max_message_size", 0)
            limit = min(most + HEADER_BYTES, MAX_ANY_FRAME_BYTES) if most > 0 else MAX_FRAME_BYTES
            for reader in self._readers.values():
                reader.limit = limit
        self._put(line)

    def _learn(self, fields: dict[str, Any]) -> None:
        """Note the topic of a command, and release the held lines if it is wanted."""
        for name in _TOPIC_FIELDS:
            topic = fields.get(name)
            if not isinstance(topic, str):
                continue
            if len(self.topics) < 8 and bounded(topic) not in self.topics:
                self.topics.append(bounded(topic))
            if self._held is not None and any(matches(topic, pattern) for pattern in self._recording.topics):
                held, self._held = self._held, None
                for line in held:
                    self._write(line)

    def _put(self, line: str) -> None:
        self._size += len(line) + 1
        if self._held is None:
            self._write(line)
        elif self._size > MAX_HELD_CHARS:
            self._held, self.over = [], True
        else:
            self._held.append(line)
