"""Coverage-guided fuzzing of what reads bytes from strangers: ``make fuzz``, ``python fuzz/run.py TARGET [SECONDS]``.

Each target feeds the bytes in pieces of sizes that the bytes themselves choose, and asserts what must hold: only the
one exception type of the parser ever comes out, and what is held stays bounded. A failure leaves the input in a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import atheris

with atheris.instrument_imports(include=["sniproxy"]):
    from sniproxy.pulsar.frames import FrameError, FrameReader
    from sniproxy.pulsar.inspection import Inspection
    from sniproxy.pulsar.lines import json_line, readable_line
    from sniproxy.pulsar.walker import FrameWalker
    from sniproxy.wire.clienthello import ClientHelloReader, HelloError


def pieces(data: bytes) -> Iterator[bytes]:
    """The data behind its first byte, cut into pieces of about that size."""
    size = max(data[0], 1) if data else 1
    for at in range(1, len(data), size):
        yield data[at : at + size]


def hello(data: bytes) -> None:
    """The ClientHello reader."""
    reader = ClientHelloReader()
    try:
        for piece in pieces(data):
            if reader.feed(piece) is not None:
                return
    except HelloError:
        return


def frames(data: bytes) -> None:
    """The frame reader and the frame walker agree on where frames end."""
    reader, walker = FrameReader(), FrameWalker()
    whole = walked = 0
    try:
        for piece in pieces(data):
            walked += len(walker.feed(piece))
            whole += len(reader.feed(piece))
    except FrameError:
        return
    assert whole <= walked <= whole + 1, (whole, walked)


def inspection(data: bytes) -> None:
    """A conversation: pieces go to the two sides in turn. Nothing is raised, and every event can be written."""
    looked = Inspection("fuzz")
    events = []
    for number, piece in enumerate(pieces(data)):
        events += (looked.broker if number % 2 else looked.client)(piece, float(number))
    for event in (*events, *looked.end(1e6)):
        json_line(event)
        readable_line(event)


TARGETS: dict[str, Callable[[bytes], None]] = {target.__name__: target for target in (hello, frames, inspection)}


if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=0"], target)
    atheris.Fuzz()
