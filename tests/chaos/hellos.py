"""How long a cut line delays a hello, and which proxies still wait for it: ``python -m tests.chaos.hellos``.

For some seconds the line loses all data of the clients, but no handshake of TCP. Clients connect meanwhile and send
their hello at once, each so many seconds before the line is whole again.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

from attrs import frozen

from bench.table import markdown
from tests.chaos import proxies, wire
from tests.chaos.document import only_table, write
from tests.chaos.line import UP, Cut, Quality
from tests.chaos.load import PASS, TARGET_PORTS
from tests.chaos.namespace import run_inside
from tests.chaos.proxies import HAPROXY, NAME, PYTHON, Way
from tests.chaos.wire import CLIENTS, PROXIES
from tests.support.hellos import hello

WAYS = (
    Way(PYTHON, 4443, 5.0),
    Way(PYTHON, 4444, 10.0),
    Way(PYTHON, 4445, 15.0),
    Way(HAPROXY, 4447, 5.0),
)
FROM_S, UNTIL_S = 1.0, 14.0
"""When the cut begins and ends: seconds from the start of the line."""

CUTS_S = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10)
"""How long before the end of the cut each client sends its hello."""

LIMIT_S = 30.0
_INSIDE = "inside"


@frozen
class Tried:
    """``seconds``: from connect to the answer through the proxy, or to the end of the connection."""

    opened: bool
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s" if self.opened else f"closed after {self.seconds:.1f} s"


def attempt(port: int, at: float) -> Tried:
    """Send a hello at this `time.monotonic`."""
    Event().wait(max(at - time.monotonic(), 0))
    began = time.monotonic()
    with socket.create_connection((PROXIES, port), timeout=LIMIT_S) as sock:
        sock.sendall(hello(name=NAME))
        try:
            came = sock.recv(1)
        except (ConnectionError, TimeoutError):
            came = b""
    return Tried(bool(came), time.monotonic() - began)


def _answer(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        sock.sendall(b"!")


def measure(folder: Path) -> str:
    """Measure in the namespaces. @return: the table, in Markdown."""
    cut = Cut(FROM_S, UNTIL_S - FROM_S, UP, data_only=True)
    line = wire.connect()
    listener = socket.create_server((CLIENTS, TARGET_PORTS[PASS]), backlog=1024)
    Thread(target=_answer, args=(listener,), daemon=True).start()
    ways = [way for way in WAYS if way.name != HAPROXY or proxies.haproxy_program()]
    running = proxies.start(ways, line, folder)
    line.begin(Quality(loss=0, duplicated=0, reordered=0, jitter_s=0, bytes_per_s=0), [cut], 1)
    with ThreadPoolExecutor(len(ways) * len(CUTS_S)) as pool:
        tried = {
            (way, seconds): pool.submit(attempt, way.port, line.start + UNTIL_S - seconds)
            for way in ways
            for seconds in CUTS_S
        }
        heads = ["the line is cut for"] + [
            f"HAProxy, inspect-delay {way.hello:g} s" if way.name == HAPROXY else f"hello = {way.hello:g}"
            for way in ways
        ]
        rows = [[f"{seconds:g} s", *(str(tried[way, seconds].result()) for way in ways)] for seconds in CUTS_S]
    for proxy in running:
        proxy.stop()
    line.close()
    return markdown(heads, rows)


def main(arguments: Sequence[str]) -> int:
    """The program, or its part in the namespaces. @return: the exit status."""
    if arguments == [_INSIDE]:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder)), flush=True)
        os._exit(0)  # threads still wait for sockets
    parser = argparse.ArgumentParser("python -m tests.chaos.hellos", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/chaos.md")
    chosen = parser.parse_args(arguments)
    if why := wire.why_not():
        print(f"skipped: {why}")
        return 75
    status, said = run_inside("tests.chaos.hellos", _INSIDE, 200)
    print(said, end="")
    if chosen.write and status == 0:
        write("hellos", [only_table(said)])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
