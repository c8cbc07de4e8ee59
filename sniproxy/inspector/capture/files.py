"""Reads pcap and pcapng capture files front to back, from a file or a pipe. Pure.

Sources: the IETF drafts draft-ietf-opsawg-pcap (file header, magic numbers, packet records) and
draft-ietf-opsawg-pcapng (blocks, sections, interfaces, if_tsresol, if_tsoffset); link types are
draft-ietf-opsawg-pcaplinktype's. dpkt's reader supports one interface for each file and trusts all lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

MAX_PACKET_BYTES = 16 << 20
"""Largest accepted record or block in bytes. Capture programs write at most 256 KiB of a packet."""

_PCAP = {
    # magic number as written in the file: byte order, ticks in a second, extra bytes after the record header
    b"\xa1\xb2\xc3\xd4": (">", 10**6, 0),
    b"\xd4\xc3\xb2\xa1": ("<", 10**6, 0),
    b"\xa1\xb2\x3c\x4d": (">", 10**9, 0),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9, 0),
    b"\xa1\xb2\xcd\x34": (">", 10**6, 8),  # Kuznetzov's tcpdump
    b"\x34\xcd\xb2\xa1": ("<", 10**6, 8),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_PACKED = {b"\x1f\x8b": "zcat", b"\x28\xb5": "zstdcat", b"\x42\x5a": "bzcat", b"\xfd\x37": "xzcat"}
_MAX_INTERFACES = 65_536


class CaptureError(Exception):
    """The file is not a capture, or is corrupt from some byte on. The message gives the reason and the cure."""


@attrs.frozen
class Record:
    """One captured packet.

    @ivar time: seconds since 1970.
    @ivar link: the packet's LINKTYPE number; 1 is Ethernet.
    @ivar data: the packet, or its beginning if the capture program truncated it.
    """

    time: float
    link: int
    data: bytes


@attrs.define
class _Interface:
    link: int
    second: int = 10**6  # ticks in a second
    offset: int = 0  # seconds


class CaptureReader:
    """Iterates over the packets of a capture.

    Iterating raises L{CaptureError} if the file is not a capture, or, after the packets before it, at the first corrupt
    byte. The reader reads no more than a packet needs, so that packets from a pipe appear at once.

    @ivar cut_short: the file ended inside a packet, as it does if the capture program was killed.
    @ivar one_link: all packets of the file have one link type, because the file is pcap, not pcapng.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self.cut_short = False
        self.one_link = False

    def __iter__(self) -> Iterator[Record]:
        magic = self._read(4)
        if magic in _PCAP:
            self.one_link = True
            yield from self._pcap(*_PCAP[magic])
        elif magic == _SECTION_MAGIC:
            yield from self._pcapng()
        elif not magic:
            raise CaptureError("the file is empty: check the messages of the capture program")
        elif magic[:2] in _PACKED:
            raise CaptureError(f"the file is compressed: decompress it, as in `{_PACKED[magic[:2]]} FILE | ... -`")
        else:
            raise CaptureError("the file is neither pcap nor pcapng: capture with `tcpdump -w FILE`, or save as pcapng")

    def _read(self, size: int) -> bytes:
        """Read this many bytes, or the rest of the file."""
        data = self._file.read(size)
        while data and len(data) < size:  # an unbuffered pipe may return less
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        self._at += len(data)
        return data or b""

    def _whole(self, size: int) -> bytes | None:
        """Read this many bytes. None, and L{cut_short} is set: the file ends before."""
        data = self._read(size)
        if len(data) == size:
            return data
        self.cut_short = True
        return None

    def _pcap(self, order: str, second: int, extra: int) -> Iterator[Record]:
        header = self._whole(20)
        if header is None:
            raise CaptureError("the file ends inside its header: capture again")
        # The upper half of the field says whether frames end with a checksum. IP's length excludes it anyway.
        link = struct.unpack(f"{order}16xI", header)[0] & 0xFFFF
        sizes = struct.Struct(f"{order}IIII{extra}x")
        while first := self._read(1):
            rest = self._whole(sizes.size - 1)
            if rest is None:
                return
            seconds, ticks, captured, _ = sizes.unpack(first + rest)
            data = self._whole(self._checked_size(captured))
            if data is None:
                return
            yield Record((seconds * second + ticks) / second, link, data)

    def _pcapng(self) -> Iterator[Record]:
        order = ""
        interfaces: list[_Interface] = []
        now = 0.0
        kind_bytes = _SECTION_MAGIC
        while kind_bytes:
            head = self._whole(8 if kind_bytes == _SECTION_MAGIC else 4)
            if head is None or len(kind_bytes) < 4:
                self.cut_short = True
                return
            if kind_bytes == _SECTION_MAGIC:
                order = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(head[4:], "")
                if not order:
                    raise self._broken("section with an unknown byte order")
                interfaces = []
            (kind,) = struct.unpack(f"{order}I", kind_bytes)
            (length,) = struct.unpack_from(f"{order}I", head)
            left = self._checked_size(length) - 4 - len(head)
            if left < 4 or length % 4:
                raise self._broken(f"block with an invalid length of {length} bytes")
            body = self._whole(left)
            if body is None:
                return
            body = body[:-4]  # the length, repeated
            try:
                if kind == _INTERFACE and len(interfaces) < _MAX_INTERFACES:
                    interfaces.append(_interface(order, body))
                elif kind == _SIMPLE_PACKET:
                    (size,) = struct.unpack_from(f"{order}I", body)
                    yield Record(now, interfaces[0].link, body[4 : 4 + size])
                elif kind in (_PACKET, _OLD_PACKET):
                    layout = f"{order}I" if kind == _PACKET else f"{order}H2x"
                    (number,) = struct.unpack_from(layout, body)
                    high, low, size = struct.unpack_from(f"{order}4xIII", body)
                    interface = interfaces[number]
                    now = (interface.offset * interface.second + (high << 32 | low)) / interface.second
                    yield Record(now, interface.link, body[20 : 20 + size])
            except struct.error:
                raise self._broken(f"block of type {kind} is too short") from None
            except IndexError:
                raise self._broken("packet of an interface that is not described") from None
            kind_bytes = self._read(4)

    def _checked_size(self, size: int) -> int:
        if size > MAX_PACKET_BYTES:
            raise self._broken(f"packet of {size} bytes")
        return size

    def _broken(self, what: str) -> CaptureError:
        return CaptureError(f"corrupt at byte {self._at}: {what}; try `editcap`, or capture again")


def _interface(order: str, body: bytes) -> _Interface:
    """Read an interface description block: its link type and the format of its time stamps."""
    interface = _Interface(*struct.unpack_from(f"{order}H", body))
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == 9 and len(value) == 1:
            power = value[0] & 0x7F
            interface.second = (2 if value[0] & 0x80 else 10) ** power
        elif code == 14 and len(value) == 8:
            (interface.offset,) = struct.unpack(f"{order}q", value)
        at += 4 + size + (-size % 4)
    return interface
