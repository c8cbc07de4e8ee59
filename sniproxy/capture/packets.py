"""TCP segments in captured packets: what stands before TCP, by dpkt.

Links: Ethernet (with VLAN tags, MPLS), BSD loopback, raw IP, Linux cooked (SLL and SLL2). IPv4 and IPv6 with its
extension headers. IP fragments are not put together: they are counted, and their bytes are told missing later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import attrs
import dpkt  # type: ignore[import-untyped]

from sniproxy.capture.files import CaptureError, CaptureReader, Record

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

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


def _raw(data: bytes) -> Any:
    return dpkt.ip6.IP6(data) if data[0] >> 4 == 6 else dpkt.ip.IP(data)


_LINKS: dict[int, Callable[[bytes], Any]] = {
    0: dpkt.loopback.Loopback,
    1: dpkt.ethernet.Ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: dpkt.loopback.Loopback,
    113: dpkt.sll.SLL,
    228: _raw,
    229: _raw,
    276: dpkt.sll2.SLL2,
}


class PacketReader:
    """The TCP segments of a capture file, in the order of the file.

    Iterating raises L{CaptureError} when the file is no capture, is broken from some byte on, or has a link type that
    is not known.

    @ivar packets: how many packets were read, of whatever kind.
    @ivar fragments: how many of them were IP fragments; they are left out, but for a first one that holds TCP.
    @ivar unreadable: how many of them look like IP but cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._reader = CaptureReader(file)
        self.packets = 0
        self.fragments = 0
        self.unreadable = 0

    @property
    def cut_short(self) -> bool:
        """The file ended inside of a packet."""
        return self._reader.cut_short

    def __iter__(self) -> Iterator[Segment]:
        for record in self._reader:
            self.packets += 1
            segment = self._segment(record)
            if segment is not None:
                yield segment

    def _segment(self, record: Record) -> Segment | None:
        """The segment in a packet; None: it has none."""
        link = _LINKS.get(record.link)
        if link is None:
            known = "Ethernet, loopback, raw IP, Linux cooked"
            raise CaptureError(f"its link type is {record.link}, which is not read ({known} are): capture another one")
        try:
            return self._tcp(record, link(record.data))
        except Exception:
            # dpkt raises what the bytes lead it to: its own errors, IndexError, struct.error, AttributeError.
            self.unreadable += 1
            return None

    def _tcp(self, record: Record, packet: Any) -> Segment | None:
        while not isinstance(packet, dpkt.ip.IP | dpkt.ip6.IP6):
            if not isinstance(packet, dpkt.Packet):
                return None
            packet = packet.data  # a link layer inside of a link layer
        tcp = packet.data
        if isinstance(packet, dpkt.ip.IP):
            later, more, protocol = packet.offset, packet.mf, packet.p
            # Zero: the capturing machine's card was to cut it into segments, and the length was left out.
            body = packet.len - 4 * packet.hl if packet.len else 0
        else:
            fragment = packet.extension_hdrs.get(dpkt.ip.IP_PROTO_FRAGMENT)
            later, more = (fragment.frag_off, fragment.m_flag) if fragment is not None else (0, 0)
            protocol = getattr(packet, "p", None)  # none behind what is encrypted
            extensions = sum(header.length for header in packet.all_extension_headers)
            body = packet.plen - extensions if packet.plen else 0
        if later or more:
            self.fragments += 1
        if not isinstance(tcp, dpkt.tcp.TCP):
            if protocol == dpkt.ip.IP_PROTO_TCP and not later:
                self.unreadable += 1
            return None
        return Segment(
            record.time,
            (packet.src, tcp.sport),
            (packet.dst, tcp.dport),
            tcp.seq,
            tcp.ack,
            tcp.flags,
            tcp.data,
            max(body - 4 * tcp.off, len(tcp.data)),
        )
