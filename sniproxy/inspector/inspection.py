"""Turns the bytes of one Pulsar connection into events (`sniproxy.pulsar.events`). Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

from sniproxy.inspector.dialogue import BROKER_HANDLERS, CLIENT_HANDLERS, Dialogue
from sniproxy.pulsar.commands import CommandError, fields_of, number_name, read
from sniproxy.pulsar.events import Event, Fields, Value
from sniproxy.pulsar.frames import MAX_FRAME_BYTES
from sniproxy.pulsar.resync import FrameSearch, can_begin_frame
from sniproxy.pulsar.walker import MAX_HEAD_BYTES, TYPES, FrameWalker, WalkedFrame, WalkError
from sniproxy.tls.nottls import MAX_PREFIX_BYTES, Protocol, protocol_of

Side: TypeAlias = Literal["client", "broker"]

HEADER_BYTES = 10 * 1024
"""Bytes that a frame may have in addition to the largest message."""

MAX_ANY_FRAME_BYTES = 128 * 1024 * 1024
"""Largest frame in bytes if the CONNECTED that announces the largest message was missed."""

MAX_SEARCHED_BYTES = MAX_ANY_FRAME_BYTES
"""Bytes within which the next frame must begin. No unfinished frame is longer."""

REMEMBERED_BYTES = 1024
"""Approximate memory in bytes of one remembered request, producer, consumer or session, mainly its topic's name."""

NOT_READ = f"command over {MAX_HEAD_BYTES >> 20} MiB not read"
"""The message of an ``oversized`` event."""

_FOREIGN = {
    Protocol.TLS: "TLS instead of plaintext Pulsar",
    Protocol.TLS_ALERT: "TLS alert instead of plaintext Pulsar",
    Protocol.HTTP: "this is HTTP, not Pulsar",
    Protocol.HTTP_RESPONSE: "this is HTTP, not Pulsar",
    Protocol.PROXY_V1: "PROXY protocol header before Pulsar",
    Protocol.PROXY_V2: "PROXY protocol header before Pulsar",
}
_CONNECTED = 3
# Answers to ACKs may be many, and are read only for an error: those without the tag of its field need no parsing.
_ACK_RESPONSE, _ERROR_TAG = 38, b"\x20"
_FIRST = {"client": (2,), "broker": (_CONNECTED, 14, 36)}
"""Types of the first command of each side: CONNECT; CONNECTED, ERROR, AUTH_CHALLENGE."""


class _FrameStream:
    """One direction."""

    def __init__(self, side: Side, wanted: Collection[int]) -> None:
        self.side: Side = side
        self.bytes = 0
        self.walker = FrameWalker(wanted=wanted)
        # The first bytes, until they show whether a frame begins; then None.
        self.first: bytes | None = b""
        self.search: FrameSearch | None = None


