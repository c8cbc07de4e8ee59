"""Decodes plaintext captures without our code: tshark takes TCP's payloads out, Pulsar's own classes read the commands.

`python -m tests.peers.decoding FILE.pcap...` writes `FILE.jsonl` beside each capture: one JSON object for each frame,
in the order of their last bytes. Its fields: `connection` (`client->broker`, each `address:port`), `side` (`client` or
`broker`), `size` (bytes of the frame), `payload` (bytes of its messages), `command` (as java/PulsarDecode.java prints
it). A broker is the end that has more connections.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import define, frozen

FIELDS = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.stream", "tcp.seq", "tcp.payload")


@frozen
class CutFrame:
    """A frame: who sent it to whom, and its bytes."""

    sender: str
    receiver: str
    stream: str
    data: bytes


@define
class _Half:
    """One direction of a TCP connection."""

    expected: int
    data: bytes = b""


def cut_frames(path: Path) -> Iterator[CutFrame]:
    """The frames in a capture. Raises ValueError if bytes are missing or out of order."""
    halves: dict[tuple[str, str], _Half] = {}
    fields = [part for field in FIELDS for part in ("-e", field)]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "tcp.len > 0", "-T", "fields", *fields],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for line in said.splitlines():
        source, source_port, target, target_port, stream, sequence, payload = line.split("\t")
        data = bytes.fromhex(payload.replace(":", ""))
        half = halves.setdefault((stream, source_port), _Half(int(sequence)))
        if int(sequence) != half.expected:
            raise ValueError(f"{path}: stream {stream}: byte {half.expected} expected, not {sequence}")
        half.expected += len(data)
        half.data += data
        while len(half.data) >= 4 and len(half.data) >= (size := 4 + int.from_bytes(half.data[:4], "big")):
            yield CutFrame(f"{source}:{source_port}", f"{target}:{target_port}", stream, half.data[:size])
            half.data = half.data[size:]


def payload_size(rest: bytes) -> int:
    """How many of the bytes behind a command are messages: a checksum and metadata may precede them."""
    if rest[:2] == b"\x0e\x02":  # the broker's metadata of the entry
        rest = rest[6 + int.from_bytes(rest[2:6], "big") :]
    if rest[:2] == b"\x0e\x01":  # CRC-32C
        rest = rest[6:]
    return len(rest) - 4 - int.from_bytes(rest[:4], "big") if rest else 0


def decode(paths: Sequence[Path], command: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The decoded frames of each capture. `command` runs PulsarDecode, once."""
    captures = [list(cut_frames(path)) for path in paths]
    lines = "".join(f"{command_in(frame.data).hex()}\n" for frames in captures for frame in frames)
    said = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=120).stdout
    decoded = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    if len(decoded) != sum(map(len, captures)):
        raise ValueError(f"{len(decoded)} commands decoded of {sum(map(len, captures))}")
    fields = iter(decoded)
    return [[*described(frames, fields)] for frames in captures]


def command_in(frame: bytes) -> bytes:
    """The command of a frame."""
    return frame[8 : 8 + int.from_bytes(frame[4:8], "big")]


def described(frames: Sequence[CutFrame], commands: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The frames of one capture, each with its decoded command."""
    ends = {frame.stream: (frame.sender, frame.receiver) for frame in reversed(frames)}
    connections = Counter(end for both in ends.values() for end in both)
    for frame in frames:
        client, broker = sorted(ends[frame.stream], key=connections.__getitem__)
        yield {
            "connection": f"{client}->{broker}",
            "side": "client" if frame.sender == client else "broker",
            "size": len(frame.data),
            "payload": payload_size(frame.data[8 + len(command_in(frame.data)) :]),
            "command": next(commands),
        }


def main(arguments: Sequence[str]) -> None:
    """Write the decoded frames of each capture beside it."""
    from tests.peers.cluster import java_command
    from tests.peers.versions import ALL

    paths = [Path(argument) for argument in arguments]
    for path, frames in zip(paths, decode(paths, java_command("PulsarDecode", "160m", "off", ALL[-1])), strict=True):
        path.with_suffix(".jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in frames))


if __name__ == "__main__":
    main(sys.argv[1:])
