"""Sends hand-made TCP segments in a connection on loopback. Needs CAP_NET_RAW."""

from __future__ import annotations

import ctypes
import socket
import struct
from types import TracebackType

_IPV4 = 0x0800  # ETH_P_IP
_SYN, _ACK, _PUSH = 0x02, 0x10, 0x08
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_BEGINNINGS = (  # of packet(7)'s filters: segments with SYN alone, for others would crowd them out on a busy machine
    (0x30, 0, 0, 9),  # the protocol
    (0x15, 0, 4, socket.IPPROTO_TCP),
    (0xB1, 0, 0, 0),  # the length of IP's header
    (0x50, 0, 0, 13),  # the flags behind it
    (0x45, 0, 1, _SYN),
    (0x06, 0, 0, 1 << 16),  # taken
    (0x06, 0, 0, 0),  # not taken
)


class Segments:
    """Captures the sequence numbers of new connections, then sends segments in their name.

    The sender's own TCP does not know of them, so only the receiving side can be tested.
    """

    def __init__(self) -> None:
        self._heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # hears nothing yet
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _BEGINNINGS)
        code = ctypes.create_string_buffer(program, len(program))
        self._heard.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(_BEGINNINGS), ctypes.addressof(code))
        )
        self._heard.bind(("lo", _IPV4))
        self._heard.setblocking(False)
        self._sends = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._first: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Segments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._heard.close()
        self._sends.close()

    def send(self, sender: socket.socket, at: int, data: bytes) -> None:
        """Send a segment in the name of a socket. @param at: the offset of the bytes in the socket's stream."""
        self._listen()
        own, other = sender.getsockname(), sender.getpeername()
        sequence = self._first[own[1], other[1]] + at & 0xFFFFFFFF
        answer = self._first[other[1], own[1]]
        head = struct.pack(">HHIIBBHHH", own[1], other[1], sequence, answer, 5 << 4, _ACK | _PUSH, 0xFFFF, 0, 0)
        addresses = socket.inet_aton(own[0]) + socket.inet_aton(other[0])
        pseudo = addresses + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(head) + len(data))
        head = head[:16] + struct.pack(">H", _checksum(pseudo + head + data)) + head[18:]
        length = 20 + len(head) + len(data)
        packet = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses + head + data
        self._sends.sendto(packet, (other[0], 0))

    def _listen(self) -> None:
        while True:
            try:
                packet = self._heard.recv(1 << 16)
            except BlockingIOError:
                return
            source, target, sequence = struct.unpack_from(">HHI", packet, 4 * (packet[0] & 15))
            self._first[source, target] = int(sequence) + 1


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
