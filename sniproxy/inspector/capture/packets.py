"""TCP segments in captured packets: `layers` removes the headers before TCP, dpkt reads the TCP header. Pure.

IP fragments are not put together: they are counted, and their bytes are reported missing later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import attrs
import dpkt  # type: ignore[import-untyped]

from sniproxy.inspector.capture.files import CaptureError, CaptureReader, Record
from sniproxy.inspector.capture.headers import Carried, Fragment, Unread, Unreadable
from sniproxy.inspector.capture.layers import tcp_in

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

MAX_KINDS = 32
"""Kinds of packets that are not read and are counted each; further ones are counted together."""

Endpoint = tuple[bytes, int]
"""An IP address, 4 or 16 bytes, and a port."""


@attrs.frozen
class Segment:
    """A TCP segment.

    @ivar time: when it was captured, in seconds since 1970.
    @ivar sequence: of its first byte, or of its SYN.
    @ivar acknowledged: the next byte that the sender waits for; it means something when C{flags} has ACK.
    @ivar flags: FIN, SYN, RST and ACK, or-ed; others may be set as well.
    @ivar data: the bytes that were captured.
    @ivar length: the bytes that it had on the wire; more than C{data} when the capture program cut the packet.
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
    """The TCP segments of a capture file, in the order of the file.

    Iterating raises L{CaptureError} when the file is no capture, is broken from some byte on, or has a link type that
    is not known.

    @ivar packets: how many packets were read, of whatever kind.
    @ivar fragments: how many of them were IP fragments; they are left out, but for a first one that holds TCP.
    @ivar fragments_of_tcp: how many of these were of TCP, or of a tunnel that may carry it.
    @ivar unreadable: how many of them look like IP but cannot be read.
    @ivar unread: how many carry what is not read, by its name: tunnels, encrypted packets, link types.
    @ivar cut: how many have fewer bytes of TCP in the capture than on the wire (tcpdump's snaplen).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._reader = CaptureReader(file)
        self.packets = 0
        self.fragments = 0
        self.fragments_of_tcp = 0
        self.unreadable = 0
        self.cut = 0
        self.unread: Counter[str] = Counter()

    @property
    def cut_short(self) -> bool:
        """The file ended inside of a packet."""
        return self._reader.cut_short

    def __iter__(self) -> Iterator[Segment]:
        unknown: str | None = None
        others = False
        for record in self._reader:
            self.packets += 1
            found = self._found(record)
            if isinstance(found, Unread) and found.link:
                unknown = found.what
                if self._reader.one_link:
                    raise _unknown_link(unknown)
            else:
                others = True
            if isinstance(found, Carried):
                segment = self._segment(record.time, found)
                if segment is not None:
                    yield segment
        if unknown is not None and not others:
            raise _unknown_link(unknown)

    def _found(self, record: Record) -> Carried | Unread | Fragment | None:
        """What is in a packet; what is left out is counted."""
        try:
            found = tcp_in(record.link, record.data)
        except Unreadable:
            self.unreadable += 1
            return None
        if isinstance(found, Unread):
            if found.what in self.unread or len(self.unread) < MAX_KINDS:
                self.unread[found.what] += 1
            else:
                self.unread["others"] += 1
        elif isinstance(found, Fragment):
            self.fragments += 1
            self.fragments_of_tcp += found.tunnel
        return found

    def _segment(self, time: float, carried: Carried) -> Segment | None:
        """The segment; None: its header is not whole."""
        if carried.fragment:
            self.fragments += 1
            self.fragments_of_tcp += 1
        try:
            tcp = dpkt.tcp.TCP(carried.data)
        except dpkt.Error:
            self.unreadable += 1
            return None
        length = max(carried.length - 4 * tcp.off, len(tcp.data))
        self.cut += length > len(tcp.data) and not carried.fragment
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
    return CaptureError(f"its {what.replace('type', 'type is')}, which is not read ({known} are): capture another one")
