"""Finds TCP segments in captured packets: `layers` removes the headers before TCP, dpkt reads the TCP header. Pure.

IP fragments are counted but not reassembled. Their bytes are missing from the streams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import attrs
import dpkt  # type: ignore[import-untyped]

from sniproxy.inspector.capture.files import CaptureError, CaptureReader, Record
from sniproxy.inspector.capture.headers import LaterFragment, MalformedHeader, TCPData, Unsupported
from sniproxy.inspector.capture.layers import tcp_in

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

MAX_KINDS = 32
"""Unsupported kinds of packets that are counted separately; further kinds are counted as ``others``."""

Endpoint = tuple[bytes, int]
"""An IP address, 4 or 16 bytes, and a port."""


@attrs.frozen
class Segment:
    """A TCP segment.

    @ivar time: when it was captured, in seconds since 1970.
    @ivar sequence: the sequence number of the first byte or of the SYN.
    @ivar acknowledged: the acknowledgement number, valid if C{flags} has ACK.
    @ivar flags: FIN, SYN, RST, ACK and other flags, or-ed.
    @ivar data: the captured bytes.
    @ivar length: bytes on the wire; more than C{data} has if the capture program truncated the packet.
    """

    time: float
    source: Endpoint
    destination: Endpoint
    sequence: int
    acknowledged: int
    flags: int
    data: bytes
    length: int


class PacketReader:
    """Iterates over the TCP segments of a capture file, in the order of the file.

    Iterating raises L{CaptureError} if the file is not a capture, is corrupt, or has an unsupported link type.

    @ivar packets: packets of any kind read so far.
    @ivar fragments: IP fragments among them. All are skipped, except a first fragment with TCP.
    @ivar fragments_of_tcp: fragments of TCP, or of a tunnel that may carry TCP.
    @ivar malformed: packets with a truncated or impossible header.
    @ivar unsupported: packets with an unsupported layer (tunnel, encryption, link type), by its name.
    @ivar truncated: packets with fewer bytes of TCP in the capture than on the wire (tcpdump's snaplen).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._reader = CaptureReader(file)
        self.packets = 0
        self.fragments = 0
        self.fragments_of_tcp = 0
        self.malformed = 0
        self.truncated = 0
        self.unsupported: Counter[str] = Counter()

    @property
    def cut_short(self) -> bool:
        """Whether the file ended inside a packet."""
        return self._reader.cut_short

    def __iter__(self) -> Iterator[Segment]:
        unknown: str | None = None
        others = False
        for record in self._reader:
            self.packets += 1
            found = self._found(record)
            if isinstance(found, Unsupported) and found.link:
                unknown = found.what
                if self._reader.one_link:
                    raise _unknown_link(unknown)
            else:
                others = True
            if isinstance(found, TCPData):
                segment = self._segment(record.time, found)
                if segment is not None:
                    yield segment
        if unknown is not None and not others:
            raise _unknown_link(unknown)

    def _found(self, record: Record) -> TCPData | Unsupported | LaterFragment | None:
        """Find the contents of a packet, and count packets that are skipped."""
        try:
            found = tcp_in(record.link, record.data)
        except MalformedHeader:
            self.malformed += 1
            return None
        if isinstance(found, Unsupported):
            if found.what in self.unsupported or len(self.unsupported) < MAX_KINDS:
                self.unsupported[found.what] += 1
            else:
                self.unsupported["others"] += 1
        elif isinstance(found, LaterFragment):
            self.fragments += 1
            self.fragments_of_tcp += found.tunnel
        return found

    def _segment(self, time: float, carried: TCPData) -> Segment | None:
        """Read the TCP header. None: it is truncated."""
        if carried.fragment:
            self.fragments += 1
            self.fragments_of_tcp += 1
        try:
            tcp = dpkt.tcp.TCP(carried.data)
        except dpkt.Error:
            self.malformed += 1
            return None
        length = max(carried.length - 4 * tcp.off, len(tcp.data))
        self.truncated += length > len(tcp.data) and not carried.fragment
        return Segment(
            time,
            (carried.source, tcp.sport),
            (carried.destination, tcp.dport),
            tcp.seq,
            tcp.ack,
            tcp.flags,
            tcp.data,
            length,
        )


def _unknown_link(what: str) -> CaptureError:
    known = "Ethernet, loopback, raw IP, PPP, Linux cooked"
    return CaptureError(f"{what} is not supported ({known} are): capture on another interface")
