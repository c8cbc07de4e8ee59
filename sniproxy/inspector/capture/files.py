"""Capture files: pcap and pcapng, read front to back, from a file or a pipe. Pure.

Sources: the IETF drafts draft-ietf-opsawg-pcap (file header, magic numbers, packet records) and
draft-ietf-opsawg-pcapng (blocks, sections, interfaces, if_tsresol, if_tsoffset); link types are
draft-ietf-opsawg-pcaplinktype's. dpkt's reader knows one interface a file and trusts all lengths, hence this one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

MAX_PACKET_BYTES = 16 << 20
"""Bytes of one record or block that are believed; capture programs write at most 256 KiB of a packet."""

_PCAP = {
    # magic number as it lies in the file: byte order, ticks of a second, bytes behind the record's header
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
    """The bytes are no capture file that can be read, or not from here on. The message says why, and the cure."""


@attrs.frozen
class Record:
    """What was captured of one packet.

    @ivar time: seconds since 1970.
    @ivar link: what the data begins with, as a LINKTYPE number: 1 is Ethernet.
    @ivar data: the packet, or its beginning when the capture program cut it.
    """

    time: float
    link: int
    data: bytes


@attrs.define
class _Interface:
    link: int
    second: int = 10**6  # in ticks
    offset: int = 0


class CaptureReader:
    """The packets of a capture, one after the other, as they come.

    Iterating raises L{CaptureError} when the file is no capture, or broken from some byte on; what came before it
    has been given out then. It reads no more than a packet needs, so that a pipe shows each packet at once.

    @ivar cut_short: the file ended inside of a packet, as it does when the capture program was killed.
    @ivar one_link: all packets of the file have one link type: it is pcap, not pcapng.
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
            raise CaptureError("it is empty: give the capture program something to write, or look at its messages")
        elif magic[:2] in _PACKED:
            raise CaptureError(f"it is compressed: unpack it first, as in `{_PACKED[magic[:2]]} FILE | ... -`")
        else:
            raise CaptureError("it is neither pcap nor pcapng: capture with `tcpdump -w FILE`, or save as pcapng")

    def _read(self, size: int) -> bytes:
        """So many bytes, or what is left of the file."""
        data = self._file.read(size)
        while data and len(data) < size:  # an unbuffered pipe gives what it has
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        self._at += len(data)
        return data or b""

    def _whole(self, size: int) -> bytes | None:
        """So many bytes; None: the file has ended before them, which is noted."""
        data = self._read(size)
        if len(data) == size:
            return data
        self.cut_short = True
        return None

    def _pcap(self, order: str, second: int, extra: int) -> Iterator[Record]:
        header = self._whole(20)
        if header is None:
            raise CaptureError("it ends inside of its own header: capture again")
        # The upper half of the field says whether checksums follow the frames; they do no harm behind IP's length.
        link = struct.unpack(f"{order}16xI", header)[0] & 0xFFFF
        sizes = struct.Struct(f"{order}IIII{extra}x")
        while first := self._read(1):
            rest = self._whole(sizes.size - 1)
            if rest is None:
                return
            seconds, ticks, captured, _ = sizes.unpack(first + rest)
            data = self._whole(self._believed(captured))
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
                    raise self._broken("a section with an unknown byte order")
                interfaces = []
            (kind,) = struct.unpack(f"{order}I", kind_bytes)
            (length,) = struct.unpack_from(f"{order}I", head)
            left = self._believed(length) - 4 - len(head)
            if left < 4 or length % 4:
                raise self._broken(f"a block of {length} bytes")
            body = self._whole(left)
            if body is None:
                return
            body = body[:-4]  # the length again
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
                raise self._broken(f"a block of type {kind} that is too short") from None
            except IndexError:
                raise self._broken("a packet of an interface that was not described") from None
            kind_bytes = self._read(4)

    def _believed(self, size: int) -> int:
        if size > MAX_PACKET_BYTES:
            raise self._broken(f"a packet of {size} bytes")
        return size

    def _broken(self, what: str) -> CaptureError:
        return CaptureError(f"it is broken at byte {self._at}: {what}; `editcap` or a new capture may help")


def _interface(order: str, body: bytes) -> _Interface:
    """An interface description block: its link type, and how its clock is written."""
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
