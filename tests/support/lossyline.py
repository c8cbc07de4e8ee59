"""A line that loses, delays and reorders packets, in a network namespace of its own, for a child process.

``python -m tests.support.lossyline PROGRAM`` runs a program there. It needs unshare(1), ip(8) and /dev/net/tun.

A TUN device is a network interface whose other end is this process. It has L{HERE}. Packets for L{MIRROR} come back
with their addresses swapped, so a connection to a port of L{MIRROR} reaches the same port of this namespace. TCP's
checksum does not change.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

HERE, MIRROR = "10.9.0.1", "10.9.0.2"

LOSS, REORDERED = 0.02, 0.25
"""Share of packets that are lost, and that are passed on without the delay, ahead of others."""

DELAY_S = 0.005

_DEVICE = "lossy"
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000
_MTU = 1500


def why_not() -> str | None:
    """Why there can be no such line here. None: there can."""
    if missing := [name for name in ("unshare", "ip") if shutil.which(name) is None]:
        return f"no {' or '.join(missing)}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    make = ["unshare", "-rn", "ip", "tuntap", "add", "dev", _DEVICE, "mode", "tun"]
    tried = subprocess.run(make, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no network namespace with a TUN device: {tried.stderr.strip()}"


def inside(program: Sequence[str]) -> list[str]:
    """The command that runs a program with such a line."""
    return ["unshare", "-rn", sys.executable, "-m", "tests.support.lossyline", *program]


def _open() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in ("link set lo up", f"addr add {HERE}/24 dev {_DEVICE}", f"link set {_DEVICE} up mtu {_MTU}"):
        subprocess.run(["ip", *words.split()], check=True)
    return tun


def _forward(tun: int, dice: random.Random, child: subprocess.Popen[bytes]) -> int:
    """Pass packets on until the child ends. @return: its exit status."""
    waiting: list[tuple[float, int, bytes]] = []  # by the time when they are due; the number keeps their order
    number = 0
    with os.fdopen(os.pidfd_open(child.pid), "rb") as ended:
        while True:
            wait = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
            ready, _, _ = select.select([tun, ended.fileno()], [], [], wait)
            now = time.monotonic()
            if ended.fileno() in ready:
                return child.wait()
            if tun in ready:
                packet = os.read(tun, _MTU)
                if packet[0] >> 4 == 4 and dice.random() >= LOSS:
                    number += 1
                    due = now if dice.random() < REORDERED else now + DELAY_S
                    mirrored = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                    heapq.heappush(waiting, (due, number, mirrored))
            while waiting and waiting[0][0] <= now:
                os.write(tun, heapq.heappop(waiting)[2])


def main() -> int:
    tun = _open()
    return _forward(tun, random.Random(1), subprocess.Popen(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
