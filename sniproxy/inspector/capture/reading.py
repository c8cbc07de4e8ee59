"""From a capture file to events, in one go. Pure."""

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
"""Topics of a capture that are remembered."""

_PROGRESS_PACKETS = 256  # packets


class CaptureEvents:
    """The events of all Pulsar connections in a capture, in the order of the file.

    Iterate over it, then over `finish`, also when iterating was ended by an exception: `CaptureError`, when the file
    is no capture or broken from some byte on, or an error of reading it.

    An ``ended`` event has a field more than elsewhere: ``how``, of `streams.Ended`.

    ``file``: read front to back, no further than each packet needs. ``ports``: see `Conversations`. ``reveal`` and
    ``commands``: see `Inspection`. ``ledger``: what the lookups say; events of its own are among the others.
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
        """How many packets were read."""
        return self._packets.packets

    @property
    def incomplete(self) -> bool:
        """Packets that may belong to Pulsar were left out, or read in the wrong order; `summary` says which."""
        packets = self._packets
        left_out = packets.fragments_of_tcp or packets.unreadable or packets.cut or packets.unread
        return bool(left_out or self._reassembly.late)

    def __iter__(self) -> Iterator[Event]:
        return self.watched(None)

    def watched(self, watcher: Callable[[], None] | None) -> Iterator[Event]:
        """Iterate, and call somebody every few packets."""
        for count, segment in enumerate(self._packets):
            if watcher is not None and count % _PROGRESS_PACKETS == 0:
                watcher()
            self._now = segment.time
            yield from self._tell(self._reassembly.feed(segment))

    def finish(self) -> Iterator[Event]:
        """What is left to say when no more is read."""
        yield from self._tell(self._reassembly.finish(self._now))

    def _tell(self, pieces: Iterable[Piece]) -> Iterator[Event]:
        for piece in pieces:
            for event in self._conversations.take(piece):
                if event.name == "ended" and isinstance(piece, Ended):
                    event = attrs.evolve(event, fields={**event.fields, "how": piece.how})
                yield event
                yield from self.ledger.learn(event, _server(event.connection))

    def summary(self) -> str:
        """What was read, and what is missing in it."""
        packets, talks = self._packets, self._conversations
        kinds = f"{talks.pulsar} Pulsar, {talks.tls} TLS"
        said = [
            f"{counted(packets.packets, 'packet')}, {counted(self._reassembly.connections, 'connection')} ({kinds})"
        ]
        if talks.gaps:
            said.append(f"{counted(talks.gaps, 'gap')}, {amount(talks.missing)} not captured")
        if packets.fragments:
            cure = "capture behind the tunnel or lower the MTU in front of it" if packets.fragments_of_tcp else ""
            said.append(f"{counted(packets.fragments, 'IP fragment')} not put together{cure and ': '}{cure}")
        if packets.unreadable:
            said.append(f"{counted(packets.unreadable, 'packet')} that cannot be read")
        if packets.cut:
            said.append(f"{counted(packets.cut, 'packet')} cut by the capture program: capture with `tcpdump -s 0`")
        if packets.unread:
            kinds = ", ".join(f"{count} {what}" for what, count in packets.unread.most_common())
            cure = "capture where they leave their tunnel or are decrypted"
            said.append(f"{counted(packets.unread.total(), 'packet')} in wrappings that are not read ({kinds}): {cure}")
        if self._reassembly.late:
            late = counted(self._reassembly.late, "segment")
            said.append(f"{late} out of order in time: put the packets in order with `reordercap FILE NEW`")
        if packets.cut_short:
            said.append("the capture ends inside of a packet")
        if self._reassembly.connections and not talks.pulsar and not talks.tls:
            said.append("name the brokers' ports with --port if Pulsar should be among them")
        return "; ".join(said)


def _server(connection: str) -> str:
    """Where a connection was made to, by its name in events."""
    return re.sub(r"#\d+\Z", "", connection.rpartition("->")[2])
