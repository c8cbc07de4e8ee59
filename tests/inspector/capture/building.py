"""Packets and capture files for tests, built by dpkt and by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

import attrs
import dpkt  # type: ignore[import-untyped]

from sniproxy.inspector.capture.packets import ACK, Endpoint, Segment

NULL, ETHERNET, RAW, LOOP, COOKED, COOKED2 = 0, 1, 101, 108, 113, 276
LINKS = (NULL, ETHERNET, RAW, LOOP, COOKED, COOKED2)


def endpoint(address: str, port: int) -> Endpoint:
    """An endpoint, as in segments."""
    return ip_address(address).packed, port


CLIENT, BROKER = endpoint("127.0.0.1", 40_000), endpoint("127.0.0.1", 6650)
CLIENT6, BROKER6 = endpoint("fd00::1", 40_000), endpoint("fd00::2", 6650)


def segment(
    data: bytes = b"",
    sequence: int = 0,
    *,
    flags: int = ACK,
    acknowledged: int = 0,
    time: float = 0.0,
    source: Endpoint = CLIENT,
    destination: Endpoint | None = None,
    cut: int = 0,
) -> Segment:
    """A segment from CLIENT to BROKER, or between the given endpoints. `cut`: bytes not captured."""
    if destination is None:
        destination = BROKER if source == CLIENT else CLIENT
    return Segment(
        time, source, destination, sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, flags, data, len(data) + cut
    )


def datagram(segment: Segment) -> bytes:
    """The segment in an IPv4 or IPv6 packet, without the bytes not captured."""
    tcp = dpkt.tcp.TCP(
        sport=segment.source[1],
        dport=segment.destination[1],
        seq=segment.sequence,
        ack=segment.acknowledged,
        flags=segment.flags,
        data=segment.data,
    )
    source, destination = segment.source[0], segment.destination[0]
    if len(source) == 4:
        ip = dpkt.ip.IP(src=source, dst=destination, p=6, data=tcp)
        ip.len = 40 + segment.length
        whole = bytearray(bytes(ip))
        struct.pack_into("!H", whole, 2, 40 + segment.length)
        return bytes(whole)
    return bytes(dpkt.ip6.IP6(src=source, dst=destination, nxt=6, hlim=64, plen=20 + segment.length, data=tcp))


def frame(datagram: bytes, link: int = ETHERNET) -> bytes:
    """An IP packet in a frame of this link type."""
    six = datagram[0] >> 4 == 6
    kind = 0x86DD if six else 0x0800
    match link:
        case 1:
            return bytes(12) + struct.pack("!H", kind) + datagram
        case 0:
            return struct.pack("<I", 30 if six else 2) + datagram
        case 108:
            return struct.pack("!I", 30 if six else 2) + datagram
        case 113:
            return struct.pack("!HHH8sH", 0, 1, 6, bytes(8), kind) + datagram
        case 276:
            return struct.pack("!HHiHBB8s", kind, 0, 1, 1, 0, 6, bytes(8)) + datagram
    return datagram


@attrs.frozen
class Captured:
    """A packet for a capture file."""

    time: float
    data: bytes
    interface: int = 0


def captured(segments: Iterable[Segment], link: int = ETHERNET) -> list[Captured]:
    """Segments as packets of this link type."""
    return [Captured(segment.time, frame(datagram(segment), link)) for segment in segments]


def pcap(packets: Iterable[Captured], link: int = ETHERNET, *, order: str = "<", nano: bool = False) -> bytes:
    """A pcap file."""
    whole = [struct.pack(f"{order}IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)]
    for packet in packets:
        seconds, rest = divmod(packet.time, 1)
        ticks = round(rest * (1e9 if nano else 1e6))
        whole.append(struct.pack(f"{order}IIII", int(seconds), ticks, len(packet.data), len(packet.data)) + packet.data)
    return b"".join(whole)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng file."""
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def section(order: str = "<") -> bytes:
    """A section header block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, options: bytes = b"", order: str = "<") -> bytes:
    """An interface description block."""
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """An option of a block."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(packet: Captured, order: str = "<", *, resolution: float = 1e-6) -> bytes:
    """An enhanced packet block."""
    ticks = round(packet.time / resolution)
    sizes = (len(packet.data), len(packet.data))
    head = struct.pack(f"{order}IIIII", packet.interface, ticks >> 32, ticks & 0xFFFFFFFF, *sizes)
    return block(6, head + packet.data, order)


def pcapng(packets: Iterable[Captured], link: int = ETHERNET, order: str = "<") -> bytes:
    """A pcapng file with one interface."""
    blocks = [section(order), interface(link, order=order)]
    return b"".join(blocks + [enhanced(packet, order) for packet in packets])