class Inspection:
    """Inspects one connection. It raises no errors for any bytes, and its memory is bounded.

    ``connection``: the connection's name in events. ``reveal``: whether events name principals and properties.
    ``commands``: command types, such as ``SEND``, of which each command is an event (``command``); commands of other
    types are counted.

    ``lost``: the inspection has stopped, with an event C{lost}, because the bytes are not Pulsar.

    Times are seconds since 1970.
    """

    def __init__(self, connection: str, *, reveal: bool = False, commands: Collection[str] = ()) -> None:
        self.connection = connection
        self.lost = False
        wanted = [number for number in range(TYPES) if number_name(number) in commands] if commands else []
        self._wanted = frozenset(wanted)
        self._dialogue = Dialogue(connection, reveal=reveal)
        self._has_pending = False
        self._limit_known = False
        self._client = _FrameStream("client", CLIENT_HANDLERS.keys() | self._wanted)
        self._broker = _FrameStream("broker", BROKER_HANDLERS.keys() | self._wanted)

    def client(self, data: bytes, time: float) -> list[Event]:
        """Take bytes that the client sent."""
        return self._take(self._client, data, time)

    def broker(self, data: bytes, time: float) -> list[Event]:
        """Take bytes that the broker sent."""
        return self._take(self._broker, data, time)

    def gap(self, side: Side, time: float) -> list[Event]:
        """Bytes of this side are missing: search the following bytes for the next frame."""
        if self.lost:
            return []
        stream = self._client if side == "client" else self._broker
        return self._resync(stream, time)

    def end(self, time: float) -> list[Event]:
        """Finish: the connection has ended."""
        events: list[Event] = []
        for stream in (self._client, self._broker):
            found = any(stream.walker.seen)
            if stream.search is not None and not found and stream.search.skipped and not self.lost:
                events += self._stop(stream, "no Pulsar frame found", time)
        fields: Fields = {}
        for stream in (self._client, self._broker):
            fields[f"{stream.side}_frames"] = sum(stream.walker.seen)
            fields[f"{stream.side}_bytes"] = stream.bytes
            fields[f"{stream.side}_payload"] = stream.walker.payload
        fields["commands"] = self.commands
        return [*events, *self._dialogue.end(time), Event("ended", time, self.connection, fields)]

    def stop(self, reason: str, time: float) -> list[Event]:
        """Stop inspecting and release all memory. @return: the event C{lost}, with the reason."""
        return self._stop(self._client, reason, time)

    @property
    def held(self) -> int:
        """Approximate memory in bytes: beginnings of frames, and remembered commands."""
        streams = self._client, self._broker
        heads = sum(stream.walker.held + len(stream.first or b"") for stream in streams)
        return heads + REMEMBERED_BYTES * self._dialogue.remembered

    @property
    def commands(self) -> dict[str, Value]:
        """Number of commands of each type, in both directions. ``TYPE_0``: commands with an impossible type."""
        both = enumerate(map(sum, zip(self._client.walker.seen, self._broker.walker.seen, strict=True)))
        return {number_name(number): count for number, count in both if count}

    def _take(self, stream: _FrameStream, data: bytes, time: float) -> list[Event]:
        if self.lost or not data:
            return []
        stream.bytes += len(data)
        events: list[Event] = []
        if self._has_pending:
            events += self._dialogue.expire(time)
            self._has_pending = self._dialogue.has_pending
        if stream.first is not None:
            data = stream.first + data
            good = can_begin_frame(data, MAX_ANY_FRAME_BYTES)
            stream.first = data if good is None else None
            if good is None:
                return events
            if not good:
                protocol = protocol_of(data[:MAX_PREFIX_BYTES])
                if protocol in _FOREIGN:
                    return events + self._stop(stream, _FOREIGN[protocol], time)
                events += self._resync(stream, time)
            elif data[9] not in _FIRST[stream.side]:
                self._expect_large()
        if stream.search is not None:
            found = stream.search.feed(data)
            if found is None:
                if stream.search.skipped > MAX_SEARCHED_BYTES:
                    events += self._stop(stream, f"no Pulsar frame found in {MAX_SEARCHED_BYTES} bytes", time)
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
                self._read_commands(stream, walked, time, events)
            except CommandError as error:
                reason = str(error)
        return events if reason is None else events + self._stop(stream, reason, time)

    def _read_commands(self, stream: _FrameStream, frames: list[WalkedFrame], time: float, events: list[Event]) -> None:
        by_client = stream is self._client
        handlers = CLIENT_HANDLERS if by_client else BROKER_HANDLERS
        for frame in frames:
            number = frame.type
            if number in self._wanted:
                fields: Fields = {"side": stream.side, "command": number_name(number)}
                fields |= {"size": frame.size, "payload": frame.payload}
                events.append(Event("command", time, self.connection, fields))
            if number == _ACK_RESPONSE and frame.complete and _ERROR_TAG not in frame.command:
                continue
            if number in handlers and frame.complete:
                command = fields_of(read(frame.command))
                if number == _CONNECTED:
                    most = command.max_message_size + HEADER_BYTES if command.max_message_size > 0 else MAX_FRAME_BYTES
                    self._client.walker.limit = self._broker.walker.limit = most
                    self._limit_known = True
                events += self._dialogue.take(by_client, number, command, time)
                self._has_pending = self._dialogue.has_pending
            elif number in handlers:
                events.append(self._oversized(by_client, frame, time))

    def _oversized(self, by_client: bool, frame: WalkedFrame, time: float) -> Event:
        """Report a command that is too long to hold, and take the request that it answers from the pending ones."""
        number = frame.type
        settled = (None, None, None) if by_client else self._dialogue.oversized(number, frame.command, time)
        request, topic, latency = settled
        self._has_pending = self._dialogue.has_pending
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
        """Allow the largest frames, because the CONNECTED that announces the largest message was missed."""
        if not self._limit_known:
            self._client.walker.limit = self._broker.walker.limit = MAX_ANY_FRAME_BYTES

    def _resync(self, stream: _FrameStream, time: float) -> list[Event]:
        """Search this stream for the next frame."""
        self._expect_large()
        silent = stream.search is not None
        skipped = stream.search.skipped if stream.search is not None else 0
        stream.walker.reset()
        stream.first, stream.search = None, FrameSearch(stream.walker.limit)
        # Bytes on both sides of a gap are not joined, but bytes searched before the gap still count.
        stream.search.skipped = skipped
        return [] if silent else [Event("gap", time, self.connection, {"side": stream.side})]

    def _stop(self, stream: _FrameStream, reason: str, time: float) -> list[Event]:
        """Stop inspecting both directions."""
        self.lost = True
        for each in (self._client, self._broker):
            each.walker.reset()
            each.search = each.first = None
        self._dialogue, self._has_pending = Dialogue(self.connection), False
        fields: Fields = {"side": stream.side, "reason": reason, "offset": stream.bytes}
        return [Event("lost", time, self.connection, fields)]
