"""Reads a capture file and yields the events of its Pulsar connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import BinaryIO

import attrs

from sniproxy.inspector.capture.conversations import Conversations
from sniproxy.inspector.capture.packets import PacketReader
from sniproxy.inspector.capture.streams import Ended, Piece, Reassembly
from sniproxy.inspector.ledger import Ledger
from sniproxy.pulsar.events import Event
from sniproxy.util.text import amount, counted

MAX_TOPICS = 200_000
"""Topics that a capture's ledger holds; the ones seen longest ago are dropped first."""

_PROGRESS_INTERVAL = 256  # packets


class CaptureEvents:
    """Iterates over the events of all Pulsar connections in a capture, in the order of the file.

    Iterate over it, then over `finish`, even after an exception: `CaptureError` if the file is not a capture or is
    corrupt, or an error in reading it.

    Here ``ended`` events also have the field ``how``, of `streams.Ended`.

    ``file``: read front to back, no further than each packet needs. ``ports``: see `Conversations`. ``reveal`` and
    ``commands``: see `Inspection`. ``ledger``: learns from the events; its own events are yielded, too.
    """

    def __init__(
        self,
        file: BinaryIO,
        ports: Collection[int] = (),
        *,
        reveal: bool = False,
        commands: Collection[str] = (),
    ) -> None:
        self._packets = PacketReader(file)
        self._reassembly = Reassembly()
        self._conversations = Conversations(ports, reveal=reveal, commands=commands)
        self._now = 0.0
        self.ledger = Ledger(MAX_TOPICS)

    @property
    def packets(self) -> int:
        """Packets read so far."""
        return self._packets.packets

    @property
    def incomplete(self) -> bool:
        """Whether packets that may belong to Pulsar were skipped or out of order. `summary` lists them."""
        packets = self._packets
        left_out = packets.fragments_of_tcp or packets.malformed or packets.truncated or packets.unsupported
        return bool(left_out or self._reassembly.late)

    def __iter__(self) -> Iterator[Event]:
        return self.with_progress(None)

    def with_progress(self, report: Callable[[], None] | None) -> Iterator[Event]:
        """Iterate, and call ``report`` every few packets."""
        for count, segment in enumerate(self._packets):
            if report is not None and count % _PROGRESS_INTERVAL == 0:
                report()
            self._now = segment.time
            yield from self._events(self._reassembly.feed(segment))

    def finish(self) -> Iterator[Event]:
        """Iterate over the remaining events, after the last packet was read."""
        yield from self._events(self._reassembly.finish(self._now))

    def _events(self, pieces: Iterable[Piece]) -> Iterator[Event]:
        for piece in pieces:
            for event in self._conversations.take(piece):
                if event.name == "ended" and isinstance(piece, Ended):
                    event = attrs.evolve(event, fields={**event.fields, "how": piece.how})
                yield event
                yield from self.ledger.learn(event, _server(event.connection))

    def summary(self) -> str:
        """One line: what was read, and what is missing with the cure."""
        packets, conversations = self._packets, self._conversations
        kinds = f"{conversations.pulsar} Pulsar, {conversations.tls} TLS"
        parts = [
            f"{counted(packets.packets, 'packet')}, {counted(self._reassembly.connections, 'connection')} ({kinds})"
        ]
        if conversations.gaps:
            parts.append(f"{counted(conversations.gaps, 'gap')}, {amount(conversations.missing)} not captured")
        if packets.fragments:
            cure = "capture after the tunnel or lower the MTU before it" if packets.fragments_of_tcp else ""
            parts.append(f"{counted(packets.fragments, 'IP fragment')} not reassembled{cure and ': '}{cure}")
        if packets.malformed:
            parts.append(f"{counted(packets.malformed, 'malformed packet')}")
        if packets.truncated:
            truncated = counted(packets.truncated, "packet")
            parts.append(f"{truncated} truncated by the capture program: capture with `tcpdump -s 0`")
        if packets.unsupported:
            kinds = ", ".join(f"{count} {what}" for what, count in packets.unsupported.most_common())
            skipped = counted(packets.unsupported.total(), "packet")
            cure = "capture after decapsulation or decryption"
            parts.append(f"{skipped} with unsupported encapsulation ({kinds}): {cure}")
        if self._reassembly.late:
            late = counted(self._reassembly.late, "segment")
            parts.append(f"{late} not in time order: sort the packets with `reordercap FILE NEW`")
        if packets.cut_short:
            parts.append("the capture ends inside a packet")
        if self._reassembly.connections and not conversations.pulsar and not conversations.tls:
            parts.append("if some of it is Pulsar, give the brokers' ports with --port")
        return "; ".join(parts)


def _server(connection: str) -> str:
    """The destination in a connection's name."""
    return re.sub(r"#\d+\Z", "", connection.rpartition("->")[2])
