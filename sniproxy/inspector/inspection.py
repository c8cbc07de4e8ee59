"""Inspect one Pulsar connection: the bytes of both directions go in, events come out (``events`` describes them).

Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

from sniproxy.inspector.dialogue import BROKER, CLIENT, Dialogue
from sniproxy.pulsar.commands import CommandError, fields_of, number_name, read
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.pulsar.frames import MAX_FRAME_BYTES
from sniproxy.pulsar.resync import Search, begins
from sniproxy.pulsar.walker import MAX_HEAD_BYTES, TYPES, FrameWalker, Walked, WalkError
from sniproxy.tls.nottls import MAX_PREFIX_BYTES, Protocol, protocol_of

Side: TypeAlias = Literal["client", "broker"]

HEADER_BYTES = 10 * 1024
"""Bytes that a frame may have beyond the largest message, for all that is around it."""

MAX_ANY_FRAME_BYTES = 128 * 1024 * 1024
"""Bytes of a frame where no CONNECTED was seen that says how large messages are, in a stream begun in the middle."""

MAX_SEARCHED_BYTES = MAX_ANY_FRAME_BYTES
"""Bytes in which the beginning of a frame must be found: any frame that was cut is at its end by then."""

MAX_REMEMBERED = 1024
"""Bytes that one remembered request, producer, consumer or session takes, about: a topic's name is most of it."""

NOT_READ = f"a command over {MAX_HEAD_BYTES >> 20} MiB is not read"
"""The message of an ``oversized`` event."""

_FOREIGN = {
    Protocol.TLS: "this is TLS, not plaintext Pulsar",
    Protocol.TLS_ALERT: "this is a TLS alert, not plaintext Pulsar",
    Protocol.HTTP: "this is HTTP, not Pulsar",
    Protocol.HTTP_RESPONSE: "this is HTTP, not Pulsar",
    Protocol.PROXY_V1: "a PROXY protocol header comes first",
    Protocol.PROXY_V2: "a PROXY protocol header comes first",
}
_CONNECTED = 3
_FIRST = {"client": (2,), "broker": (_CONNECTED, 14, 36)}
"""Types of the first command of each side: CONNECT; CONNECTED, ERROR, AUTH_CHALLENGE."""


class _Stream:
    """One direction."""

    def __init__(self, side: Side, heard: Collection[int]) -> None:
        self.side: Side = side
        self.bytes = 0
        self.walker = FrameWalker(heard=heard)
        # The first bytes, until it is known whether they begin a frame; then None.
        self.first: bytes | None = b""
        self.search: Search | None = None


