"""Two network namespaces, and the process that carries packets between them.

L{connect} makes the second namespace and a TUN device in each: a network interface whose other end is a file.
L{Wire.begin} starts ``python -m tests.chaos.wire``, which reads packets from one device and writes them to the other
when they are due. This needs a user namespace, ip(8) and /dev/net/tun, and no root. The kernel's own netem is not used,
so that the line is the same on each machine.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from attrs import asdict, define

from tests.chaos.line import DOWN, UP, Cut, Direction, Quality

CLIENTS, PROXIES = "10.9.0.1", "10.9.0.2"
"""The addresses of the two namespaces. Targets are beside the clients, so that all packets of a proxy use the line."""

_DEVICE = "line"
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000
_MTU = 1500
_CLONE_NEWNET = 0x40000000
_END_S = 10.0
_BATCH = 64
"""Packets that are read before others are written."""


def why_not() -> str | None:
    """Why there can be no such line here. None: there can."""
    if missing := [name for name in ("unshare", "ip") if shutil.which(name) is None]:
        return f"no {' or '.join(missing)}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "kernel capability missing: /dev/net/tun"
    make = ["unshare", "-rn", "ip", "tuntap", "add", "dev", _DEVICE, "mode", "tun"]
    tried = subprocess.run(make, capture_output=True, text=True, timeout=60)
    reason = tried.stderr.strip()
    return (
        None if tried.returncode == 0 else f"kernel capability missing: a network namespace with a TUN device: {reason}"
    )


@define
class Wire:
    """A line between this namespace and another one. ``start``: the `time.monotonic` of `begin`."""

    _other: int
    _tuns: tuple[int, int]
    start: float = 0.0
    _process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def other_side(self) -> Iterator[None]:
        """This thread, and the processes that it starts, are in the other namespace."""
        with open("/proc/thread-self/ns/net", "rb") as own:
            _system(_libc.setns, self._other, _CLONE_NEWNET)
            try:
                yield
            finally:
                _system(_libc.setns, own.fileno(), _CLONE_NEWNET)

    def begin(self, quality: Quality, cuts: Sequence[Cut], seed: int) -> None:
        """Carry packets from now on, with these faults."""
        self.start = time.monotonic()
        how = {"start": self.start, "seed": seed, "quality": asdict(quality), "cuts": [asdict(cut) for cut in cuts]}
        command = [sys.executable, "-m", "tests.chaos.wire", *map(str, self._tuns), json.dumps(how)]
        self._process = subprocess.Popen(command, pass_fds=self._tuns, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> dict[str, dict[str, int]]:
        """End the line. @return: for each way, the counts of packets by what happened to them."""
        assert self._process is not None
        for descriptor in (self._other, *self._tuns):
            os.close(descriptor)
        try:
            said, _ = self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_S)
            raise
        counts: dict[str, dict[str, int]] = json.loads(said)
        return counts


def connect() -> Wire:
    """Make the other namespace, and a device in each. @raise OSError: the system refuses it."""
    here = _open(CLIENTS)
    with open("/proc/thread-self/ns/net", "rb") as own:
        _system(_libc.unshare, _CLONE_NEWNET)
        other = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = _open(PROXIES)
        _system(_libc.setns, own.fileno(), _CLONE_NEWNET)
    return Wire(other, (here, there))


_libc = ctypes.CDLL(None, use_errno=True)


def _system(function: ctypes._FuncPointer, *arguments: int) -> None:
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _open(address: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in ("link set lo up", f"addr add {address}/24 dev {_DEVICE}", f"link set {_DEVICE} up mtu {_MTU}"):
        subprocess.run(["ip", *words.split()], check=True, timeout=60)
    return tun


def has_data(packet: bytes) -> bool:
    """Whether an IPv4 packet is TCP with data."""
    header = (packet[0] & 15) * 4
    return packet[9] == 6 and len(packet) > header + 12 and len(packet) > header + (packet[header + 12] >> 4) * 4


def carry(tuns: dict[int, tuple[int, Direction]], start: float, end: int) -> None:
    """Carry packets until ``end`` is readable. ``tuns``: by the device that is read, the one to write to, and how."""
    waiting: list[tuple[float, int, int, bytes]] = []  # when it is due; a number, which keeps the order; to; packet
    poll = select.poll()
    number = 0
    for descriptor in (*tuns, end):
        poll.register(descriptor, select.POLLIN)
    while True:
        wait = max(waiting[0][0] - (time.monotonic() - start), 0) * 1000 if waiting else None
        ready = [descriptor for descriptor, _ in poll.poll(wait)]
        if end in ready:
            return
        for descriptor in ready:
            other, direction = tuns[descriptor]
            for _ in range(_BATCH):
                try:
                    packet = os.read(descriptor, _MTU)
                except BlockingIOError:
                    break
                if packet[0] >> 4 == 4:
                    now = time.monotonic() - start
                    for due in direction.due(now, len(packet), has_data(packet)):
                        number += 1
                        heapq.heappush(waiting, (due, number, other, packet))
        now = time.monotonic() - start
        while waiting and waiting[0][0] <= now:
            _, _, other, packet = heapq.heappop(waiting)
            with suppress(BlockingIOError):
                os.write(other, packet)


def main(here: str, there: str, text: str) -> None:
    how = json.loads(text)
    quality, cuts = Quality(**how["quality"]), [Cut(**cut) for cut in how["cuts"]]
    up, down = (Direction.of(way, quality, cuts, how["seed"]) for way in (UP, DOWN))
    carry({int(here): (int(there), up), int(there): (int(here), down)}, how["start"], sys.stdin.fileno())
    print(json.dumps({UP: up.counts, DOWN: down.counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
