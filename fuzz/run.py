"""Coverage-guided fuzzing of the parsers of untrusted bytes: ``make fuzz``, ``python -m fuzz.run TARGET [SECONDS]``.

Each target feeds the input in pieces, whose size the input's first byte gives. It asserts that the parser raises only
its own exception type, and that its memory stays bounded. A failure writes the input to a file.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from random import Random

import atheris

with atheris.instrument_imports(include=["sniproxy"]):
    from fuzz.conversations import conversation, recording
    from fuzz.faults import faulty, silent
    from fuzz.inputs import pieces
    from sniproxy.inspector.capture.packets import ACK, FIN, RST, SYN, Segment
    from sniproxy.inspector.capture.streams import Data, Ended, Gap, Piece, Reassembly
    from sniproxy.inspector.format import json_line, readable_line
    from sniproxy.inspector.inspection import Inspection
    from sniproxy.proxyprotocol.header import HeaderError
    from sniproxy.proxyprotocol.reader import MAX_V2_BYTES, read_header
    from sniproxy.pulsar.commands import CommandError, fields_of, read, write
    from sniproxy.pulsar.frames import FrameReader
    from sniproxy.pulsar.walker import FrameWalker, WalkedFrame, WalkError
    from sniproxy.tls.clienthello import ClientHelloReader, HelloError
    from sniproxy.tls.hellolayout import LayoutCache
    from sniproxy.tls.hellomessage import MAX_CACHED_BYTES, ClientHello, parse_hello, parse_in_full

from tests.pulsar import streams
from tests.support import hellos


def hello(data: bytes) -> None:
    """The ClientHello reader."""
    reader = ClientHelloReader()
    try:
        for piece in pieces(data):
            if reader.feed(piece) is not None:
                return
    except HelloError:
        return


def headers(data: bytes) -> None:
    """The PROXY protocol header reader: a longer prefix never changes a verdict."""
    verdict: object = None
    received = b""
    for piece in pieces(data):
        received += piece
        try:
            found: object = read_header(received)
        except HeaderError as error:
            found = type(error), str(error)
            assert str(error).isprintable()
        assert verdict is None or found == verdict, (verdict, found)
        verdict = found
    assert verdict is not None or len(received) < MAX_V2_BYTES


BASES = (
    *(hellos.recorded(client)[5:] for client in ("go-broker-1", "java-broker-2", "java-ip-literal", "python-broker-1")),
    hellos.message(extensions=(hellos.alpn(b"pulsar", b"h2"), *hellos.TLS13, hellos.padding(40))),
    hellos.message(None),
)
"""Hellos that `layouts` changes."""

LAYOUTS = LayoutCache(MAX_CACHED_BYTES, learn_every=1)
"""The known layouts, kept from one input to the next."""


def layouts(data: bytes) -> None:
    """A hello with some bytes replaced is parsed alike by its layout and in full: the same fields or the same error."""
    if not data:
        return
    message = bytearray(BASES[data[0] % len(BASES)])
    for at, value in struct.iter_unpack(">HB", data[1 : 1 + (len(data) - 1) // 3 * 3]):
        message[4 + at % (len(message) - 4)] = value
    if data[0] & 128:  # bytes are missing, or added
        message[len(message) - data[0] % 64 :] = data[1:9]
    full = verdict(parse_in_full, bytes(message))
    for _ in range(2):  # the second time its layout is known, unless it is malformed
        found = verdict(lambda whole: parse_hello(whole, LAYOUTS), bytes(message))
        assert found == full, (found, full)


def verdict(parse: Callable[[bytes], ClientHello], message: bytes) -> tuple[object, ...]:
    """All fields of a hello or of its error."""
    try:
        read = parse(message)
    except HelloError as error:
        return type(error), str(error), error.alert, error.legacy_version
    return read.server_name, read.alpn, read.legacy_version, read.offers_tls13, read.random


def frames(data: bytes) -> None:
    """The frame reader, the frame walker and a counting walker agree on the frames."""
    reader, walker, counter = FrameReader(), FrameWalker(), FrameWalker(wanted=(3, 23))
    whole: list[bytes] = []
    walked: list[WalkedFrame] = []
    heard: list[WalkedFrame] = []
    refused: list[str] = []
    for piece in pieces(data):
        for each, found in ((walker, walked), (counter, heard)):
            try:
                found += each.feed(piece)
            except WalkError as error:
                found += error.walked
                refused.append(str(error))
        if refused:
            break
        whole += [frame.command for frame in reader.feed(piece)]
    assert len(refused) in (0, 2) and len(set(refused)) < 2, refused
    assert [each.command for each in walked[: len(whole)]] == whole
    assert refused or len(walked) <= len(whole) + 1
    assert heard == [each for each in walked if each.type in (3, 23)]
    types = [each.type for each in walked]
    assert sum(counter.seen) == len(types) and all(counter.seen[number] == types.count(number) for number in set(types))
    assert counter.payload == sum(each.payload for each in walked)


def inspection(data: bytes) -> None:
    """A conversation: the two sides get pieces in turn. Nothing is raised, and every event can be written."""
    looked = Inspection("fuzz")
    events = []
    for number, piece in enumerate(pieces(data)):
        events += (looked.broker if number % 2 else looked.client)(piece, float(number))
    for event in (*events, *looked.end(1e6)):
        json_line(event)
        readable_line(event)


REAL = sorted(
    {
        frame.command
        for name in streams.NAMES
        for side in ("client", "broker")
        for frame in FrameReader().feed(streams.side_of(name, side))
    }
)
"""Commands of real clients and brokers, as seeds for `commands`."""


def commands(data: bytes) -> None:
    """Mutated real commands: some bytes are replaced, or the type is changed."""
    if len(data) < 4:
        return
    which, at, out, kind = data[:4]
    real = bytearray(REAL[which % len(REAL)])
    real[at : at + out] = data[4:]
    if kind and len(real) > 1:
        real[1] = kind
    try:
        base = read(bytes(real))
        message = fields_of(base)
    except CommandError:
        return
    assert read(base.SerializeToString()) == base
    write(message)


STREAM = Random(0).randbytes(1 << 18)
"""The bytes that each end of a connection sends, in `reassembly`."""


def reassembly(data: bytes) -> None:
    """Segments of a stream, reordered, overlapping, truncated or missing: the output is the stream with its gaps.

    Memory stays bounded. The first byte gives the initial sequence numbers.
    """
    ends = (b"\x7f\x00\x00\x01", 6650), (b"\x7f\x00\x00\x01", 40_000)
    put = Reassembly(max_held_bytes_each=3_000, max_held_bytes=4_000, max_connections=2)
    first = 0xFFFF8000 if data and data[0] & 1 else 1_000
    at, told, time = [0, 0], [], 0.0

    def take(pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, Ended):
                told.append(piece)
            else:
                assert not told, "after the end"
                size = piece.missing if isinstance(piece, Gap) else len(piece.data)
                start = at[piece.sender]
                assert size > 0
                assert not isinstance(piece, Data) or piece.data == STREAM[start : start + size]
                at[piece.sender] += size
        assert put.held <= 2 * 4_000, put.held  # a budget behind holes, and one before answers

    for sender in (1, 0):
        flags = SYN if sender else SYN | ACK
        take(put.feed(Segment(0.0, ends[sender], ends[1 - sender], (first - 1) & 0xFFFFFFFF, first, flags, b"", 0)))
    for what, start, size, cut, later, acked in struct.iter_unpack(">BHHBBH", data[1 : 1 + (len(data) - 1) // 9 * 9]):
        time += later / 50
        sender, flags = what & 1, ACK | (FIN if what & 30 == 30 else 0) | (RST if what & 62 == 62 else 0)
        captured = STREAM[start : start + size % 1_500]
        sequence, acknowledged = (first + start) & 0xFFFFFFFF, (first + acked) & 0xFFFFFFFF
        length = len(captured) + (cut if what & 64 else 0)
        take(put.feed(Segment(time, ends[sender], ends[1 - sender], sequence, acknowledged, flags, captured, length)))
    take(put.finish(time))
    assert len(told) == 1 and put.held == 0


def segments(data: bytes) -> None:
    """Arbitrary segments of some connections: nothing is raised, and memory stays bounded."""
    put = Reassembly(max_held_bytes_each=3_000, max_held_bytes=4_000, max_connections=3)
    for what, sequence, acked, size, later in struct.iter_unpack(">BIIHb", data[: len(data) // 12 * 12]):
        ends = (b"\x7f\x00\x00\x01", 6650), (b"\x7f\x00\x00\x01", 40_000 + (what >> 5))
        sender, captured = what & 1, STREAM[: size % 1_500]
        length = len(captured) + size // 1_500
        source, destination = ends[sender], ends[1 - sender]
        put.feed(Segment(later / 10, source, destination, sequence, acked, what >> 1 & 0x17, captured, length))
        assert put.held <= 2 * 4_000, put.held  # a budget behind holes, and one before answers
    put.finish(0.0)
    assert put.held == 0


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        hello, layouts, headers, frames, inspection, commands, reassembly, segments,
        silent, faulty, recording, conversation,
    )
}  # fmt: skip


if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=0"], target)
    atheris.Fuzz()
