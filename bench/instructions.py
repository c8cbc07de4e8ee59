"""Counts the user-space instructions of our proxy for a message and for a tunnel, with valgrind's callgrind.

The count repeats within 1 % on a quiet machine. Other load raises that of a tunnel: its events arrive in more rounds of
the event loop. Kernel work is not in it.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.childprocess import SKIPPED, LoadError
from bench.clients import Destination, Sample
from bench.peer import Peer
from bench.running import Running

if TYPE_CHECKING:
    from bench.cases import Lengths, TestBed

_AT_ONCE = 16
_MESSAGE = bytes(64)
_CONTROL_TIMEOUT_S = 600.0
_SETTLE_S = 0.5
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def instructions(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
    """Instructions of a message, one way, and of a tunnel from accept to end. Raises `LoadError` without valgrind."""
    with bed.running(peer, before=callgrind()) as running:
        if running is None:
            raise LoadError(f"{SKIPPED}no proxy")
        echo, first = bed.through(running, "echo"), bed.through(running, "first")
        with echo.connect() as sock:
            turn = _each(running, lambda count: _echo(sock, count), 4 * lengths.calls)
        return {"a message": turn / 2, "a tunnel": of_tunnel(running, first, lengths.calls)}


def callgrind() -> list[str]:
    """The command before a proxy's command that counts its instructions. Raises `LoadError` without valgrind."""
    program = shutil.which("valgrind")
    if program is None:
        raise LoadError(f"{SKIPPED}no valgrind")
    return [program, "--tool=callgrind", "--callgrind-out-file={folder}/callgrind", "--instr-atstart=no"]


def of_tunnel(running: Running, destination: Destination, count: int) -> float:
    """Instructions of a tunnel, from accept to end. ``running``: with `callgrind`. ``count``: tunnels to open."""
    return _each(running, lambda tunnels: _tunnels(destination, tunnels), count)


def total(text: str) -> int:
    """The instructions in a callgrind file. Raises `ValueError` if it has no total."""
    found = _TOTAL.search(text)
    if found is None:
        raise ValueError("a callgrind file without a total")
    return int(found[1])


def _each(running: Running, work: Callable[[int], None], count: int) -> float:
    """Instructions of each of ``count``: the difference of much work and little, so that timers do not count."""
    # The first round warms caches up, the second one valgrind's translations.
    work(max(_AT_ONCE, count // 2))
    _control(running, "--instr=on")
    work(_AT_ONCE)
    little = _counted(running, work, count // 4)
    much = _counted(running, work, count // 4 + count)
    _control(running, "--instr=off")
    return (much - little) / count


def _counted(running: Running, work: Callable[[int], None], count: int) -> int:
    _control(running, "--zero")
    work(count)
    time.sleep(_SETTLE_S)  # the log's last lines
    _control(running, "--dump=bench")
    # Each dump makes a file with the next number.
    files = sorted(running.folder.glob("callgrind.*"), key=lambda path: int(path.suffix[1:]))
    if not files:
        raise LoadError("callgrind wrote no file")
    return total(files[-1].read_text())


def _control(running: Running, order: str) -> None:
    command = ["callgrind_control", order, str(running.pids[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_CONTROL_TIMEOUT_S, check=False)
    if done.returncode:
        raise LoadError(f"callgrind_control {order}: {(done.stdout + done.stderr).strip()[-200:]}")


def _echo(sock: socket.socket, count: int) -> None:
    for _ in range(count):
        sock.sendall(_MESSAGE)
        missing = len(_MESSAGE)
        while missing:
            missing -= len(_some(sock, missing))


def _tunnels(destination: Destination, count: int) -> None:
    while count > 0:
        socks = [destination.connect() for _ in range(min(_AT_ONCE, count))]
        count -= len(socks)
        for sock in socks:
            _some(sock, 1)
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            with sock:
                if sock.recv(1):
                    raise LoadError("a byte too many came")


def _some(sock: socket.socket, most: int) -> bytes:
    found = sock.recv(most)
    if not found:
        raise LoadError("the connection ended")
    return found
