"""Records the conversations in a capture file. Pure, except that it reads the given file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import BinaryIO, Protocol

import attrs

from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import Side
from sniproxy.inspector.capture.packets import PacketReader
from sniproxy.inspector.capture.sniff import StreamKind, sniff
from sniproxy.inspector.capture.streams import (
    CapturedConnection,
    Data,
    Ended,
    Gap,
    Piece,
    Reassembly,
    endpoint_text,
)
from sniproxy.util.text import counted

_HOW = {"fin": "closed", "rst": "reset", "reused": "closed", "capture": "the capture ends"}


class Writer(Protocol):
    """Takes the lines of one connection."""

    def write(self, line: str) -> None: ...

    def end(self, recorder: Recorder, peers: str) -> None: ...


@attrs.define(eq=False)
class _Recorded:
    client: int
    recorder: Recorder
    writer: Writer
    peers: str


class CapturedConversations:
    """Records each connection of a capture that begins with Pulsar.

    @param ports: only connections with one of these ports; empty: all. @param writer: makes the writer of a connection.
    @ivar skipped: connections whose beginning was not captured. @ivar gaps: connections with missing bytes.
    """

    def __init__(self, recording: Recording, ports: Collection[int], writer: Callable[[], Writer]) -> None:
        self._recording = recording
        self._ports = frozenset(ports)
        self._writer = writer
        self._connections: dict[CapturedConnection, _Recorded | None] = {}
        self._packets: PacketReader | None = None
        self._reassembly = Reassembly()
        self.skipped = 0
        self.gaps = 0

    def read(self, file: BinaryIO) -> None:
        """Read a whole capture. @raise CaptureError: it is none, or is damaged; what came before is recorded."""
        now = 0.0
        self._packets = PacketReader(file)
        try:
            for segment in self._packets:
                now = segment.time
                for piece in self._reassembly.feed(segment):
                    self._take(piece)
        finally:
            for piece in self._reassembly.finish(now):
                self._take(piece)

    @property
    def incomplete(self) -> bool:
        """Whether packets were skipped, are missing or out of order."""
        packets = self._packets
        if packets is None:
            return False
        left_out = packets.fragments_of_tcp or packets.malformed or packets.truncated or packets.unsupported
        return bool(left_out or self._reassembly.late or self.gaps)

    def summary(self) -> str:
        """One line: what was read, and what was not recorded."""
        parts = [
            f"{counted(0 if self._packets is None else self._packets.packets, 'packet')}, "
            f"{counted(self._reassembly.connections, 'connection')}"
        ]
        if self.skipped:
            parts.append(f"{counted(self.skipped, 'connection')} not captured from the beginning")
        if self.gaps:
            parts.append(f"{counted(self.gaps, 'connection')} with missing bytes, recorded up to there")
        if self.incomplete:
            parts.append("`sniproxyctl inspect` names the skipped packets and the cure")
        return "; ".join(parts)

    def _take(self, piece: Piece) -> None:
        connection = piece.connection
        if isinstance(piece, Ended):
            recorded = self._connections.pop(connection, None)
            if recorded is not None:
                recorded.recorder.end(piece.time, _HOW.get(piece.how, "not followed any further"))
                recorded.writer.end(recorded.recorder, recorded.peers)
            return
        if connection not in self._connections:
            self._connections[connection] = self._begin(piece)
        recorded = self._connections[connection]
        if recorded is None:
            return
        if isinstance(piece, Gap):
            self.gaps += not recorded.recorder.over
            recorded.recorder.end(piece.time, f"{piece.missing} bytes are missing in the capture")
        else:
            side: Side = "client" if piece.sender == recorded.client else "broker"
            recorded.recorder.feed(side, piece.data, piece.time)

    def _begin(self, piece: Data | Gap) -> _Recorded | None:
        """Begin a connection. None: it is not recorded."""
        ends = piece.connection.ends
        if self._ports and not any(port in self._ports for _, port in ends):
            return None
        if not isinstance(piece, Data):
            self.skipped += 1
            return None
        client = piece.connection.opener
        if client is None:
            # Without a SYN, the first frame tells; a connection that was open before has no CONNECT.
            if sniff(piece.data) is not StreamKind.CLIENT or piece.data[9:10] != b"\x02":
                self.skipped += sniff(piece.data).is_pulsar
                return None
            client = piece.sender
        broker = endpoint_text(ends[1 - client])
        writer = self._writer()
        recorder = Recorder(endpoint_text(ends[client]), broker, as_text(piece.time), self._recording, writer.write)
        return _Recorded(client, recorder, writer, f"{endpoint_text(ends[client])} -> {broker}")


def as_text(time: float) -> str:
    """Seconds since 1970 as a date and time; empty for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(time, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return ""