class Inspection:
    """Watches one connection. It never raises, whatever bytes come, and what it holds is bounded.

    ``connection``: its name in events. ``reveal``: whether events name principals and properties. ``commands``: types
    of commands, such as ``SEND``, of which each one is an event of its own (``command``); all others are counted.

    ``lost``: the bytes cannot be read as Pulsar's; one event said so, and nothing is looked at any more.

    Times are seconds since 1970.
    """

    def __init__(self, connection: str, *, reveal: bool = False, commands: Collection[str] = ()) -> None:
        self.connection = connection
        self.lost = False
        wanted = [number for number in range(TYPES) if number_name(number) in commands] if commands else []
        self._wanted = frozenset(wanted)
        self._dialogue = Dialogue(connection, reveal=reveal)
        self._waits = False
        self._limit_known = False
        self._client = _Stream("client", CLIENT.keys() | self._wanted)
        self._broker = _Stream("broker", BROKER.keys() | self._wanted)

    def client(self, data: bytes, time: float) -> list[Event]:
        """The client sent these bytes."""
        return self._take(self._client, data, time)

    def broker(self, data: bytes, time: float) -> list[Event]:
        """The broker sent these bytes."""
        return self._take(self._broker, data, time)

    def gap(self, side: Side, time: float) -> list[Event]:
        """Bytes of this side are missing, here or at its beginning: what comes is searched for the next frame."""
        if self.lost:
            return []
        stream = self._client if side == "client" else self._broker
        return self._seek(stream, time)

    def end(self, time: float) -> list[Event]:
        """The connection ended."""
        events: list[Event] = []
        for stream in (self._client, self._broker):
            found = any(stream.walker.seen)
            if stream.search is not None and not found and stream.search.skipped and not self.lost:
                events += self._lose(stream, "no frame was found in it", time)
        fields: Fields = {}
        for stream in (self._client, self._broker):
            fields[f"{stream.side}_frames"] = sum(stream.walker.seen)
            fields[f"{stream.side}_bytes"] = stream.bytes
            fields[f"{stream.side}_payload"] = stream.walker.payload
        fields["commands"] = self.commands
        return [*events, *self._dialogue.end(time), Event("ended", time, self.connection, fields)]

    def give_up(self, reason: str, time: float) -> list[Event]:
        """Let go of the connection and of all that is held of it. @return: the event C{lost}, with the reason."""
        return self._lose(self._client, reason, time)

    @property
    def held(self) -> int:
        """Bytes that it holds, about: beginnings of frames, and what it remembers of the peers' commands."""
        streams = self._client, self._broker
        heads = sum(stream.walker.held + len(stream.first or b"") for stream in streams)
        return heads + MAX_REMEMBERED * self._dialogue.remembered

    @property
    def commands(self) -> dict[str, Value]:
        """How many commands of each type went by, in both directions; ``TYPE_0``: without a type that can be."""
        both = enumerate(map(sum, zip(self._client.walker.seen, self._broker.walker.seen, strict=True)))
        return {number_name(number): count for number, count in both if count}

    def _take(self, stream: _Stream, data: bytes, time: float) -> list[Event]:
        if self.lost or not data:
            return []
        stream.bytes += len(data)
        events: list[Event] = []
        if self._waits:
            events += self._dialogue.tick(time)
            self._waits = self._dialogue.waits
        if stream.first is not None:
            data = stream.first + data
            good = begins(data, MAX_ANY_FRAME_BYTES)
            stream.first = data if good is None else None
            if good is None:
                return events
            if not good:
                protocol = protocol_of(data[:MAX_PREFIX_BYTES])
                if protocol in _FOREIGN:
                    return events + self._lose(stream, _FOREIGN[protocol], time)
                events += self._seek(stream, time)
            elif data[9] not in _FIRST[stream.side]:
                self._expect_large()
        if stream.search is not None:
            found = stream.search.feed(data)
            if found is None:
                if stream.search.skipped > MAX_SEARCHED_BYTES:
                    events += self._lose(stream, f"no frame begins in {MAX_SEARCHED_BYTES} bytes", time)
                return events
            fields: Fields = {"side": stream.side, "skipped": stream.search.skipped}
            events.append(Event("resumed", time, self.connection, fields))
            stream.search, data = None, found
        reason: str | None = None
        try:
            walked = stream.walker.feed(data)
        except WalkError as error:
            walked, reason = error.walked, str(error)
        if walked:
            try:
                self._hear(stream, walked, time, events)
            except CommandError as error:
                reason = str(error)
        return events if reason is None else events + self._lose(stream, reason, time)

    def _hear(self, stream: _Stream, frames: list[Walked], time: float, events: list[Event]) -> None:
        by_client = stream is self._client
        deeds = CLIENT if by_client else BROKER
        for frame in frames:
            number = frame.type
            if number in self._wanted:
                fields: Fields = {"side": stream.side, "command": number_name(number)}
                fields |= {"size": frame.size, "payload": frame.payload}
                events.append(Event("command", time, self.connection, fields))
            if number in deeds and frame.complete:
                command = fields_of(read(frame.command))
                if number == _CONNECTED:
                    most = command.max_message_size + HEADER_BYTES if command.max_message_size > 0 else MAX_FRAME_BYTES
                    self._client.walker.limit = self._broker.walker.limit = most
                    self._limit_known = True
                events += self._dialogue.hear(by_client, number, command, time)
                self._waits = self._dialogue.waits
            elif number in deeds:
                events.append(self._oversized(by_client, frame, time))

    def _oversized(self, by_client: bool, frame: Walked, time: float) -> Event:
        """A command too long to be held went by: the request that it answers is settled."""
        number = frame.type
        settled = (None, None, None) if by_client else self._dialogue.oversized(number, frame.command, time)
        request, topic, latency = settled
        self._waits = self._dialogue.waits
        fields: Fields = {
            "side": "client" if by_client else "broker",
            "command": number_name(number),
            "size": frame.size,
            "request": None if request is None else number_name(request),
            "topic": topic,
            "latency_s": latency,
            "message": NOT_READ,
        }
        return Event("oversized", time, self.connection, fields)

    def _expect_large(self) -> None:
        """A stream does not begin with its first command: CONNECTED, which says how large messages are, was missed."""
        if not self._limit_known:
            self._client.walker.limit = self._broker.walker.limit = MAX_ANY_FRAME_BYTES

    def _seek(self, stream: _Stream, time: float) -> list[Event]:
        """Search this stream for the next frame."""
        self._expect_large()
        silent = stream.search is not None
        skipped = stream.search.skipped if stream.search is not None else 0
        stream.walker.reset()
        stream.first, stream.search = None, Search(stream.walker.limit)
        # Bytes on both sides of a gap never join, but what was searched in vain counts on.
        stream.search.skipped = skipped
        return [] if silent else [Event("gap", time, self.connection, {"side": stream.side})]

    def _lose(self, stream: _Stream, reason: str, time: float) -> list[Event]:
        """Let go of both directions."""
        self.lost = True
        for each in (self._client, self._broker):
            each.walker.reset()
            each.search = each.first = None
        self._dialogue, self._waits = Dialogue(self.connection), False
        fields: Fields = {"side": stream.side, "reason": reason, "offset": stream.bytes}
        return [Event("lost", time, self.connection, fields)]
